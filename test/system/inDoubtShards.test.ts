/** Transactions in doubt whose decision is on a shard that cannot be asked: what an operator can do, and what comes of it. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { gtridOf } from "../../src/base/brands.ts";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import { ShardRecords } from "../../src/txn/heuristic/shardRecords.ts";
import { ShardControl } from "../../src/txn/shardControl.ts";
import { shardConfig } from "../txn/commitStage.ts";
import { InDoubtStage, until } from "./inDoubtStage.ts";

let rig: InDoubtStage;

const heuristics = () => rig.ask<{ gtrid: string; outcome: string; verdict: string }>("SHOW HEURISTICS");
const lease = (epoch: number, seconds: number): string =>
  `INSERT INTO pgxa.owner VALUES ('test', 'two', ${epoch}, clock_timestamp() + interval '${seconds} s')`;
const decided = (gtrid: string): string => `INSERT INTO pgxa.decision VALUES ('${gtrid}', 'commit', '[]')`;

/** Leaves a branch on the first shard, with its decision on the second. */
async function leave(): Promise<string> {
  const transaction = rig.name("two");
  await rig.leave(transaction, 0, rig.shard(1));
  return transaction;
}

describe("a transaction in doubt with its decision on a shard", () => {
  before(async () => {
    rig = await InDoubtStage.open({ log: "shard", log_directory: "", commit_timeout: "2s" });
  });
  after(() => rig.stage.stop());
  afterEach(async () => {
    await rig.stage.closeProxy();
    if (rig.stage.shards[1]!.serverPid === null) await rig.stage.shards[1]!.restart();
    for (const [i] of rig.stage.shards.entries()) {
      for (const row of await rig.sql(i, "SELECT gid FROM pg_prepared_xacts"))
        await rig.sql(i, `ROLLBACK PREPARED '${row["gid"]}'`);
      await rig.sql(i, "TRUNCATE pgxa.decision, pgxa.owner");
    }
  });

  test("cannot be ended otherwise than it is decided; what is decided can be applied", async () => {
    const transaction = await leave();
    await rig.sql(1, decided(transaction));
    rig.stage.writeConfig();
    const refused = await rig.resolve(transaction, "rollback", "--yes");
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /the transaction is decided: commit\nShard "north" says so/);
    const { code, stdout } = await rig.resolve(transaction, "commit", "--yes");
    assert.equal(code, 0);
    assert.match(
      stdout,
      /decided: commit; shard "north" says so\n {2}COMMIT does what follows from that: no risk/,
    );
    await rig.stage.openProxy();
    assert.deepEqual(await heuristics(), []);
  });

  test("is left to its owner as long as that lives", async () => {
    const transaction = await leave();
    await rig.sql(0, lease(7, 60));
    await rig.stage.shards[1]!.stop();
    await rig.stage.openProxy();
    await assert.rejects(rig.ask(`RESOLVE '${transaction}' ROLLBACK CONFIRM`), {
      code: "55006",
      detail: 'Coordinator "two" lives: its lease is running.',
    });
  });

  for (const [verb, outcome, verdict] of [
    ["COMMIT", "commit", "confirmed"],
    ["ROLLBACK", "abort", "contradicted"],
  ] as const) {
    test(`${verb} without the shard that has a commit turns out ${verdict} when it is back`, async () => {
      const transaction = await leave();
      await rig.sql(1, decided(transaction));
      await rig.stage.shards[1]!.stop();
      await rig.stage.openProxy();
      const ended = await rig.ask<{ shard: string; done: boolean; says: string }>(
        `RESOLVE '${transaction}' ${verb} CONFIRM 'north is gone'`,
      );
      assert.deepEqual(
        ended.map(({ shard, done }) => [shard, done]),
        [
          ["east", true],
          ["north", false],
        ],
      );
      assert.equal((await rig.prepared()).length, 0);
      await assert.rejects(rig.ask(`RESOLVE '${transaction}' COMMIT CONFIRM`), { code: "08001" });
      assert.equal((await heuristics())[0]!.verdict, "unproven");
      await rig.stage.closeProxy();
      await rig.stage.shards[1]!.restart();
      await rig.stage.openProxy();
      await until(async () => (await heuristics())[0]?.verdict !== "unproven");
      const [record] = await heuristics();
      assert.deepEqual([record!.outcome, record!.verdict], [outcome, verdict]);
    });
  }

  test("ROLLBACK without the shard makes whoever still wants to commit too late there", async () => {
    const transaction = await leave();
    await rig.stage.shards[1]!.stop();
    await rig.stage.openProxy();
    await rig.ask(`RESOLVE '${transaction}' ROLLBACK CONFIRM`);
    await rig.stage.closeProxy();
    await rig.stage.shards[1]!.restart();
    await rig.stage.openProxy();
    await until(async () => (await heuristics())[0]?.verdict === "confirmed");
    await assert.rejects(rig.sql(1, decided(transaction)), { code: "23505" });
  });

  test("is ended by any pgxa if whoever resolved it died in between", async () => {
    const transaction = await leave();
    const before = await rig.balance(0);
    const record = { gtrid: transaction, outcome: "commit", by: "ann", reason: "", atMs: 1, anchor: "north" };
    await rig.sql(
      0,
      `INSERT INTO pgxa.decision VALUES ('heuristic/${transaction}', 'commit', '${JSON.stringify(record)}')`,
    );
    await rig.stage.shards[1]!.stop();
    await rig.stage.openProxy();
    await until(async () => (await rig.prepared()).length === 0);
    assert.equal(await rig.balance(0), before + 5);
  });

  test("of two operators who want different things at once the first one stands, on every shard", async () => {
    const gtrid = gtridOf(rig.name("two"));
    const controls = rig.stage.shards.map((shard) => new ShardControl(shardConfig(shard)));
    const again = rig.stage.shards.map((shard) => new ShardControl(shardConfig(shard)));
    const { clock } = systemEnvironment;
    const of = { gtrid, by: "", reason: "", atMs: 1, anchor: null, verdict: "unproven" } as const;
    const shards = [rig.shard(0), rig.shard(1)];
    try {
      const [one, two] = await Promise.all([
        new ShardRecords({ fleet: "test", controls, clock }).add({ ...of, outcome: "commit" }, shards),
        new ShardRecords({ fleet: "test", controls: again, clock }).add({ ...of, outcome: "abort" }, shards),
      ]);
      assert.equal(one.outcome, two.outcome);
      const rows = (
        await Promise.all([0, 1].map((i) => rig.sql(i, "SELECT outcome FROM pgxa.decision")))
      ).flat();
      assert.ok(rows.every(({ outcome }) => outcome === one.outcome));
    } finally {
      await Promise.all([...controls, ...again].map((control) => control.close()));
    }
  });
});
