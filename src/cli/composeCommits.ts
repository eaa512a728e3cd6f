/** What commits over several shards, decides and recovers: for compose.ts. */
import type { Gtrid } from "../base/brands.ts";
import type { Environment } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { Config } from "../config/config.ts";
import { openInTurn } from "../fleet/logTurns.ts";
import type { SiblingView } from "../fleet/siblingCommits.ts";
import { Buckets } from "../observe/buckets.ts";
import type { Log } from "../observe/log.ts";
import type { ShardHealth } from "../pool/health/shardHealth.ts";
import { CommitProtocol } from "../txn/commitProtocol.ts";
import { CONTROL_SETTINGS } from "../txn/controlSession.ts";
import type { DecisionLog } from "../txn/decisionLog.ts";
import { FileLog } from "../txn/fileLog/fileLog.ts";
import type { HeuristicRecords } from "../txn/heuristic/heuristicRecord.ts";
import type { HeuristicReview } from "../txn/heuristic/heuristicReview.ts";
import type { Resolution } from "../txn/heuristic/resolution.ts";
import { PreparedSlots, type SlotsOfShard } from "../txn/preparedSlots.ts";
import { Resolver } from "../txn/resolver.ts";
import { ShardControl } from "../txn/shardControl.ts";
import { AnchoredBranches } from "../txn/shardLog/anchoredBranches.ts";
import { KEEPER_SETTINGS, Leases } from "../txn/shardLog/leases.ts";
import { OldDecisions } from "../txn/shardLog/oldDecisions.ts";
import { ShardLog } from "../txn/shardLog/shardLog.ts";
import type { Inheritance, ProxyParts } from "./compose.ts";
import { createHeuristics, endLeft, recordsOf } from "./composeHeuristics.ts";
import { joinSiblings } from "./siblings.ts";

export interface Commits {
  readonly protocol: CommitProtocol;
  readonly resolver: Resolver;
  readonly decisions: DecisionLog;
  readonly controls: readonly ShardControl[];
  /** What operators decide, where nobody else can. */
  readonly resolution: Resolution;
  readonly heuristics: HeuristicRecords;
  readonly review: HeuristicReview;
  readonly slots: PreparedSlots;
  /** How long the disk took over the log of files. */
  readonly logSync: Buckets;
  /** Searches the shards for what another process left that is about to be gone. */
  searchSoon(): void;
  /** What other workers know of these. */
  siblings(gids: readonly string[]): Promise<SiblingView>;
  stop(): Promise<void>;
}

/** A process that let go of its connections may take a moment until it is gone, and its decision log free. */
const SEARCH_AFTER_MS = [0, 100, 500];

export async function startCommits(
  config: Config,
  world: ProxyParts,
  health: readonly ShardHealth[],
  inheritance: Inheritance | null,
): Promise<Commits> {
  const { fleet, coordinator, transaction } = config;
  const { environment, log, faultPoint } = world;
  const { clock } = environment;
  const files = await openFiles(config, world, inheritance);
  const controls = config.shards.map(
    (shard, i) => new ShardControl(shard, health[i], CONTROL_SETTINGS, { clock }),
  );
  const onShards =
    transaction.log === "shard"
      ? await openShardLog(config, { environment, log, controls, files, health })
      : null;
  const decisions = onShards?.decisions ?? files!;
  const isRunning = (gtrid: Gtrid): boolean => protocol.isRunning(gtrid);
  const slots = new PreparedSlots({ clock, onShort: (shard) => resolver.wake(shard) });
  const protocol = new CommitProtocol({
    ...{ fleet, coordinator, decisions, controls, slots, faultPoint, log, clock },
    ...(onShards === null ? {} : { shardLog: onShards.decisions }),
    config: transaction,
  });
  const anchored = new AnchoredBranches({
    ...{ fleet, coordinator, controls, log, isRunning, clock },
    leaseMs: transaction.leaseMs,
    commitTimeoutMs: transaction.commitTimeoutMs,
    epoch: () => epoch(),
    onResolved: (gtrid, shard, outcome) => resolver.noteAnchored(gtrid, shard, outcome),
  });
  const epoch = (): number => (onShards === null ? 0 : decisions.epoch);
  const heuristics = recordsOf(config, controls, clock);
  const of = { config, controls, decisions, records: heuristics, clock, log, epoch, isRunning };
  const { resolution, review } = createHeuristics(of);
  const resolver = new Resolver({
    onLeft: (left) => endLeft(left, resolution, () => resolver.wakeAll()),
    ...{ fleet, coordinator, controls, decisions, anchored, slots, isRunning, environment, log },
    intervalMs: transaction.resolveIntervalMs,
    isWorker: world.membership !== null,
  });
  protocol.resolver = resolver;
  onShards?.start(() => resolver.wakeAll(), isRunning);
  await resolver.start();
  review.start();
  const stop = async (): Promise<void> => {
    resolver.stop();
    await review.stop();
    await onShards?.stop();
    await Promise.all(controls.map((control) => control.close()));
    await decisions.close();
  };
  const unable = slots.usage().filter(({ max }) => max === 0);
  if (unable.length > 0) {
    await stop();
    throw cannotPrepare(unable);
  }
  const searchSoon = (): void => {
    for (const delayMs of SEARCH_AFTER_MS) clock.after(delayMs, () => resolver.wakeAll());
  };
  const joined = { coordinator, decisions, resolver, resolution, isRunning, searchSoon };
  const siblings = joinSiblings(world.membership, joined);
  const logSync = files?.syncMs ?? new Buckets();
  const others = { controls, resolution, heuristics, review };
  return { protocol, resolver, decisions, slots, ...others, logSync, searchSoon, siblings, stop };
}

