/**
 * What pgxa shows of waits and deadlocks: the console database `pgxa`, and its counters.
 */
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import type { DeadlockRecord } from "../../src/deadlock/history.ts";
import type { WaitRow } from "../../src/deadlock/report.ts";
import {
  assertCircle,
  DeadlockStage,
  LIMIT,
  later,
  onlyVictim,
  type Party,
  touching,
  unstuck,
} from "./deadlockStage.ts";

let stage: DeadlockStage;

before(async () => {
  stage = await DeadlockStage.open({ accounts: 1_000 });
});
after(() => stage?.stop());

/** Lets two of `parties` get into a circle; the victim, whose transaction is over. */
async function deadlock(parties: readonly Party[]): Promise<Party> {
  const accounts = [stage.account(0), stage.account(1)];
  for (const [i, party] of parties.entries()) {
    await party.begin();
    await party.touch(accounts[i]!);
  }
  const waits = parties.map((party, i) => party.wants(touching(accounts[1 - i]!)));
  const { index } = onlyVictim(await unstuck(Promise.all(waits), "a party"));
  await parties[index]!.rollback();
  return parties[index]!;
}

interface ShownWait {
  readonly client: string;
  readonly gtrid: string;
  readonly shard: string;
  readonly pid: string;
  readonly waits_for: string;
  readonly waited_ms: string;
  readonly blocked_by: string;
  readonly json: WaitRow;
}

interface ShownDeadlock {
  readonly id: string;
  readonly at: Date;
  readonly size: string;
  readonly cause: string;
  readonly victim: string;
  readonly shards: string;
  readonly detection_ms: string;
  readonly detail: string;
  readonly json: DeadlockRecord;
}

describe("SHOW WAITS", () => {
  test("has nothing while nobody waits", LIMIT, async () => {
    assert.deepEqual(await stage.show("SHOW WAITS"), []);
  });

  test("says who waits where, for what, for how long and for whom", LIMIT, async () => {
    const [holder, waiter] = (await stage.parties(2)) as [Party, Party];
    const account = stage.account(1);
    await holder.begin();
    await holder.touch(account);
    await waiter.begin();
    await waiter.touch(stage.account(0));
    const wait = waiter.wants(touching(account));
    await stage.untilWaiting(1);
    await later(20);
    const [row, ...more] = await stage.show<ShownWait & Record<string, unknown>>("SHOW WAITS");
    assert.deepEqual(more, []);
    assert.equal(Number(row!.client), waiter.id);
    assert.match(row!.gtrid, /^test:one:\w+:\w+$/);
    assert.equal(row!.shard, "north");
    assert.match(row!.waits_for, /^ShareLock on transaction \d+$/);
    assert.ok(Number(row!.waited_ms) >= 10, row!.waited_ms);
    assert.match(row!.blocked_by, new RegExp(`client ${holder.id}$`));
    const { client, gtrid, shard, waitsFor, blockedBy, pid } = row!.json;
    assert.deepEqual(
      [String(client), gtrid, shard, waitsFor, blockedBy.join(), String(pid)],
      [row!.client, row!.gtrid, row!.shard, row!.waits_for, row!.blocked_by, row!.pid],
    );
    await holder.run("COMMIT");
    assert.equal(await wait, null);
  });

  test("says who waits that is no client of pgxa's", LIMIT, async () => {
    const holder = await stage.party();
    const account = stage.account(0);
    await holder.begin();
    await holder.touch(account);
    const session = await stage.stage.shards[0]!.connect();
    const wait = session.query(touching(account));
    await stage.untilWaiting(1);
    const [row] = await stage.show<{ client: null; json: WaitRow }>("SHOW WAITS");
    assert.deepEqual([row!.client, row!.json.gtrid, row!.json.shard], [null, null, "east"]);
    await holder.run("COMMIT");
    await wait;
    await session.end();
  });
});

describe("SHOW DEADLOCKS", () => {
  test("tells of each in text and in JSON", LIMIT, async () => {
    const beforeMs = Date.now();
    const victim = await deadlock(await stage.parties(2));
    const row = (await stage.show<ShownDeadlock & Record<string, unknown>>("SHOW DEADLOCKS")).at(-1)!;
    assert.ok(row.at.getTime() >= beforeMs - 1_000 && row.at.getTime() <= Date.now() + 1_000);
    assert.deepEqual([row.size, row.cause, Number(row.victim)], ["2", "lock", victim.id]);
    assert.deepEqual(row.shards.split(", ").sort(), ["east", "north"]);
    assert.equal(row.detail.split("\n").length, 2);
    assertCircle(row.json);
    const { id, atMs, detectionMs } = row.json;
    assert.deepEqual([String(id), atMs, String(detectionMs)], [row.id, row.at.getTime(), row.detection_ms]);
    for (const { waitsFor, blockedBy } of row.json.circle)
      assert.ok(row.detail.includes(`waits for ${waitsFor}; blocked by ${blockedBy.join(", ")}.`));
  });

  test("keeps the last 100", LIMIT, async () => {
    const earlier = (await stage.records()).at(-1)?.id ?? 0;
    const pairs = [await stage.parties(2), await stage.parties(2), await stage.parties(2)];
    const rounds = 34;
    for (let round = 0; round < rounds; round += 1) await Promise.all(pairs.map(deadlock));
    const ids = (await stage.records()).map(({ id }) => id);
    const last = earlier + 3 * rounds;
    assert.deepEqual(
      ids,
      Array.from({ length: 100 }, (_, i) => last - 99 + i),
    );
  });
});

