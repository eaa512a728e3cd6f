/**
 * Clients that vanish: in every state of the protocol, in every way a connection can end.
 *
 * Each time all must be as before: no transaction, no lock, no server connection too many, and all of them to be had.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import pg from "pg";
import {
  bind,
  execute,
  int32,
  message,
  parse,
  query,
  RawClient,
  request,
  SSL_REQUEST,
  startup,
  sync,
  text,
  typesOf,
} from "./rawClient.ts";
import { Rig } from "./tortureRig.ts";

const WAIT = { timeout: 60_000 };
const POOL_MAX = 3;
const LOGIN = { user: "postgres", database: "bank" };
const FLUSH = message("H");

/** On the first shard, whatever the number of shards. */
const here = (sql: string): string => `/* pgxa: shard=east */ ${sql}`;

/** How a client's connection ends. */
const WAYS: Readonly<Record<string, (client: RawClient) => void>> = {
  "is destroyed": (client) => client.socket.destroy(),
  "is reset": (client) => client.socket.resetAndDestroy(),
  "is half closed": (client) => client.socket.end(),
};

interface State {
  readonly name: string;
  /** Brings a client there. */
  reach(rig: Rig): Promise<RawClient>;
}

/** A client that has logged in and said `messages`; `until`: the type of the message to wait for. */
const said =
  (until: string | null, ...messages: readonly Buffer[]) =>
  async (rig: Rig): Promise<RawClient> => {
    const client = await rig.login();
    client.send(...messages);
    if (until !== null) await client.until(until);
    return client;
  };

/** A client whose simple queries were all answered. */
const asked =
  (...statements: readonly string[]) =>
  async (rig: Rig): Promise<RawClient> => {
    const client = await rig.login();
    for (const sql of statements) {
      client.send(query(sql));
      await client.until("Z");
    }
    return client;
  };

const unknown =
  (...messages: readonly Buffer[]) =>
  async (rig: Rig): Promise<RawClient> => {
    const client = new RawClient(rig.port);
    client.send(...messages);
    await new Promise((resolve) => client.socket.once("connect", resolve));
    return client;
  };

const then = (
  reach: (rig: Rig) => Promise<RawClient>,
  more: (client: RawClient, rig: Rig) => Promise<unknown>,
): ((rig: Rig) => Promise<RawClient>) => {
  return async (rig) => {
    const client = await reach(rig);
    await more(client, rig);
    return client;
  };
};

const LOCKED = here("UPDATE accounts SET balance = balance + 1");
const FAILING = here("SELECT 1/0");
const COPY_IN = query(here("COPY events FROM STDIN"));
const SLEEP = here("SELECT pg_sleep(60)");
const BATCH = [parse("", LOCKED), bind(""), execute()];
const WIDE = here("SELECT repeat('x', 1000) FROM generate_series(1, 100000)");

const STARTING: readonly State[] = [
  { name: "before a word", reach: unknown() },
  { name: "in the middle of its startup", reach: unknown(startup(LOGIN).subarray(0, 9)) },
  { name: "behind its startup, unanswered", reach: unknown(startup(LOGIN)) },
  {
    name: "behind an SSLRequest",
    reach: then(unknown(request(SSL_REQUEST)), async (client) =>
      assert.equal((await client.bytes(1)).toString(), "N"),
    ),
  },
  { name: "with a query sent ahead of its login", reach: unknown(startup(LOGIN), query(LOCKED)) },
];

const WORKING: readonly State[] = [
  { name: "idle", reach: asked(here("SELECT 1")) },
  {
    name: "amid a statement",
    reach: then(said(null, query(SLEEP)), (_client, rig) => rig.untilSeen("pg_sleep(60)")),
  },
  {
    name: "amid a statement of its transaction",
    reach: then(asked("BEGIN", LOCKED), async (client, rig) => {
      client.send(query(SLEEP));
      await rig.untilSeen("pg_sleep(60)");
    }),
  },
  { name: "in a transaction", reach: asked("BEGIN", LOCKED) },
  { name: "in a transaction with savepoints", reach: asked("BEGIN", "SAVEPOINT a", LOCKED, "SAVEPOINT b") },
  { name: "in a failed transaction", reach: asked("BEGIN", LOCKED, FAILING) },
  { name: "behind BEGIN", reach: asked("BEGIN") },
  { name: "with a query just sent", reach: said(null, query(LOCKED)) },
  { name: "with a SET just sent", reach: said(null, query("SET statement_timeout = '7s'")) },
  { name: "with a SET just answered", reach: asked("SET statement_timeout = '7s'") },
  { name: "with 500 queries under way", reach: said(null, ...Array<Buffer>(500).fill(query(LOCKED))) },
  {
    name: "amid a result",
    reach: then(said(null), async (client, rig) => {
      client.socket.pause();
      client.send(query(WIDE));
      await rig.untilSeen("repeat('x', 1000)", "wait_event = 'ClientWrite'");
    }),
  },
];

