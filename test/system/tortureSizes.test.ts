/**
 * Too large, too slow, too many: giant messages and lengths that lie, clients that dawdle over their startup or do not
 * read, and thousands that do nothing.
 *
 * Bounds on memory are generous: they are to tell a buffer from a queue without end.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Memory } from "./measuredProxy.ts";
import {
  bind,
  errorField,
  execute,
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
  typesOf,
} from "./rawClient.ts";
import { MB, Rig } from "./tortureRig.ts";

const WAIT = { timeout: 60_000 };
const POOL_MAX = 3;
const LOGIN = { user: "postgres", database: "bank" };
/** What a client that does not read, or sends much, may cost at most: some buffers. */
const CLIENT_BYTES_MAX = 48 * MB;

const here = (sql: string): string => `/* pgxa: shard=east */ ${sql}`;

const find = (messages: readonly Message[], type: string): Message => {
  const found = messages.find((one) => one.type === type);
  assert.ok(found, `a message of type ${type} in ${typesOf(messages)}`);
  return found;
};
/** The text of a DataRow with one column. */
const rowText = (messages: readonly Message[]): string => find(messages, "D").body.subarray(6).toString();
const sqlstate = (messages: readonly Message[]): string | undefined => errorField(find(messages, "E"), "C");

function assertGrown(before: Memory, now: Memory, bytesMax: number): void {
  const grown = now.used - before.used;
  assert.ok(grown < bytesMax, `${Math.round(grown / MB)} MB more`);
}

/** Waits until nothing more of what the client wrote is taken. */
async function untilHeldBack(client: RawClient): Promise<void> {
  let left = -1;
  for (let calm = 0; calm < 10; calm = client.socket.writableLength === left ? calm + 1 : 0) {
    left = client.socket.writableLength;
    await delay(50);
  }
  assert.ok(left > 0, "it could write all");
}

