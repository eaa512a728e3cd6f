import assert from "node:assert/strict";
import { test } from "node:test";
import { shardId } from "../../src/base/brands.ts";
import { Fault } from "../../src/base/fault.ts";
import { gid, gtrid } from "../../src/txn/gid.ts";
import type { Leases } from "../../src/txn/shardLog/leases.ts";
import { ShardLog } from "../../src/txn/shardLog/shardLog.ts";
import { FakeDecisions } from "./fakeControl.ts";
import { ManualEnvironment } from "./manualEnvironment.ts";

const EAST = shardId("east");
const transaction = gtrid({ fleet: "f", coordinator: "c", epoch: 1, seq: 1 });
const participants = [{ shard: EAST, gid: gid(transaction, EAST), xid: null, server: null }];

/** A log on shards, with or without files of earlier starts; what it concludes is noted. */
function open(previous: FakeDecisions | null) {
  const concluded: string[] = [];
  const conclude = (anchor: string, of: string) => concluded.push(`${anchor} ${of}`);
  const leases = { epoch: 200, conclude } as unknown as Leases;
  return {
    log: new ShardLog({ controls: [], leases, previous, clock: new ManualEnvironment().clock }),
    concluded,
  };
}

test("what was decided in files before is found there, and concluded there", async () => {
  const files = new FakeDecisions();
  await files.decide(transaction, "commit", participants);
  const { log, concluded } = open(files);
  assert.equal(log.lookup(transaction, 1), "commit");
  assert.deepEqual(log.unconcluded(), [{ gtrid: transaction, participants }]);
  assert.equal(await log.decide(transaction, "abort", []), "commit");
  log.conclude(transaction);
  assert.deepEqual([files.concluded, concluded], [[transaction], []]);
});

test("of a transaction without an anchor nothing is known where there are no files", async () => {
  const { log } = open(null);
  assert.equal(log.lookup(transaction, 1), "unknowable");
  await assert.rejects(log.decide(transaction, "abort", []), Fault);
});

test("what this process has decided on a shard is kept in mind until it is concluded there", () => {
  const { log, concluded } = open(new FakeDecisions());
  log.noteCommitted(transaction, shardId("west"), participants);
  assert.deepEqual(log.unconcludedParticipants(transaction), participants);
  log.conclude(transaction);
  assert.equal(log.unconcludedParticipants(transaction), null);
  assert.deepEqual(concluded, [`west ${transaction}`]);
});
