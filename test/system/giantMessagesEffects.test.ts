/**
 * What giant messages do to the session, and what becomes of those that never end, come to a shard that is slow or lost,
 * or are COPY's.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  bounded,
  fill,
  giantBind,
  giantParse,
  giantQuery,
  LENGTH_MAX,
  openRig,
  POOL_MAX,
  rowText,
  sendGiant,
  sqlstate,
  WAIT,
  withClient,
} from "./giantStage.ts";
import {
  bind,
  execute,
  int16,
  int32,
  message,
  messageOfLength,
  parse,
  query,
  type RawClient,
  sync,
  text,
  typesOf,
} from "./rawClient.ts";
import { MB, type Rig } from "./tortureRig.ts";

let rig: Rig;
before(async () => {
  rig = await openRig();
});
after(() => rig?.stop());

const TERMINATE =
  "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' " +
  "AND application_name !~ '^pgxa .' AND pid <> pg_backend_pid()";

describe("what a giant statement does to the session", () => {
  test("a setting is the client's from then on, and nobody else's", WAIT, () =>
    withClient(rig, async (client) => {
      await sendGiant(client, giantQuery("SET DateStyle = 'German, DMY' -- ", 3 * MB, ""));
      await client.until("Z");
      const other = await rig.login();
      other.send(query("SHOW DateStyle"));
      assert.equal(rowText(await other.until("Z")), "ISO, MDY");
      client.send(query("SHOW DateStyle"));
      assert.equal(rowText(await client.until("Z")), "German, DMY");
      other.close();
    }),
  );

  const KEEPING: Readonly<Record<string, readonly [giant: string, then: string]>> = {
    "a temporary table": [
      "CREATE TEMP TABLE kept AS SELECT 'kept'::text AS what -- ",
      "SELECT what FROM kept",
    ],
    "an advisory lock": [
      "SELECT pg_advisory_lock(4711) -- ",
      "SELECT 'kept' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() + 0",
    ],
    "a statement of PREPARE": ["PREPARE kept AS SELECT 'kept' -- ", "EXECUTE kept"],
    "a cursor WITH HOLD": [
      "DECLARE kept SCROLL CURSOR WITH HOLD FOR SELECT 'kept' -- ",
      "FETCH ABSOLUTE 1 FROM kept",
    ],
  };
  for (const [what, [giant, then]] of Object.entries(KEEPING)) {
    test(`${what} keeps the client on its connection`, WAIT, () =>
      withClient(rig, async (client) => {
        await sendGiant(client, giantQuery(giant, 3 * MB, ""));
        assert.ok(!typesOf(await client.until("Z")).includes("E"));
        const other = await rig.login();
        for (let i = 0; i < 3; i += 1) {
          other.send(query("BEGIN"));
          await other.until("Z");
          client.send(query(then));
          assert.equal(rowText(await client.until("Z")), "kept");
          other.send(query("ROLLBACK"));
          await other.until("Z");
        }
        other.close();
      }),
    );

    test(`${what} of an unnamed statement does so too`, WAIT, () =>
      withClient(rig, async (client) => {
        await sendGiant(client, giantParse("", giant, 3 * MB, ""));
        client.send(bind(""), execute(), sync());
        assert.ok(!typesOf(await client.until("Z")).includes("E"));
        const other = await rig.login();
        other.send(query("BEGIN"), query("SELECT 1"));
        await other.until("Z");
        await other.until("Z");
        client.send(query(then));
        assert.equal(rowText(await client.until("Z")), "kept");
        other.close();
      }),
    );
  }

  test("an EXECUTE finds no other client's statement", WAIT, () =>
    withClient(rig, async (client) => {
      const others = await Promise.all(Array.from({ length: POOL_MAX }, () => rig.login()));
      for (const other of others) {
        other.send(query("BEGIN"), query("PREPARE same AS SELECT 'another'"));
        await other.until("Z");
        await other.until("Z");
      }
      for (const other of others) other.send(query("COMMIT"));
      for (const other of others) await other.until("Z");
      await sendGiant(client, giantQuery("EXECUTE same -- ", 3 * MB, ""));
      assert.equal(sqlstate(await client.until("Z")), "26000");
      for (const other of others) {
        other.send(query("EXECUTE same"));
        assert.equal(rowText(await other.until("Z")), "another");
        other.close();
      }
    }),
  );

  test("a DISCARD ALL takes no statement from those who come behind", WAIT, () =>
    withClient(rig, async (client) => {
      const holder = await rig.login(); // there is one connection for both
      holder.send(query("BEGIN"), query("SELECT 1"));
      await holder.until("Z");
      await holder.until("Z");
      const other = await rig.login();
      other.send(parse("stands", "SELECT 'stands'"), sync());
      await other.until("Z");
      await sendGiant(client, giantQuery("DISCARD ALL -- ", 3 * MB, ""));
      assert.equal(typesOf(await client.until("Z")).replaceAll("S", ""), "CZ");
      other.send(bind("stands"), execute(), sync());
      assert.equal(rowText(await other.until("Z")), "stands");
      other.close();
      holder.close();
    }),
  );

  test("words in a literal keep nobody", WAIT, () =>
    withClient(rig, async (client) => {
      const words = Buffer.from("temporary advisory declare prepare to load and listen ");
      client.send(Buffer.concat([Buffer.from("Q"), int32(4 + 8 + 60 * 54_000 + 2)]));
      client.send(Buffer.from("SELECT '"));
      const filling = Buffer.alloc(54_000, words);
      await fill(client, 60 * filling.length, filling);
      client.send(text("'"));
      assert.ok(!typesOf(await client.until("Z")).includes("E"));
      await rig.assertIdle();
    }),
  );
});

describe("COPY", () => {
  test("a row of 200 MB passes in pieces", WAIT, () =>
    withClient(rig, (client) =>
      bounded(rig, async () => {
        client.send(query("COPY events FROM STDIN"));
        await client.until("G");
        await sendGiant(client, {
          type: "d",
          head: Buffer.from("900\t"),
          fillBytes: 200 * MB,
          tail: Buffer.from("\n"),
        });
        client.send(message("c"));
        assert.equal(typesOf(await client.until("Z")), "CZ");
        client.send(query("DELETE FROM events WHERE id = 900 RETURNING length(what)"));
        assert.equal(rowText(await client.until("Z")), String(200 * MB));
      }),
    ),
  );

  test("that fails amid a message of its data leaves nobody the rest of it", WAIT, () =>
    withClient(rig, async (client) => {
      client.send(query("COPY events FROM STDIN"));
      await client.until("G");
      const half = [messageOfLength("d", 10_004), Buffer.alloc(5_000, "901\tx\n")];
      client.send(message("d", Buffer.from("no number\tx\n")), ...half);
      assert.equal(sqlstate(await client.until("Z")), "22P02");
      const others = await Promise.all(Array.from({ length: POOL_MAX }, () => rig.login()));
      for (const other of others) other.send(query("BEGIN"), query("SELECT 'mine'"));
      for (const other of others) {
        await other.until("Z");
        assert.equal(rowText(await other.until("Z")), "mine");
        other.close();
      }
      client.send(Buffer.alloc(5_000, "901\tx\n"), message("c"));
      await rig.assertIdle();
      client.send(query("SELECT 'behind'"));
      assert.equal(rowText(await client.until("Z")), "behind");
    }),
  );
});

describe("what goes wrong on the way", () => {
  const HALVES: Readonly<Record<string, (client: RawClient) => Promise<void>>> = {
    "a query": (client) => sendGiant(client, giantQuery("SELECT '", 200 * MB, "'"), 20 * MB),
    "a query in a transaction": async (client) => {
      client.send(query("BEGIN"), query("INSERT INTO events VALUES (902, 'x')"));
      await client.until("Z");
      await client.until("Z");
      await sendGiant(client, giantQuery("SELECT '", 200 * MB, "'"), 20 * MB);
    },
    "a Bind": async (client) => {
      client.send(parse("", "SELECT $1::text"));
      await sendGiant(client, giantBind("", 200 * MB), 20 * MB);
    },
    "a Parse": (client) => sendGiant(client, giantParse("", "SELECT 1 -- ", 200 * MB, ""), 20 * MB),
    "a Parse that is refused": (client) =>
      sendGiant(client, giantParse("n", "SELECT 1 -- ", 200 * MB, ""), 20 * MB),
  };
  for (const [what, send] of Object.entries(HALVES)) {
    test(`a client that is gone amid ${what} leaves nothing`, WAIT, async () => {
      const client = await rig.login();
      await send(client);
      client.close();
      await rig.assertIdle();
    });
  }

  test("a connection that is lost amid a query is told of once, and the session goes on", WAIT, () =>
    withClient(rig, async (client) => {
      await sendGiant(client, giantQuery("SELECT '", 100 * MB, "'"), 20 * MB);
      await rig.control.query(TERMINATE);
      await fill(client, 80 * MB);
      client.send(text("'"), query("SELECT 'behind'"));
      const answer = await client.until("Z");
      assert.equal(typesOf(answer).replace("EE", "E"), "EZ");
      assert.equal(rowText(await client.until("Z")), "behind");
    }),
  );

  test("a connection that is lost amid a Bind is told of once, and its batch is passed over", WAIT, () =>
    withClient(rig, async (client) => {
      client.send(parse("", "SELECT $1::text"));
      await sendGiant(client, giantBind("", 100 * MB), 20 * MB);
      await rig.control.query(TERMINATE);
      await fill(client, 80 * MB);
      client.send(int16(0), execute(), sync(), query("SELECT 'behind'"));
      const answer = await client.until("Z");
      assert.match(typesOf(answer), /^1?EZ$/);
      assert.equal(rowText(await client.until("Z")), "behind");
    }),
  );

  test("a shard that reads slowly holds the client back, at no cost of memory", WAIT, () =>
    withClient(rig, (client) =>
      bounded(rig, async () => {
        client.send(query("SELECT 1"));
        await client.until("Z");
        // The backend sleeps while the giant comes; nothing of it is read until then.
        client.send(query("SELECT pg_sleep(1.5)"));
        const sending = sendGiant(client, giantQuery("SELECT length('", 100 * MB, "')"));
        await delay(1_000);
        assert.ok(client.socket.writableLength > 0, "it could write all");
        await sending;
        await client.until("Z");
        assert.equal(rowText(await client.until("Z")), String(100 * MB));
      }),
    ),
  );

  test("a length above the limit ends the session at once", WAIT, async () => {
    for (const type of ["Q", "P", "B", "F", "d"]) {
      const client = await rig.login();
      client.send(messageOfLength(type, LENGTH_MAX + 1));
      assert.equal(sqlstate(await client.untilClosed()), "08P01", type);
    }
    await rig.assertIdle();
  });

  test("names without end, that a Bind begins with, end the session", WAIT, async () => {
    const client = await rig.login();
    client.send(messageOfLength("B", 20 * MB), Buffer.alloc(100_000, "n"));
    assert.equal(sqlstate(await client.untilClosed()), "54000");
    await rig.assertIdle();
  });

  test("a client whose turn has not come waits with its giant, and passes when it does", WAIT, () =>
    withClient(rig, async (client) => {
      const holders = await Promise.all(Array.from({ length: POOL_MAX }, () => rig.login()));
      for (const holder of holders) {
        holder.send(query("BEGIN"), query("SELECT 1"));
        await holder.until("Z");
        await holder.until("Z");
      }
      await bounded(rig, async () => {
        const sending = sendGiant(client, giantQuery("SELECT length('", 50 * MB, "')"));
        await delay(300);
        for (const holder of holders) holder.close();
        await sending;
        assert.equal(rowText(await client.until("Z")), String(50 * MB));
      });
    }),
  );
});