for (const shards of [1, 2]) {
  describe(`over ${shards === 1 ? "one shard" : `${shards} shards`}`, () => {
    let rig: Rig;
    before(async () => {
      rig = await Rig.open({ shards, poolMax: POOL_MAX, config: { limits: { message_held_max: "64MB" } } });
    });
    after(() => rig?.stop());

    /** Runs `use` with a client; then nothing may be held. */
    const withClient = async (use: (client: RawClient) => Promise<void>): Promise<void> => {
      const client = await rig.login();
      try {
        await use(client);
      } finally {
        client.close();
      }
      await rig.assertIdle();
    };

    test(`a query of 20 MB is ${shards === 1 ? "answered" : "refused, as too long to be routed"}`, WAIT, () =>
      withClient(async (client) => {
        client.send(query(here(`SELECT length('${"x".repeat(20 * MB)}')`)));
        const answer = await client.until("Z");
        if (shards === 1) assert.equal(rowText(answer), String(20 * MB));
        else assert.equal(sqlstate(answer), "0A000");
      }),
    );

    test("a parameter of 20 MB is bound", WAIT, () =>
      withClient(async (client) => {
        const big = "y".repeat(20 * MB);
        client.send(parse("", here("SELECT length($1::text)")), bind("", [big]), execute(), sync());
        assert.equal(rowText(await client.until("Z")), String(20 * MB));
      }),
    );

    test("a row of 30 MB is copied", WAIT, () =>
      withClient(async (client) => {
        client.send(query(here("COPY events FROM STDIN")));
        await client.until("G");
        client.send(message("d", Buffer.from(`900\t${"z".repeat(30 * MB)}\n`)), message("c"));
        assert.equal(typesOf(await client.until("Z")), "CZ");
        client.send(query(here("DELETE FROM events RETURNING length(what)")));
        assert.equal(rowText(await client.until("Z")), String(30 * MB));
      }),
    );

    test("a row of 50 MB costs no memory while it is not read, and is whole when it is", WAIT, () =>
      withClient(async (client) => {
        const before = await rig.memory();
        client.socket.pause();
        client.send(query(here(`SELECT repeat('w', ${50 * MB})`)));
        await rig.untilSeen("repeat('w'", "wait_event = 'ClientWrite'");
        assertGrown(before, await rig.memory(), CLIENT_BYTES_MAX);
        client.socket.resume();
        const row = find(await client.until("Z"), "D").body;
        assert.equal(row.length, 6 + 50 * MB);
        assert.ok(row.subarray(6).equals(Buffer.alloc(50 * MB, "w")));
      }),
    );

    test("a message beyond limits.message_bytes_max is refused, and its transaction undone", WAIT, () =>
      withClient(async (client) => {
        client.send(query("BEGIN"), query(here("INSERT INTO events VALUES (901, 'x')")));
        await client.until("Z");
        await client.until("Z");
        client.send(messageOfLength("Q", 2 ** 30 - 1));
        assert.equal(sqlstate(await client.untilClosed()), "08P01");
      }),
    );

    if (shards > 1) {
      test("a message beyond limits.message_held_max is refused too, with what to do", WAIT, async () => {
        for (const type of ["Q", "P", "B", "F"]) {
          await withClient(async (client) => {
            client.send(query("BEGIN"), query(here("INSERT INTO events VALUES (901, 'x')")));
            await client.until("Z");
            await client.until("Z");
            client.send(messageOfLength(type, 64 * MB));
            const answer = await client.untilClosed();
            assert.equal(sqlstate(answer), "54000");
            assert.match(errorField(find(answer, "E"), "H") ?? "", /limits\.message_held_max/);
          });
        }
        assert.equal((await rig.control.query("SELECT FROM events WHERE id = 901")).rowCount, 0);
      });
    }

    describe("lengths that lie, and types that are none,", () => {
      const TYPES = ["Q", "P", "B", "E", "D", "C", "S", "H", "F", "d", "c", "f", "X", "p"];
      const LENGTHS = [0, 3, -1, -0x8000_0000, 0x7fff_ffff];

      /** What a client hears that says `bytes` when it is in a state. */
      const refusals = async (prepare: (client: RawClient) => Promise<unknown>, bytes: Buffer) => {
        const client = await rig.login();
        await prepare(client);
        client.send(bytes);
        const heard = await client.untilClosed();
        return heard.filter(({ type }) => type === "E").map((error) => errorField(error, "C"));
      };

      const STATES: Readonly<Record<string, (client: RawClient) => Promise<unknown>>> = {
        "an idle client": async () => {},
        "a client in a transaction": async (client) => {
          client.send(query("BEGIN"), query(here("UPDATE accounts SET balance = balance + 1")));
          await client.until("Z");
          await client.until("Z");
        },
        "a client in a batch": async (client) => {
          client.send(parse("", here("SELECT 1")), bind(""), execute(), message("H"));
          await client.until("C");
        },
        "a client that copies": async (client) => {
          client.send(query(here("COPY events FROM STDIN")));
          await client.until("G");
        },
      };
      for (const [state, prepare] of Object.entries(STATES)) {
        test(`end the session of ${state} with 08P01`, WAIT, async () => {
          const isIdle = state === "an idle client";
          for (const type of isIdle ? TYPES : ["Q", "B", "S", "d", "X"]) {
            for (const length of isIdle ? LENGTHS : [3, -0x8000_0000, 0x7fff_ffff]) {
              const told = await refusals(prepare, messageOfLength(type, length));
              assert.deepEqual(told.slice(-1), ["08P01"], `${type} of length ${length}`);
            }
          }
          await rig.assertIdle();
        });

        test(`of every other byte end the session of ${state} with 08P01`, WAIT, async () => {
          const others = Array.from({ length: 256 }, (_, byte) => byte).filter(
            (byte) => !TYPES.includes(String.fromCharCode(byte)),
          );
          for (const byte of others.filter((_, i) => i % (state === "an idle client" ? 4 : 50) === 0)) {
            const told = await refusals(prepare, Buffer.from([byte, 0, 0, 0, 4]));
            assert.deepEqual(told.slice(-1), ["08P01"], `type ${byte}`);
          }
          await rig.assertIdle();
        });
      }
    });

    test("clients that do not read cost a few buffers each, and have it all when they do", WAIT, async () => {
      const before = await rig.memory();
      const rows = 20_000;
      const clients = await Promise.all(Array.from({ length: POOL_MAX }, () => rig.login()));
      for (const client of clients) {
        client.socket.pause();
        client.send(query(here(`SELECT repeat('u', 1000) FROM generate_series(1, ${rows})`)));
      }
      const blocked = `wait_event = 'ClientWrite' AND (SELECT count(*) FROM pg_stat_activity
        WHERE wait_event = 'ClientWrite') = ${POOL_MAX}`;
      await rig.untilSeen("repeat('u', 1000)", blocked);
      const now = await rig.memory();
      assertGrown(before, now, POOL_MAX * CLIENT_BYTES_MAX);
      for (const client of clients) client.socket.resume();
      for (const client of clients) {
        const answer = await client.until("Z");
        assert.equal(answer.length, rows + 3);
        client.close();
      }
      await rig.assertIdle();
    });

    test("a client that asks on and on without reading is held back", WAIT, async () => {
      const before = await rig.memory();
      const client = await rig.login();
      client.socket.pause();
      // More than the kernel takes on the way.
      const one = query(here(`SELECT repeat('t', 10000) -- ${"x".repeat(10_000)}`));
      const many = Buffer.concat(Array<Buffer>(100).fill(one));
      for (let i = 0; i < 40; i += 1) client.send(many);
      await untilHeldBack(client);
      assertGrown(before, await rig.memory(), CLIENT_BYTES_MAX);
      client.close();
      await rig.assertIdle();
    });

    test("after all of it the memory is as it was", WAIT, async (t) => {
      t.diagnostic(await rig.assertMemoryIsBack());
    });
  });
}

