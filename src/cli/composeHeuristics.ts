/** What operators decide about transactions in doubt: for compose.ts, and for `pgxa resolve` where no pgxa runs. */
import type { ResolveRemark, ResolveRequest } from "../admin/operations.ts";
import type { Gtrid } from "../base/brands.ts";
import { detach } from "../base/detach.ts";
import type { Clock } from "../base/environment.ts";
import type { Config } from "../config/config.ts";
import type { Log } from "../observe/log.ts";
import type { DecisionLog } from "../txn/decisionLog.ts";
import { gtrid, parseGid } from "../txn/gid.ts";
import { FileRecords } from "../txn/heuristic/fileRecords.ts";
import type { HeuristicRecords } from "../txn/heuristic/heuristicRecord.ts";
import { HeuristicReview } from "../txn/heuristic/heuristicReview.ts";
import { Resolution } from "../txn/heuristic/resolution.ts";
import { remarksOn } from "../txn/heuristic/risk.ts";
import { ShardRecords } from "../txn/heuristic/shardRecords.ts";
import type { InDoubt } from "../txn/resolver.ts";
import type { ShardControl } from "../txn/shardControl.ts";

/** How often heuristic outcomes are compared with what has become known. */
const REVIEW_EVERY_MS = 30_000;

/** Where decisions are: what an operator decides lasts as long as they do. */
export const recordsOf = (
  { fleet, transaction: { log, logDirectory } }: Config,
  controls: readonly ShardControl[],
  clock: Clock,
): HeuristicRecords =>
  log === "file" ? new FileRecords(logDirectory) : new ShardRecords({ fleet, controls, clock });

export interface HeuristicParts {
  readonly config: Config;
  readonly controls: readonly ShardControl[];
  /** Null: there is nothing to ask but the shards. */
  readonly decisions: DecisionLog | null;
  readonly records: HeuristicRecords;
  readonly clock: Clock;
  readonly log: Log;
  epoch(): number;
  isRunning(transaction: Gtrid): boolean;
}

export function createHeuristics({ config, ...parts }: HeuristicParts) {
  const { fleet, coordinator, transaction } = config;
  const youngMs = transaction.prepareTimeoutMs + transaction.commitTimeoutMs;
  return {
    resolution: new Resolution({ ...parts, fleet, coordinator, youngMs }),
    review: new HeuristicReview({ ...parts, coordinator, everyMs: REVIEW_EVERY_MS }),
  };
}

/** Ends what the resolver left if an operator has said how, and has it look again. */
export function endLeft(left: readonly InDoubt[], resolution: Resolution, wake: () => void): void {
  const names = left.flatMap(({ gid }) => {
    const parts = parseGid(gid);
    return parts === null ? [] : [gtrid(parts)];
  });
  const ending = resolution.endAgain(new Set(names)).then((hasEnded) => {
    if (hasEnded) wake();
  });
  detach(ending, "it never rejects");
}

/** Says what `request` would mean, or does it. Rejects with a Fault if it is refused. */
export async function performResolve(
  resolution: Resolution,
  request: ResolveRequest,
): Promise<readonly ResolveRemark[]> {
  const { gtrid: name, outcome, isConfirmed } = request;
  if (isConfirmed) return resolution.resolve(name, request);
  const found = await resolution.look(name);
  const remarks = remarksOn(found, outcome, resolution.rule(found, outcome));
  const verb = outcome === "commit" ? "COMMIT" : "ROLLBACK";
  const says = `nothing was done; to do it: RESOLVE '${name}' ${verb} CONFIRM 'why'`;
  return [...remarks, { shard: null, gid: null, says }];
}
