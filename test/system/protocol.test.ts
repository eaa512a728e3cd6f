/**
 * The protocol as a client sees it, byte by byte where it matters.
 *
 * Everything is tried on one shard, where bytes are passed on, and on two, where statements are routed.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  bind,
  cancelRequest,
  describeStatement,
  errorField,
  execute,
  GSSENC_REQUEST,
  int32,
  type Message,
  message,
  messageOfLength,
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
import { Stage } from "./stage.ts";

const LOGIN = { user: "postgres", database: "bank" };
const WAIT = { timeout: 30_000 };
const FIND = "SELECT id FROM accounts WHERE id = $1";

for (const shards of [1, 2]) {
  describe(`over ${shards === 1 ? "one shard" : `${shards} shards`}`, () => {
    let stage: Stage;
    /** An account on the first shard, and one on the last. */
    let first: string;
    let last: string;

    before(async () => {
      stage = await Stage.open({ shards });
      first = String(stage.accounts[0]![0]);
      last = String(stage.accounts.at(-1)!.at(-1));
    });
    after(() => stage?.stop());

    /** A client that is closed when `use` ends. */
    const withClient = async (client: RawClient, use: (client: RawClient) => Promise<void>) => {
      try {
        await use(client);
      } finally {
        client.close();
      }
    };
    const unknown = (use: (client: RawClient) => Promise<void>) => withClient(new RawClient(stage.port), use);
    const loggedIn = async (use: (client: RawClient) => Promise<void>) =>
      withClient(await RawClient.login(stage.port), use);

    describe("startup", () => {
      test("SSLRequest and GSSENCRequest are declined with N, and the startup goes on", WAIT, () =>
        unknown(async (client) => {
          for (const code of [GSSENC_REQUEST, SSL_REQUEST]) {
            client.send(request(code));
            assert.equal((await client.bytes(1)).toString(), "N");
          }
          client.send(startup(LOGIN));
          const messages = await client.until("Z");
          assert.match(typesOf(messages), /^RS+KZ$/);
        }),
      );

      test("version 3.2 is spoken, with a secret longer than four bytes", WAIT, () =>
        unknown(async (client) => {
          client.send(startup(LOGIN, (3 << 16) | 2));
          const messages = await client.until("Z");
          assert.doesNotMatch(typesOf(messages), /v/);
          assert.ok(find(messages, "K").body.length > 8);
        }),
      );

      test("a later minor version and unknown options are negotiated down", WAIT, () =>
        unknown(async (client) => {
          client.send(startup({ ...LOGIN, "_pq_.future": "on" }, (3 << 16) | 99));
          const messages = await client.until("Z");
          const negotiation = find(messages, "v").body;
          assert.equal(negotiation.readInt32BE(0), (3 << 16) | 2);
          assert.equal(negotiation.readInt32BE(4), 1);
          assert.equal(negotiation.subarray(8).toString(), "_pq_.future\0");
        }),
      );

      test("another major version is refused with 0A000", WAIT, () =>
        unknown(async (client) => {
          client.send(startup(LOGIN, 4 << 16));
          assert.equal(sqlstate(find(await client.untilClosed(), "E")), "0A000");
        }),
      );

      test("an unknown database is 3D000", WAIT, () =>
        unknown(async (client) => {
          client.send(startup({ user: "postgres", database: "nowhere" }));
          assert.equal(sqlstate(find(await client.untilClosed(), "E")), "3D000");
        }),
      );

      for (const length of [0, 7, 20_000, 0x7fff_ffff, -1]) {
        test(`a startup packet that claims ${length} bytes is refused with 08P01`, WAIT, () =>
          unknown(async (client) => {
            client.send(int32(length), int32(3 << 16));
            assert.equal(sqlstate(find(await client.untilClosed(), "E")), "08P01");
          }),
        );
      }

      test("a client that goes away in the middle of its startup harms nobody", WAIT, () =>
        unknown(async (client) => {
          client.send(startup(LOGIN).subarray(0, 9));
          client.socket.end();
          await client.untilClosed();
          await loggedIn(async (other) => assert.ok(other));
        }),
      );
    });

    describe("queries", () => {
      test("an empty query is answered as such", WAIT, () =>
        loggedIn(async (client) => {
          client.send(query(""), query(" -- nothing\n;"));
          assert.equal(typesOf(await client.until("Z")), "IZ");
          assert.equal(typesOf(await client.until("Z")), "IZ");
        }),
      );

      test("messages split into single bytes are understood", WAIT, () =>
        loggedIn(async (client) => {
          const bytes = Buffer.concat([parse("", FIND), bind("", [first]), execute(), sync()]);
          for (const byte of bytes) {
            client.send(Buffer.from([byte]));
            await new Promise(setImmediate);
          }
          const messages = await client.until("Z");
          assert.equal(typesOf(messages), "12DCZ");
          assert.match(find(messages, "D").body.toString(), new RegExp(`${first}$`));
        }),
      );

      test("many messages in one chunk are answered in order", WAIT, () =>
        loggedIn(async (client) => {
          const rounds = 200;
          const ids = Array.from({ length: rounds }, (_, i) => (i % 2 === 0 ? first : last));
          client.send(...ids.flatMap((id) => [parse("", FIND), bind("", [id]), execute(), sync()]));
          for (const id of ids) {
            const messages = await client.until("Z");
            assert.equal(typesOf(messages), "12DCZ");
            assert.equal(rowText(find(messages, "D")), id);
          }
        }),
      );

      test("an error in a pipeline skips the rest up to Sync, and no further", WAIT, () =>
        loggedIn(async (client) => {
          client.send(
            ...[parse("", FIND), bind("", [first]), execute()],
            ...[parse("", "SELECT 1/(id - id) FROM accounts WHERE id = $1"), bind("", [first]), execute()],
            ...[parse("", FIND), bind("", [first]), execute()],
            sync(),
            ...[parse("", FIND), bind("", [last]), execute(), sync()],
          );
          const failed = await client.until("Z");
          assert.equal(typesOf(failed), "12DC12EZ");
          assert.equal(sqlstate(find(failed, "E")), "22012");
          assert.equal(typesOf(await client.until("Z")), "12DCZ");
        }),
      );

      test("the writes of a failed pipeline are undone", WAIT, () =>
        loggedIn(async (client) => {
          const insert = "INSERT INTO transfers (account_id, id, amount) VALUES ($1, $2, 0)";
          const values = [first, "77"];
          client.send(
            ...[parse("", insert), bind("", values), execute()],
            ...[bind("", values), execute()],
            sync(),
          );
          const messages = await client.until("Z");
          assert.equal(sqlstate(find(messages, "E")), "23505");
          assert.equal(messages.at(-1)!.body.toString(), "I");
          client.send(query(`SELECT FROM transfers WHERE account_id = ${first} AND id = 77`));
          assert.doesNotMatch(typesOf(await client.until("Z")), /D/);
        }),
      );

      test("a named statement is described, run again and closed", WAIT, () =>
        loggedIn(async (client) => {
          client.send(parse("find", FIND), describeStatement("find"), sync());
          assert.equal(typesOf(await client.until("Z")), "1tTZ");
          for (const id of [first, last]) {
            client.send(bind("find", [id]), execute(), sync());
            const messages = await client.until("Z");
            assert.equal(typesOf(messages), "2DCZ");
            assert.equal(rowText(find(messages, "D")), id);
          }
          client.send(message("C", Buffer.from("S"), text("find")), sync());
          assert.equal(typesOf(await client.until("Z")), "3Z");
          client.send(bind("find", [first]), execute(), sync());
          const gone = await client.until("Z");
          assert.equal(sqlstate(find(gone, "E")), "26000");
        }),
      );

      test("ReadyForQuery says whether a transaction is open, sound or failed", WAIT, () =>
        loggedIn(async (client) => {
          const status = async (sql: string) => {
            client.send(query(sql));
            return (await client.until("Z")).at(-1)!.body.toString();
          };
          assert.equal(await status("BEGIN"), "T");
          assert.equal(await status(`SELECT FROM accounts WHERE id = ${first}`), "T");
          assert.equal(await status("SELECT nonsense FROM accounts WHERE id = 1"), "E");
          assert.equal(await status("ROLLBACK"), "I");
        }),
      );

      test("a cancel request stops the statement with 57014, and only with the right secret", WAIT, () =>
        unknown(async (client) => {
          client.send(startup(LOGIN));
          const key = find(await client.until("Z"), "K").body;
          const [pid, secret] = [key.readInt32BE(0), key.subarray(4)];
          client.send(query(`SELECT pg_sleep(20) FROM accounts WHERE id = ${last}`));
          await untilActive(stage, "pg_sleep(20)");
          await cancel(pid, Buffer.from(secret.map((byte) => byte ^ 1)));
          await untilActive(stage, "pg_sleep(20)");
          await cancel(pid, secret);
          assert.equal(sqlstate(find(await client.until("Z"), "E")), "57014");
          client.send(query(`SELECT id FROM accounts WHERE id = ${last}`));
          assert.match(typesOf(await client.until("Z")), /^TDCZ$/);
        }),
      );

      test("a client that does not read holds up the shard and fills no memory", WAIT, () =>
        loggedIn(async (client) => {
          const before = process.memoryUsage();
          client.socket.pause();
          const rows = 100_000;
          client.send(
            query(
              `SELECT repeat('x', 1000) FROM accounts, generate_series(1, ${rows}) WHERE accounts.id = ${first}`,
            ),
          );
          await untilActive(stage, "repeat('x', 1000)", "ClientWrite");
          const now = process.memoryUsage();
          const grown = now.arrayBuffers + now.heapUsed - before.arrayBuffers - before.heapUsed;
          assert.ok(grown < 32 * 1024 * 1024, `${grown} bytes more`);
        }),
      );
    });

    describe("violations", () => {
      const VIOLATIONS: readonly (readonly [string, Buffer])[] = [
        ["a length below four", messageOfLength("Q", 3)],
        ["a negative length", messageOfLength("Q", -1)],
        ["a length of 2 GiB", messageOfLength("Q", 0x7fff_ffff)],
        ["an unknown type", message("\u0001", text("x"))],
        ["a server's message", message("Z", Buffer.from("I"))],
      ];
      for (const [name, bytes] of VIOLATIONS) {
        test(`${name} is refused with 08P01, and the connection closed`, WAIT, () =>
          loggedIn(async (client) => {
            client.send(bytes);
            const messages = await client.untilClosed();
            assert.equal(sqlstate(find(messages, "E")), "08P01");
          }),
        );
      }

      const MALFORMED: readonly (readonly [string, Buffer])[] = [
        ["a query without its end", message("Q", Buffer.from("SELECT 1"))],
        ["a Bind cut short", Buffer.concat([parse("", "SELECT 1"), message("B", text(""), text(""))])],
      ];
      for (const [name, bytes] of MALFORMED) {
        test(`${name} is refused with 08P01`, WAIT, () =>
          loggedIn(async (client) => {
            client.send(bytes, sync());
            assert.equal(sqlstate((await client.until("E")).at(-1)!), "08P01");
          }),
        );
      }

      test("after every violation others are served as before", WAIT, () =>
        loggedIn(async (client) => {
          client.send(query(`SELECT id FROM accounts WHERE id = ${first}`));
          assert.equal(typesOf(await client.until("Z")), "TDCZ");
          client.send(terminate());
          assert.deepEqual(await client.untilClosed(), []);
        }),
      );
    });

    const cancel = async (pid: number, secret: Buffer) => {
      const canceller = new RawClient(stage.port);
      canceller.send(cancelRequest(pid, secret));
      assert.deepEqual(await canceller.untilClosed(), []);
    };
  });
}