const BATCHES: readonly State[] = [
  { name: "behind a Parse", reach: said(null, parse("", LOCKED)) },
  { name: "amid a batch, answered", reach: said("C", ...BATCH, FLUSH) },
  { name: "amid a batch, unanswered", reach: said(null, ...BATCH) },
  { name: "amid a batch that failed", reach: said("E", parse("", FAILING), bind(""), execute(), FLUSH) },
  { name: "behind a Sync", reach: said(null, ...BATCH, sync()) },
  { name: "behind the header of a query", reach: said(null, query(LOCKED).subarray(0, 5)) },
  { name: "amid a query", reach: said(null, query(LOCKED).subarray(0, 20)) },
  {
    name: "amid a long query",
    reach: said(null, query(`${LOCKED} -- ${"x".repeat(1_000_000)}`).subarray(0, 900_000)),
  },
  { name: "amid a Bind", reach: said(null, parse("", LOCKED), bind("").subarray(0, 8)) },
  {
    name: "amid a message in its transaction",
    reach: then(asked("BEGIN", LOCKED), async (client) => client.send(query(LOCKED).subarray(0, 9))),
  },
  {
    name: "amid a message behind a whole one",
    reach: said(null, query(LOCKED), query(LOCKED).subarray(0, 9)),
  },
];

const COPYING: readonly State[] = [
  { name: "before the first row of a COPY FROM", reach: said("G", COPY_IN) },
  {
    name: "amid a COPY FROM",
    reach: then(said("G", COPY_IN), async (client) =>
      client.send(message("d", Buffer.from("70\tseventy\n")), message("d", Buffer.from("71\tsev"))),
    ),
  },
  {
    name: "amid a row of a COPY FROM",
    reach: then(said("G", COPY_IN), async (client) =>
      client.send(Buffer.from("d"), int32(1_000), text("72\t")),
    ),
  },
  {
    name: "amid a COPY FROM in its transaction",
    reach: then(asked("BEGIN", LOCKED), async (client) => {
      client.send(COPY_IN);
      await client.until("G");
      client.send(message("d", Buffer.from("73\tseventy-three\n")));
    }),
  },
  {
    name: "amid a COPY TO",
    reach: then(said(null), async (client, rig) => {
      client.socket.pause();
      client.send(query(here("COPY (SELECT repeat('y', 1000) FROM generate_series(1, 100000)) TO STDOUT")));
      await rig.untilSeen("repeat('y', 1000)", "wait_event = 'ClientWrite'");
    }),
  },
];

const HOLDING: readonly State[] = [
  { name: "pinned by a temporary table", reach: asked(here("CREATE TEMP TABLE mine (a int)")) },
  { name: "pinned by an advisory lock", reach: asked(here("SELECT pg_advisory_lock(7)")) },
  {
    name: "pinned, in a transaction",
    reach: asked(
      here("CREATE TEMP TABLE mine (a int)"),
      "BEGIN",
      here("INSERT INTO mine VALUES (1)"),
      LOCKED,
    ),
  },
  {
    name: "pinned, amid a statement",
    reach: then(asked(here("SELECT pg_advisory_lock(7)")), async (client, rig) => {
      client.send(query(SLEEP));
      await rig.untilSeen("pg_sleep(60)");
    }),
  },
  { name: "listening", reach: asked("LISTEN somewhere") },
  { name: "with a LISTEN just sent", reach: said(null, query("LISTEN somewhere_else")) },
  {
    name: "listening, in a transaction",
    reach: asked("LISTEN somewhere", "BEGIN", LOCKED, "NOTIFY somewhere"),
  },
  { name: "with a notification just sent", reach: said(null, query("NOTIFY somewhere")) },
];

