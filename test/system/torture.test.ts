/**
 * Conversations as no driver has them: cut into single bytes and everywhere else, and a thousand questions ahead of their
 * answers. What Postgres itself answers is the measure.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  bind,
  describeStatement,
  errorField,
  execute,
  GSSENC_REQUEST,
  int16,
  int32,
  type Message,
  message,
  parse,
  query,
  RawClient,
  request,
  SSL_REQUEST,
  startup,
  sync,
  terminate,
  text,
  typesOf,
} from "./rawClient.ts";
import { Rig } from "./tortureRig.ts";

const WAIT = { timeout: 60_000 };
const POOL_MAX = 3;
const LOGIN = { user: "postgres", database: "bank" };
const FLUSH = message("H");
const INT4PL = 177;

const here = (sql: string): string => `/* pgxa: shard=east */ ${sql}`;

/** What is compared of an answer: everything, but for an error's fields that say where in a program it was raised. */
const told = (messages: readonly Message[]): string[] =>
  messages.map((one) =>
    one.type === "E"
      ? `E ${errorField(one, "C")} ${errorField(one, "M")}`
      : `${one.type} ${one.body.toString("latin1")}`,
  );

/** One thing said, and the type of the message that ends the answer; null: the connection is closed. */
interface Step {
  readonly name: string;
  readonly bytes: Buffer;
  readonly until: string | null;
}

const step = (name: string, until: string | null, ...messages: readonly Buffer[]): Step => ({
  name,
  bytes: Buffer.concat(messages),
  until,
});

const CALL = message(
  "F",
  ...[int32(INT4PL), int16(1), int16(0), int16(2), int32(2), Buffer.from("40"), int32(1), Buffer.from("2")],
  int16(0),
);

const CONVERSATION: readonly Step[] = [
  step("a simple query", "Z", query(here("SELECT id, owner FROM accounts ORDER BY id LIMIT 3"))),
  step("an empty query", "Z", query("")),
  step("a query that fails", "Z", query(here("SELECT 1/0"))),
  step("two queries in one message", "Z", query(here("SELECT 1; SELECT 2"))),
  step(
    "Parse, Describe",
    "Z",
    parse("cut", here("SELECT $1::int + 1 AS next")),
    describeStatement("cut"),
    sync(),
  ),
  step("Bind, Execute", "Z", bind("cut", ["41"]), execute(), sync()),
  step("a whole batch, unnamed", "Z", parse("", here("SELECT $1::text")), bind("", ["x"]), execute(), sync()),
  step(
    "a batch up to Flush",
    "C",
    parse("", here("SELECT 7")),
    bind(""),
    message("D", text("P")),
    execute(),
    FLUSH,
  ),
  step("its Sync", "Z", sync()),
  step(
    "a batch that fails",
    "Z",
    parse("", here("SELECT 1/$1::int")),
    bind("", ["0"]),
    execute(),
    execute(),
    sync(),
  ),
  step("COPY FROM", "G", query(here("COPY events FROM STDIN"))),
  step(
    "its rows",
    "Z",
    message("d", Buffer.from("1\tone\n2\tt")),
    message("d", Buffer.from("wo\n")),
    message("c"),
  ),
  step("COPY TO", "Z", query(here("COPY events TO STDOUT"))),
  step("DELETE", "Z", query(here("DELETE FROM events"))),
  step("Close", "Z", message("C", text("Scut")), sync()),
  step("Bind of what was closed", "Z", bind("cut", ["1"]), execute(), sync()),
  step("BEGIN", "Z", query("BEGIN")),
  step("an error in the transaction", "Z", query(here("SELECT 1/0"))),
  step("ROLLBACK", "Z", query("ROLLBACK")),
];
const FUNCTION_CALL = step("a function call", "Z", CALL);
const END = step("Terminate", null, terminate());

const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function sendBytewise(client: RawClient, bytes: Buffer): Promise<void> {
  for (const byte of bytes) {
    client.send(Buffer.from([byte]));
    await tick();
  }
}

const answer = (client: RawClient, until: string | null): Promise<Message[]> =>
  until === null ? client.untilClosed() : client.until(until);

for (const shards of [1, 2]) {
  describe(`over ${shards === 1 ? "one shard" : `${shards} shards`}`, () => {
    let rig: Rig;
    let direct: RawClient;

    before(async () => {
      rig = await Rig.open({ shards, poolMax: POOL_MAX });
      direct = await rig.direct();
    });
    after(async () => {
      direct?.close();
      await rig?.stop();
    });

    const conversation = [...CONVERSATION, ...(shards === 1 ? [FUNCTION_CALL] : []), END];

    /** What Postgres answers to the whole conversation. */
    const expected = async (): Promise<readonly string[][]> => {
      const client = await rig.direct();
      const answers: string[][] = [];
      for (const { bytes, until } of conversation) {
        client.send(bytes);
        answers.push(told(await answer(client, until)));
      }
      return answers;
    };

    test("a startup in single bytes is understood, with what may come before it", WAIT, async () => {
      const client = new RawClient(rig.port);
      for (const code of [GSSENC_REQUEST, SSL_REQUEST]) {
        await sendBytewise(client, request(code));
        assert.equal((await client.bytes(1)).toString(), "N");
      }
      await sendBytewise(client, startup(LOGIN));
      assert.match(typesOf(await client.until("Z")), /^RS+KZ$/);
      client.close();
    });

    test("a conversation in single bytes is answered as by Postgres", WAIT, async () => {
      const answers = await expected();
      const client = await rig.login();
      for (const [i, { name, bytes, until }] of conversation.entries()) {
        await sendBytewise(client, bytes);
        assert.deepEqual(told(await answer(client, until)), answers[i], name);
      }
    });

    test("a conversation cut in two anywhere is answered as by Postgres", WAIT, async () => {
      const answers = await expected();
      // A part of a conversation that can be repeated; COPY FROM needs its DELETE.
      const client = await rig.login();
      for (const [i, { name, bytes, until }] of conversation.slice(0, 8).entries()) {
        if (until !== "Z" || name.startsWith("Parse")) continue;
        for (let cut = 1; cut < bytes.length; cut += 1) {
          client.send(bytes.subarray(0, cut));
          await tick();
          client.send(bytes.subarray(cut));
          if (name.startsWith("Bind")) break;
          assert.deepEqual(told(await answer(client, until)), answers[i], `${name}, cut at ${cut}`);
        }
        if (name.startsWith("Bind")) await answer(client, until);
      }
      client.close();
      await rig.assertIdle();
    });

    test(
      "the whole conversation at once, and in chunks of every size, is answered as by Postgres",
      WAIT,
      async () => {
        // Who sends behind Flush, or COPY data ahead of the answer, is served as well.
        const all = Buffer.concat(conversation.map(({ bytes }) => bytes));
        const answers = (await expected()).flat();
        for (const size of [all.length, 1_000, 333, 64, 17, 7, 5, 3]) {
          const client = await rig.login();
          for (let at = 0; at < all.length; at += size) {
            client.send(all.subarray(at, at + size));
            await tick();
          }
          assert.deepEqual(told(await client.untilClosed()), answers, `chunks of ${size} bytes`);
        }
      },
    );

    /** Sends all at once, here and there, and compares the answers to the last byte. */
    const compare = async (messages: readonly Buffer[], syncs: number): Promise<string[][]> => {
      const client = await rig.login();
      const answers: string[][] = [];
      try {
        for (const one of [client, direct]) one.send(...messages);
        for (let i = 0; i < syncs; i += 1) {
          const [mine, theirs] = await Promise.all([client.until("Z"), direct.until("Z")]);
          assert.deepEqual(told(mine), told(theirs), `answer ${i}`);
          answers.push(told(mine));
        }
      } finally {
        client.close();
      }
      return answers;
    };

    const COUNT = 1_000;

    /** A statement of a long pipeline: most succeed, some fail, some are in transactions that fail. */
    const statement = (i: number): string => {
      const place = i % 20;
      if (place === 3) return here("SELECT 1/0");
      if (place === 7) return here("SELECT nonsense FROM accounts");
      if (place === 10 || place === 15) return "BEGIN";
      if (place === 12) return here("INSERT INTO events SELECT 1, 'x' FROM generate_series(1, 2)");
      if (place === 14) return "COMMIT";
      if (place === 16) return here(`INSERT INTO events VALUES (${i}, 'row ${i}')`);
      if (place === 17) return "COMMIT";
      return here(`SELECT ${i} AS number, repeat('x', ${i}) AS text`);
    };

    test("a thousand simple queries sent at once are answered as by Postgres", WAIT, async () => {
      const queries = Array.from({ length: COUNT }, (_, i) => query(statement(i)));
      // The direct connection writes to the same table: it is emptied between, and none is written twice.
      const client = await rig.login();
      client.send(...queries);
      const mine: string[][] = [];
      for (let i = 0; i < COUNT; i += 1) mine.push(told(await client.until("Z")));
      client.send(query(here("DELETE FROM events")));
      await client.until("Z");
      client.close();
      direct.send(...queries);
      for (let i = 0; i < COUNT; i += 1)
        assert.deepEqual(mine[i], told(await direct.until("Z")), statement(i));
      direct.send(query("DELETE FROM events"));
      await direct.until("Z");
      await rig.assertIdle();
    });

    const batch = (i: number): Buffer[] => {
      const place = i % 10;
      if (place === 3) return [parse("", here("SELECT 1/$1::int")), bind("", ["0"]), execute()];
      if (place === 5) return [parse("", here("SELEC $1"))];
      if (place === 7) return [bind("nowhere"), execute()];
      if (place === 8) return [parse(`s${i}`, here("SELECT $1::int")), bind(`s${i}`, [String(i)]), execute()];
      return [parse("", here("SELECT $1::int AS number")), bind("", [String(i)]), execute()];
    };

    test("a thousand batches sent at once are answered as by Postgres", WAIT, async () => {
      await compare(Array.from({ length: COUNT }, (_, i) => [...batch(i), sync()]).flat(), COUNT);
      await rig.assertIdle();
    });

    test(
      "one batch of a thousand statements with an error amid it is answered as by Postgres",
      WAIT,
      async () => {
        const good = (i: number) => [
          parse("", here("SELECT $1::int AS number")),
          bind("", [String(i)]),
          execute(),
        ];
        const bad = [parse("", here("SELECT 1/$1::int")), bind("", ["0"]), execute()];
        const half = Array.from({ length: COUNT / 2 }, (_, i) => good(i)).flat();
        const [failed, next] = await compare([...half, ...bad, ...half, sync(), ...good(7), sync()], 2);
        assert.equal(failed!.length, 500 * "12DC".length + "1EZ".length);
        assert.match(failed!.at(-2)!, /^E 22012/);
        assert.equal(next!.length, 5);
        await rig.assertIdle();
      },
    );

    test("ten thousand Syncs are answered each", WAIT, async () => {
      await compare(Array<Buffer>(10_000).fill(sync()), 10_000);
    });

    test("after all of it the memory is as it was", WAIT, async (t) => {
      t.diagnostic(await rig.assertMemoryIsBack());
    });
  });
}
