/** The unnamed statement as the protocol has it, while its text is kept prepared on the server connection. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  bind,
  describeStatement,
  errorField,
  execute,
  type Message,
  message,
  parse,
  query,
  RawClient,
  sync,
  text,
  typesOf,
} from "./rawClient.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 30_000 };
/** After so many executions a statement is prepared for good, and more. */
const OFTEN = 8;
const here = (sql: string): string => `${sql} /* pgxa: shard=east */`;

const DOUBLE = here("SELECT 2 * $1::int AS double");
const ADD = here("SELECT $1::int + $2::int AS sum");
const DIVIDE = here("SELECT 12 / $1::int AS part");
const close = (name: string): Buffer => message("C", Buffer.from("S"), text(name));
const flush = (): Buffer => message("H");

for (const shards of [1, 2]) {
  describe(`over ${shards === 1 ? "one shard" : `${shards} shards`}`, () => {
    let stage: Stage;
    let client: RawClient;

    before(async () => {
      stage = await Stage.open({ shards, config: { pool: { max: 1 } } });
      client = await RawClient.login(stage.port);
      for (let round = 0; round < OFTEN; round += 1) {
        for (const [sql, values] of [
          [DOUBLE, ["1"]],
          [ADD, ["1", "2"]],
          [DIVIDE, ["3"]],
        ] as const) {
          assert.equal(await ask(parse("", sql), bind("", values), execute(), sync()), "12DCZ");
        }
      }
      await isKept("AS double");
    });
    after(async () => {
      client?.close();
      await stage?.stop();
    });

    /** The answer up to ReadyForQuery, each message by its type; the first column for rows, the code for errors. */
    const ask = async (...parts: readonly Buffer[]): Promise<string> => {
      client.send(...parts);
      return typesOf(await client.until("Z"));
    };
    const answers = async (groups = 1): Promise<string[]> => {
      const found: string[] = [];
      for (let i = 0; i < groups; i += 1) found.push(...(await client.until("Z")).flatMap(shown));
      return found;
    };
    const run = async (...parts: readonly Buffer[]): Promise<string[]> => {
      client.send(...parts);
      return answers();
    };

    const isKept = async (part: string) => {
      const look = `SELECT count(*) FROM pg_prepared_statement() WHERE position('${part}' IN statement) > 0`;
      assert.deepEqual(await run(query(here(look))), ["1"]);
    };

    const double = (value: number) => [parse("", DOUBLE), bind("", [String(value)]), execute()];

    test("a batch of several statements, kept and not, is answered in order", WAIT, async () => {
      const types = await ask(
        ...double(4),
        ...[parse("", ADD), bind("", ["4", "5"]), execute()],
        ...[parse("", here("SELECT 'new' || $1::text")), bind("", ["er"]), execute()],
        ...double(5),
        sync(),
      );
      assert.equal(types, `${"12DC".repeat(4)}Z`);
      const rows = await run(
        ...double(4),
        parse("", ADD),
        bind("", ["4", "5"]),
        execute(),
        ...double(5),
        sync(),
      );
      assert.deepEqual(rows, ["8", "9", "10"]);
    });

    test("batches sent ahead are answered each to its own values", WAIT, async () => {
      client.send(...Array.from({ length: 50 }, (_, i) => Buffer.concat([...double(i), sync()])));
      assert.deepEqual(
        await answers(50),
        Array.from({ length: 50 }, (_, i) => String(2 * i)),
      );
    });

    test("pieces cut anywhere make no difference", WAIT, async () => {
      client.socket.setNoDelay(true);
      for (const byte of Buffer.concat([...double(21), sync()])) {
        client.send(Buffer.from([byte]));
        await new Promise(setImmediate);
      }
      assert.deepEqual(await answers(), ["42"]);
    });

    test("Parse is answered before there is a Sync, on Flush", WAIT, async () => {
      client.send(parse("", DOUBLE), flush());
      assert.equal((await client.next()).type, "1");
      client.send(bind("", ["3"]), execute(), flush());
      assert.equal(typesOf(await client.until("C")), "2DC");
      assert.equal(await ask(sync()), "Z");
    });

    test("Describe tells of the kept statement what it is", WAIT, async () => {
      client.send(parse("", ADD), describeStatement(""), sync());
      const messages = await client.until("Z");
      assert.equal(typesOf(messages), "1tTZ");
      assert.equal(messages[1]!.body.readInt16BE(0), 2, "two parameters");
      assert.equal(messages[2]!.body.toString("latin1", 2, 5), "sum");
      assert.deepEqual(await run(bind("", ["20", "22"]), execute(), sync()), ["42"]);
    });

    test(
      "the statement is bound as often as the client likes, in this batch and the next",
      WAIT,
      async () => {
        const rows = await run(...double(1), bind("", ["2"]), execute(), sync());
        assert.deepEqual(rows, ["2", "4"]);
        assert.deepEqual(await run(bind("", ["3"]), execute(), sync()), ["6"]);
        const other = await RawClient.login(stage.port);
        other.send(parse("", ADD), bind("", ["1", "1"]), execute(), sync());
        await other.until("Z");
        other.close();
        assert.deepEqual(
          await run(bind("", ["4"]), execute(), sync()),
          ["8"],
          "another client had the connection",
        );
      },
    );

    test("Close ends the client's statement, and nobody else's", WAIT, async () => {
      assert.equal(await ask(...double(1), close(""), sync()), "12DC3Z");
      assert.deepEqual(await run(bind("", ["1"]), execute(), sync()), ["26000"]);
      assert.equal(await ask(parse("", DOUBLE), close(""), sync()), "13Z");
      assert.deepEqual(await run(bind("", ["1"]), execute(), sync()), ["26000"]);
      assert.deepEqual(await run(...double(2), sync()), ["4"]);
      await isKept("AS double");
    });

    test("a Query ends it too", WAIT, async () => {
      assert.equal(await ask(parse("", DOUBLE), sync()), "1Z");
      assert.deepEqual(await run(query("SELECT 1 AS one")), ["1"]);
      assert.deepEqual(await run(bind("", ["1"]), execute(), sync()), ["26000"]);
      assert.deepEqual(await run(...double(2), sync()), ["4"]);
    });

    test("an error passes over the rest of its batch, and no more", WAIT, async () => {
      const divide = (by: string) => [parse("", DIVIDE), bind("", [by]), execute()];
      for (let round = 0; round < 2 * OFTEN; round += 1) {
        client.send(...double(1), ...divide("0"), ...double(2), parse("", ADD), sync());
        client.send(...double(3), sync(), ...divide("4"), sync());
        assert.deepEqual(await answers(3), ["2", "22012", "6", "3"], `round ${round}`);
        assert.deepEqual(await run(parse("", ADD), bind("", ["1", "2"]), execute(), sync()), ["3"]);
      }
    });

    test("a Parse that is refused leaves nothing to bind", WAIT, async () => {
      const wrong = here("SELECT $1::int FROM nowhere");
      for (let round = 0; round < OFTEN; round += 1) {
        assert.deepEqual(await run(parse("", wrong), bind("", ["1"]), execute(), sync()), ["42P01"]);
        assert.match((await run(bind("", ["1"]), execute(), sync())).join(), /^(26000|42P01)$/);
        assert.deepEqual(await run(...double(round), sync()), [String(2 * round)]);
      }
    });

    test("in a failed transaction Parse is refused as any other statement", WAIT, async () => {
      for (let round = 0; round < 3; round += 1) {
        await run(query("BEGIN"));
        assert.deepEqual(await run(...double(1), sync()), ["2"]);
        assert.deepEqual(await run(query(here("SELECT 1 / 0"))), ["22012"]);
        assert.deepEqual(await run(parse("", DOUBLE), sync()), ["25P02"]);
        await run(query("ROLLBACK"));
        assert.deepEqual(await run(...double(2), sync()), ["4"]);
      }
    });

    test("a named statement of the same text is the client's as ever", WAIT, async () => {
      for (let round = 0; round < 3; round += 1) {
        // It fails in front of the Parse, which the shard passes over: there is no such statement then.
        const wrong = [parse("", here("SELECT nothing")), parse("mine", DOUBLE), sync()];
        assert.deepEqual(await run(...wrong), ["42703"]);
        assert.equal(await ask(parse("mine", DOUBLE), describeStatement("mine"), sync()), "1tTZ");
        const wrongBind = [parse("", here("SELECT nothing")), bind("mine", ["5"]), execute(), sync()];
        assert.deepEqual(await run(...wrongBind), ["42703"]);
        assert.deepEqual(await run(bind("mine", ["5"]), execute(), sync()), ["10"]);
        assert.deepEqual(await run(...double(2), bind("mine", ["6"]), execute(), sync()), ["4", "12"]);
        assert.equal(await ask(close("mine"), sync()), "3Z");
        assert.deepEqual(await run(bind("mine", ["5"]), execute(), sync()), ["26000"]);
        assert.deepEqual(await run(...double(3), sync()), ["6"]);
      }
    });

    test("an error that comes batches later is heeded too", WAIT, async () => {
      const control = await stage.shards[0]!.connect();
      await control.query("CREATE TABLE late (n int)");
      const insert = here("INSERT INTO late VALUES ($1)");
      const late = async (value: string): Promise<string[]> => {
        assert.equal(await ask(parse("", insert), sync()), "1Z");
        return run(bind("", [value]), execute(), sync());
      };
      for (let round = 0; round < OFTEN; round += 1) assert.deepEqual(await late("1"), []);
      await control.query("ALTER TABLE late ALTER n TYPE bigint");
      await control.end();
      assert.deepEqual(await late("5000000000"), ["22003"], "the parameter is still an int");
      for (let round = 0; round < OFTEN; round += 1) assert.deepEqual(await late("5000000000"), []);
    });
  });
}

/** The first column of a row, the code of an error; nothing of the rest. */
function shown(one: Message): string[] {
  if (one.type === "E") return [errorField(one, "C")!];
  if (one.type !== "D") return [];
  return [one.body.toString("utf8", 6, 6 + one.body.readInt32BE(2))];
}