describe("COPY over one shard", () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open({ shards: 1 });
  });
  after(() => stage?.stop());

  test("COPY FROM STDIN and TO STDOUT pass through", WAIT, async () => {
    const client = await RawClient.login(stage.port);
    client.send(query("COPY events FROM STDIN"));
    assert.equal(typesOf(await client.until("G")), "G");
    client.send(message("d", Buffer.from("1\tone\n2\tt")), message("d", Buffer.from("wo\n")), message("c"));
    assert.equal(typesOf(await client.until("Z")), "CZ");
    client.send(query("COPY events TO STDOUT"));
    const out = await client.until("Z");
    assert.equal(typesOf(out), "HddcCZ");
    assert.equal(
      Buffer.concat(out.filter(({ type }) => type === "d").map(({ body }) => body)).toString(),
      "1\tone\n2\ttwo\n",
    );
    client.close();
  });

  test("a COPY that the client gives up fails as the client said", WAIT, async () => {
    const client = await RawClient.login(stage.port);
    client.send(query("COPY events FROM STDIN"));
    await client.until("G");
    client.send(message("d", Buffer.from("9\tnine\n")), message("f", text("changed my mind")));
    const messages = await client.until("Z");
    assert.equal(sqlstate(find(messages, "E")), "57014");
    client.send(query("SELECT count(*) FROM events WHERE id = 9"));
    assert.equal(rowText(find(await client.until("Z"), "D")), "0");
    client.close();
  });
});

