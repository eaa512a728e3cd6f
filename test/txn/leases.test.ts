/** The lease that a process takes at its start. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { shardId } from "../../src/base/brands.ts";
import { silentLog } from "../../src/observe/log.ts";
import type { ShardControl } from "../../src/txn/shardControl.ts";
import { Leases } from "../../src/txn/shardLog/leases.ts";
import { READ_EPOCH, READ_VERSION, SCHEMA_VERSION, TAKE_EPOCH } from "../../src/txn/shardLog/schema.ts";
import { ManualEnvironment } from "./manualEnvironment.ts";

type Rows = Awaited<ReturnType<ShardControl["ask"]>>;

/** A keeper of a shard that has seen `epoch`, and is lost when it is asked what `isLost` says. */
function keeperOf(name: string, epoch: number, isLost: (sql: string) => boolean): ShardControl {
  const answers: Readonly<Record<string, Rows>> = {
    [READ_VERSION]: [{ version: SCHEMA_VERSION }],
    [READ_EPOCH]: [{ epoch }],
    [TAKE_EPOCH]: [{ epoch: epoch + 1 }],
  };
  const ask = (sql: string): Promise<Rows> =>
    isLost(sql)
      ? Promise.reject(new Error("Connection terminated unexpectedly"))
      : Promise.resolve(answers[sql]!);
  return { id: shardId(name), ask } as unknown as ShardControl;
}

for (const [what, lost] of [
  ["which epochs there were", READ_EPOCH],
  ["for an epoch of its own", TAKE_EPOCH],
] as const) {
  test(`a shard that is lost while it is asked ${what} does not keep a process from starting`, async () => {
    const keepers = [keeperOf("east", 5, (sql) => sql === lost), keeperOf("north", 7, () => false)];
    const leases = await Leases.take({
      ...{ fleet: "f", coordinator: "c", keepers, log: silentLog, leaseMs: 1_000, epochAfter: 3 },
      clock: new ManualEnvironment().clock,
    });
    assert.equal(leases.epoch, 8);
  });
}