const STATES = [...STARTING, ...WORKING, ...BATCHES, ...COPYING, ...HOLDING];

for (const shards of [1, 2]) {
  describe(`over ${shards === 1 ? "one shard" : `${shards} shards`}, a client that vanishes`, () => {
    let rig: Rig;
    before(async () => {
      rig = await Rig.open({ shards, poolMax: POOL_MAX });
    });
    after(() => rig?.stop());

    for (const [i, { name, reach }] of STATES.entries()) {
      // Over several shards one way of the three for each state, to save time.
      const ways = Object.values(WAYS).filter((_, way) => shards === 1 || way === i % 3);
      test(`${name} leaves nothing behind`, WAIT, async () => {
        for (const end of ways) {
          const client = await reach(rig);
          end(client);
          await rig.assertIdle();
          client.close();
        }
      });
    }

    test("while it waits for a connection leaves nothing behind", WAIT, async () => {
      for (const end of Object.values(WAYS)) {
        const holders = await Promise.all(
          Array.from({ length: POOL_MAX }, () => asked("BEGIN", here("SELECT 1"))(rig)),
        );
        const waiting = await Promise.all(
          [query(LOCKED), Buffer.concat([...BATCH, sync()]), query("BEGIN; SELECT 1")].map((bytes) =>
            said(null, bytes)(rig),
          ),
        );
        await (await asked()(rig)).socket.end(); // they have been heard when it is in
        for (const client of waiting) end(client);
        for (const holder of holders) end(holder);
        await rig.assertIdle();
        for (const client of [...waiting, ...holders]) client.close();
      }
    });

    test("in all these states at once leaves nothing behind", WAIT, async () => {
      const states = [...STARTING, ...WORKING.filter(({ name }) => !name.includes("amid")), ...BATCHES];
      for (const end of Object.values(WAYS)) {
        const clients = await Promise.all(states.map(() => rig.login()));
        for (const [i, client] of clients.entries()) {
          client.send(i % 2 === 0 ? query("BEGIN") : BATCH[0]!, i % 3 === 0 ? query(LOCKED) : sync());
        }
        for (const client of clients) end(client);
        await rig.assertIdle();
        for (const client of clients) client.close();
      }
    });

    test("has not written anything it did not commit", WAIT, async () => {
      const client = await rig.login();
      client.send(query(here("SELECT count(*) FROM events")));
      const answer = await client.until("Z");
      assert.equal(typesOf(answer), "TDCZ");
      assert.equal(answer[1]!.body.subarray(6).toString(), "0");
      client.close();
    });

    test("and all the others, leave the memory as it was", WAIT, async (t) => {
      t.diagnostic(await rig.assertMemoryIsBack());
    });
  });
}

describe("a client that vanishes amid its authentication", () => {
  let rig: Rig;
  before(async () => {
    rig = await Rig.open({
      poolMax: POOL_MAX,
      isLocked: true,
      config: {
        auth: { method: "scram-sha-256", trust_loopback: false },
        users: [{ name: "teller", password: "x" }],
      },
    });
  });
  after(() => rig?.stop());

  const first = "n,,n=,r=abcdefghijklmnop";
  const initial = message("p", text("SCRAM-SHA-256"), int32(first.length), Buffer.from(first));

  for (const [name, ...messages] of [
    ["when it is asked for a password"],
    ["behind the first half of its answer", initial.subarray(0, 12)],
    ["behind its first answer", initial],
    ["behind an answer that proves nothing", initial, message("p", Buffer.from("c=biws,r=wrong,p=AAAA"))],
  ] as const) {
    test(`${name} leaves nothing behind`, WAIT, async () => {
      for (const end of Object.values(WAYS)) {
        const client = new RawClient(rig.port);
        client.send(startup({ user: "teller", database: "bank" }));
        await client.until("R");
        client.send(...messages);
        end(client);
        await rig.assertIdle();
        client.close();
      }
    });
  }

  test("does not keep others from theirs", WAIT, async () => {
    const client = new pg.Client({
      host: "127.0.0.1",
      port: rig.port,
      user: "teller",
      password: "x",
      database: "bank",
    });
    await client.connect();
    assert.equal((await client.query("SELECT 1 AS one")).rows[0].one, 1);
    await client.end();
  });
});
