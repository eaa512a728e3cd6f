/**
 * What every decision log promises, whatever it is made of: the first writer wins, everybody learns the winner, and
 * what was told stands after a crash.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { shardId, xidOf } from "../../src/base/brands.ts";
import { makeSchema } from "../../src/cli/shardSchema.ts";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import { silentLog } from "../../src/observe/log.ts";
import type { DecisionLog, Outcome, Participant } from "../../src/txn/decisionLog.ts";
import { FileLog } from "../../src/txn/fileLog/fileLog.ts";
import { gid, gtrid } from "../../src/txn/gid.ts";
import { ShardControl } from "../../src/txn/shardControl.ts";
import { KEEPER_SETTINGS, Leases } from "../../src/txn/shardLog/leases.ts";
import { ShardLog } from "../../src/txn/shardLog/shardLog.ts";
import { startShards, type TestShards } from "../support/shards.ts";
import { shardConfig } from "./commitStage.ts";

/** A log that can be opened again after a crash, by one or by several processes. */
interface Kind {
  readonly name: string;
  /** How many processes may have it open at once. */
  readonly openMax: number;
  prepare(): Promise<void>;
  open(): Promise<DecisionLog>;
  /** As a crash leaves it: nothing is finished in order. */
  crash(log: DecisionLog): Promise<void>;
  end(): Promise<void>;
}

const ANCHOR = shardId("east");
const transactionOf = (seq: number) => gtrid({ fleet: "f", coordinator: "c", epoch: 1, seq });
const participantsOf = (seq: number): readonly Participant[] => [
  {
    shard: ANCHOR,
    gid: gid(transactionOf(seq), ANCHOR, ANCHOR),
    xid: xidOf("731"),
    server: "7/00000001",
  },
];

function fileKind(): Kind {
  const directory = mkdtempSync(join(tmpdir(), "pgxa-contract-"));
  const open = (): Promise<FileLog> =>
    FileLog.open({ directory, log: silentLog, wallMs: 1, faultPoint() {} });
  return {
    name: "file",
    openMax: 1,
    prepare: async () => {},
    open,
    crash: (log) => log.close(),
    end: async () => rmSync(directory, { recursive: true }),
  };
}

function shardKind(): Kind {
  let shards: TestShards;
  const opened = new Map<DecisionLog, () => Promise<void>>();
  return {
    name: "shard",
    openMax: 4,
    async prepare() {
      shards = await startShards(1);
      await makeSchema(shardConfig(shards.shards[0]!));
    },
    async open() {
      const config = shardConfig(shards.shards[0]!);
      const [control, keeper] = [
        new ShardControl(config),
        new ShardControl(config, undefined, KEEPER_SETTINGS),
      ];
      const { clock } = systemEnvironment;
      const names = { fleet: "f", coordinator: "c", leaseMs: 1_000, epochAfter: 1 };
      const leases = await Leases.take({ ...names, keepers: [keeper], clock, log: silentLog });
      const log = new ShardLog({ controls: [control], leases, previous: null, clock });
      opened.set(log, async () => {
        await Promise.all([control.close(), keeper.close()]);
      });
      return log;
    },
    async crash(log) {
      await opened.get(log)!();
    },
    async end() {
      for (const close of opened.values()) await close();
      await shards.stop();
    },
  };
}

for (const kind of [fileKind(), shardKind()]) {
  suite(`a decision log of kind ${kind.name}`, () => {
    let seq = 0;
    before(() => kind.prepare());
    after(() => kind.end());

    const decide = (log: DecisionLog, of: number, outcome: Outcome): Promise<Outcome> =>
      log.decide(transactionOf(of), outcome, outcome === "commit" ? participantsOf(of) : [], ANCHOR);

    test("the first writer wins, and the others learn what stands", async () => {
      const log = await kind.open();
      for (const first of ["commit", "abort"] as const) {
        seq += 1;
        assert.equal(await decide(log, seq, first), first);
        for (const later of ["abort", "commit"] as const) assert.equal(await decide(log, seq, later), first);
      }
      await kind.crash(log);
    });

    test("of many who decide at once one wins", async () => {
      const logs = await Promise.all(Array.from({ length: kind.openMax }, () => kind.open()));
      for (let round = 0; round < 20; round += 1) {
        seq += 1;
        const outcomes = await Promise.all(
          Array.from({ length: 8 }, (_, i) =>
            decide(logs[i % logs.length]!, seq, (i + round) % 2 === 0 ? "commit" : "abort"),
          ),
        );
        assert.equal(new Set(outcomes).size, 1, outcomes.join());
        assert.equal(await decide(logs[0]!, seq, "abort"), outcomes[0]);
      }
      for (const log of logs) await kind.crash(log);
    });

    test("a commit that was told stands after a crash, also against one that comes late", async () => {
      seq += 1;
      const log = await kind.open();
      assert.equal(await decide(log, seq, "commit"), "commit");
      await kind.crash(log);
      const next = await kind.open();
      assert.equal(await decide(next, seq, "abort"), "commit");
      await kind.crash(next);
    });

    test("a slow writer and one that comes meanwhile learn the same, and a crash between them changes nothing of it", async () => {
      for (let round = 0; round < 6; round += 1) {
        seq += 1;
        const logs = await Promise.all(Array.from({ length: Math.min(kind.openMax, 2) }, () => kind.open()));
        const [slow, other] = [logs[0]!, logs.at(-1)!];
        const deciding = Promise.allSettled([
          decide(slow, seq, round % 2 === 0 ? "commit" : "abort"),
          decide(other, seq, round % 2 === 0 ? "abort" : "commit"),
        ]);
        // In every other pair of rounds the slow one dies while it decides.
        if (round % 4 >= 2) await kind.crash(slow);
        const told = (await deciding).flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
        if (round % 4 < 2) await kind.crash(slow);
        if (other !== slow) await kind.crash(other);
        const next = await kind.open();
        const stands = await decide(next, seq, "abort");
        for (const outcome of told) assert.equal(outcome, stands, `round ${round}`);
        await kind.crash(next);
      }
    });

    test("every start has an epoch greater than all before", async () => {
      const epochs: number[] = [];
      for (let i = 0; i < 3; i += 1) {
        const log = await kind.open();
        epochs.push(log.epoch);
        await kind.crash(log);
      }
      assert.deepEqual(
        [...new Set(epochs)].sort((a, b) => a - b),
        epochs,
      );
    });
  });
}