function cannotPrepare(unable: readonly SlotsOfShard[]): Fault {
  const shards = unable.map(({ shard }) => `"${shard}"`).join(", ");
  return new Fault("shard.no_slots", {
    detail: `With several shards each must prepare transactions; max_prepared_transactions is 0 on ${shards}.`,
  });
}

/** The log of files, also if commits are decided on the shards now; null if there is none. */
async function openFiles(
  { transaction: { logDirectory, sync } }: Config,
  { environment: { clock }, log, faultPoint, membership }: ProxyParts,
  inheritance: Inheritance | null,
): Promise<FileLog | null> {
  const heir = heirOf(inheritance, logDirectory);
  if (logDirectory === "") return null;
  const options = {
    ...{ directory: logDirectory, sync, log, faultPoint },
    wallMs: clock.wallMs(),
    monotonicMs: () => clock.monotonicMs(),
  };
  if (membership === null) return FileLog.open({ ...options, ...heir });
  // The epoch is the parent's to give, who has looked at the clock.
  return openInTurn(membership, heir.heirAfter ?? null, (after) =>
    FileLog.open(after === null ? options : { ...options, wallMs: 0, heirAfter: after }),
  );
}

/** Throws a Fault if the process before this one has its decisions in files elsewhere, where nobody would find them. */
function heirOf(inheritance: Inheritance | null, logDirectory: string): { heirAfter?: number } {
  // With one shard, or with all decisions on the shards, it has no files.
  if (inheritance === null || inheritance.epoch === null || inheritance.logDirectory === "") return {};
  if (inheritance.logDirectory === logDirectory) return { heirAfter: inheritance.epoch };
  throw new Fault("config.invalid", {
    message: "transaction.log_directory cannot change in an online restart",
    detail: `It was ${inheritance.logDirectory}, and is ${logDirectory === "" ? "not given" : logDirectory}.`,
    hint: "Stop pgxa, move the directory, and start pgxa again.",
  });
}

interface ShardLogParts {
  readonly environment: Environment;
  readonly log: Log;
  readonly controls: readonly ShardControl[];
  readonly health: readonly ShardHealth[];
  /** What was decided in files before. */
  readonly files: FileLog | null;
}

interface OpenShardLog {
  readonly decisions: ShardLog;
  start(onExpired: () => void, isRunning: (gtrid: Gtrid) => boolean): void;
  stop(): Promise<void>;
}

/** Rejects with `log.no_schema` if a shard that answers is not prepared for it. */
async function openShardLog(config: Config, parts: ShardLogParts): Promise<OpenShardLog> {
  const { fleet, coordinator, transaction } = config;
  const { environment, log, controls, files, health } = parts;
  const { clock } = environment;
  const keepers = config.shards.map(
    (shard, i) => new ShardControl(shard, health[i], KEEPER_SETTINGS, { clock }),
  );
  const closeAll = async (): Promise<void> => {
    await Promise.all([...keepers, ...controls].map((keeper) => keeper.close()));
  };
  const leases = await Leases.take({
    ...{ fleet, coordinator, keepers, clock, log },
    leaseMs: transaction.leaseMs,
    epochAfter: Math.max(clock.wallMs(), files?.epoch ?? 0),
  }).catch(async (error: unknown) => {
    await closeAll();
    await files?.close();
    throw error;
  });
  const decisions = new ShardLog({ controls, leases, previous: files, clock });
  let old: OldDecisions | null = null;
  return {
    decisions,
    start(onExpired, isRunning) {
      const intervalMs = transaction.resolveIntervalMs;
      old = new OldDecisions({
        ...{ fleet, coordinator, controls, decisions, isRunning, environment, log, intervalMs },
      });
      leases.start(onExpired);
      old.start();
    },
    async stop() {
      old?.stop();
      await leases.stop();
      await Promise.all(keepers.map((keeper) => keeper.close()));
    },
  };
}