describe("passwords", () => {
  let stage: Stage;
  before(async () => {
    stage = await Stage.open({
      config: { auth: { method: "scram-sha-256" }, users: [{ name: "teller", password: "pär$wörd" }] },
    });
  });
  after(() => stage?.stop());

  test("the right one lets in", WAIT, async () => {
    const client = await stage.connect({ user: "teller", password: "pär$wörd" });
    assert.equal((await client.query("SELECT 1 AS one")).rows[0].one, 1);
  });

  for (const [user, password] of [
    ["teller", "wrong"],
    ["nobody", "pär$wörd"],
  ] as const) {
    test(`"${user}" with "${password}" is refused with 28P01`, WAIT, () =>
      assert.rejects(stage.connect({ user, password }), (error: { code?: string }) => error.code === "28P01"),
    );
  }
});

function find(messages: readonly Message[], type: string): Message {
  const found = messages.find((one) => one.type === type);
  assert.ok(found, `a message of type ${type} in ${typesOf(messages)}`);
  return found;
}

const sqlstate = (error: Message): string | undefined => errorField(error, "C");

/** The text of a DataRow with one column. */
const rowText = ({ body }: Message): string => body.subarray(6).toString();

/** Waits until a shard runs a statement that contains `part`, and waits for `event` in it. */
async function untilActive(stage: Stage, part: string, event: string | null = null): Promise<void> {
  const sql = `SELECT FROM pg_stat_activity WHERE state = 'active' AND position($1 IN query) > 0
    AND pid <> pg_backend_pid() AND ($2::text IS NULL OR wait_event = $2)`;
  while ((await stage.onShards(sql, [part, event])).flat().length === 0);
}