describe("the console", () => {
  test("lists what it knows", LIMIT, async () => {
    const commands = (await stage.show<{ command: string }>("SHOW HELP")).map(({ command }) => command);
    for (const command of ["SHOW WAITS", "SHOW DEADLOCKS"]) assert.ok(commands.includes(command));
  });

  test("takes commands in any case, with a semicolon and blanks", LIMIT, async () => {
    assert.ok(Array.isArray(await stage.show("  show\n waits ; ")));
  });

  test("refuses what it does not know, and goes on", LIMIT, async () => {
    for (const command of ["SELECT now()", "SHOW", "SHOW MONEY", "SHOW WAITS NOW"])
      await assert.rejects(stage.show(command), { code: "42601" }, command);
    assert.ok(Array.isArray(await stage.show("SHOW WAITS")));
  });

  test("refuses parameters, and goes on", LIMIT, async () => {
    const client = await stage.stage.connect({ database: "pgxa" });
    await assert.rejects(client.query("SHOW WAITS", [1]), { code: "08P01" });
    assert.deepEqual((await client.query("SHOW WAITS")).rows, []);
  });

  const psql = spawnSync("psql", ["--version"]).status === 0;
  test("works in psql", { ...LIMIT, skip: psql ? false : "no psql" }, async () => {
    await deadlock(await stage.parties(2));
    const run = async (...args: readonly string[]) => {
      const { port } = stage.stage;
      const to = ["-X", "-h", "127.0.0.1", "-p", String(port), "-U", "postgres", "-d", "pgxa", ...args];
      return (await promisify(execFile)("psql", to)).stdout;
    };
    assert.match(await run("-c", "SHOW WAITS;"), /client \| gtrid .*\n[-+]+\n\(0 rows\)/);
    const json = await run("-At", "-F", "\t", "-c", "SHOW DEADLOCKS");
    const last = json.trim().split("\n").at(-1)!.split("\t").at(-1)!;
    assertCircle(JSON.parse(last) as DeadlockRecord);
    assert.match(await run("-c", "SHOW HELP", "-c", "SHOW WAITS"), /SHOW DEADLOCKS/);
  });
});

describe("counters", () => {
  test("deadlocks and the time they took", LIMIT, async () => {
    const names = ["pgxa_deadlocks_total", "pgxa_deadlock_detection_seconds_count"];
    const read = () => Promise.all(names.map((name) => stage.metric(name)));
    const [deadlocks, detections] = await read();
    await deadlock(await stage.parties(2));
    assert.deepEqual(await read(), [deadlocks! + 1, detections! + 1]);
    const seconds = await stage.metric("pgxa_deadlock_detection_seconds_sum");
    assert.ok(seconds > 0 && seconds < 120, String(seconds));
  });

  /** The questions that were asked of shards while `work` ran. */
  async function probes(work: () => Promise<unknown>): Promise<number> {
    const earlier = await stage.metric("pgxa_deadlock_probes_total");
    await work();
    return (await stage.metric("pgxa_deadlock_probes_total")) - earlier;
  }

  test("nothing is asked of the shards while nobody waits", LIMIT, async () => {
    const idle = await stage.party();
    await idle.begin();
    await idle.touch(stage.account(0), stage.account(1));
    assert.equal(await probes(() => later(600)), 0, "with a transaction that is idle");
    await idle.rollback();
    const single = await stage.party();
    const slow = () => single.run("SELECT pg_sleep(0.4) /* pgxa: shard=east */");
    assert.equal(await probes(slow), 0, "with a slow statement of one who holds nothing");
  });

  test("nothing is asked while one waits who holds nothing elsewhere", LIMIT, async () => {
    const [holder, waiter] = (await stage.parties(2)) as [Party, Party];
    const account = stage.account(0);
    await holder.begin();
    await holder.touch(account);
    await waiter.begin();
    const asked = await probes(async () => {
      const wait = waiter.wants(touching(account));
      await later(600);
      await holder.run("COMMIT");
      assert.equal(await unstuck(wait, "the waiter"), null);
    });
    assert.equal(asked, 0);
  });

  test("nobody is asked any more about one who has gone while it waited", LIMIT, async () => {
    const [holder, waiter] = (await stage.parties(2)) as [Party, Party];
    const account = stage.account(0);
    await holder.begin();
    await holder.touch(account);
    await waiter.begin();
    await waiter.touch(stage.account(1));
    const wait = waiter.wants(touching(account));
    await stage.untilWaiting(1);
    const { stream } = (waiter.client as unknown as { connection: { stream: { destroy(): void } } })
      .connection;
    stream.destroy();
    assert.notEqual(await wait, null);
    await stage.until("its wait is over", async () => (await stage.waiting()).every((count) => count === 0));
    await later(200);
    assert.equal(await probes(() => later(1_500)), 0);
    await holder.rollback();
  });
});