describe("startups that take their time", () => {
  const TIMEOUT_MS = 1_500;
  let rig: Rig;
  before(async () => {
    rig = await Rig.open({ poolMax: POOL_MAX, config: { limits: { startup_timeout: `${TIMEOUT_MS}ms` } } });
  });
  after(() => rig?.stop());

  const dawdle = async (client: RawClient, byteMs: number): Promise<void> => {
    for (const byte of startup(LOGIN)) {
      if (client.socket.destroyed) return;
      client.send(Buffer.from([byte]));
      await delay(byteMs);
    }
  };

  const BEGINNINGS: Readonly<Record<string, (client: RawClient) => unknown>> = {
    "a byte every 100 ms": (client) => void dawdle(client, 100),
    "nothing at all": () => {},
    "half a startup": (client) => client.send(startup(LOGIN).subarray(0, 20)),
    "an SSLRequest": (client) => client.send(request(SSL_REQUEST)),
  };

  test("are ended when limits.startup_timeout is up, and keep nobody out", WAIT, async () => {
    const slow = Object.entries(BEGINNINGS).flatMap(([name, begin]) =>
      Array.from({ length: 25 }, () => {
        const client = new RawClient(rig.port);
        begin(client);
        return { name, client };
      }),
    );
    const other = await rig.login();
    other.send(query("SELECT 1"));
    assert.equal(typesOf(await other.until("Z")), "TDCZ");
    other.close();
    for (const { name, client } of slow) {
      if (name === "an SSLRequest") assert.equal((await client.bytes(1)).toString(), "N");
      assert.equal(sqlstate(await client.untilClosed()), "08P01", name);
    }
    await rig.assertIdle();
  });

  test("that are slow and in time are served", WAIT, async () => {
    const client = new RawClient(rig.port);
    await dawdle(client, 5);
    assert.match(typesOf(await client.until("Z")), /^RS+KZ$/);
    client.close();
  });

  test("by the thousand are refused, and others served once they are gone", WAIT, async (t) => {
    const silent = Array.from({ length: 1_500 }, () => new RawClient(rig.port));
    await Promise.all(silent.map((client) => client.untilClosed()));
    const other = await rig.login();
    other.close();
    await rig.assertIdle();
    t.diagnostic(await rig.assertMemoryIsBack());
  });
});

describe("five thousand clients", () => {
  const CLIENTS = 5_000;
  const TOGETHER = 250;
  let rig: Rig;
  before(async () => {
    rig = await Rig.open({ poolMax: POOL_MAX });
  });
  after(() => rig?.stop());

  /** How many files a process may have open; Node raises its own limit to the hard one. */
  const filesMax = (): number => {
    const said = spawnSync("sh", ["-c", "ulimit -Hn"], { encoding: "utf8" }).stdout.trim();
    return said === "unlimited" ? Number.POSITIVE_INFINITY : Number(said);
  };

  test("who do nothing cost little each, and are all served when they ask", WAIT, async (t) => {
    if (filesMax() < CLIENTS + 500) return t.skip(`ulimit -Hn is ${filesMax()}`);
    const before = await rig.memory();
    const clients: RawClient[] = [];
    try {
      while (clients.length < CLIENTS)
        clients.push(...(await Promise.all(Array.from({ length: TOGETHER }, () => rig.login()))));
      const now = await rig.memory();
      const each = Math.round((now.rss - before.rss) / CLIENTS / 1024);
      t.diagnostic(
        `${each} kB rss a client, ${Math.round((now.used - before.used) / CLIENTS / 1024)} kB of it in use`,
      );
      assert.ok(each < 128, `${each} kB a client`);
      for (let i = 0; i < CLIENTS; i += 1) clients[i]!.send(query(`SELECT ${i}`));
      for (let i = 0; i < CLIENTS; i += 1) assert.equal(rowText(await clients[i]!.until("Z")), String(i));
    } finally {
      for (const client of clients) client.close();
    }
    await rig.assertIdle();
    t.diagnostic(await rig.assertMemoryIsBack());
  });
});
