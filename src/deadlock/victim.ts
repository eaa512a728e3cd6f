// Pure.
/** Who gives way: the transaction whose loss costs least, as the policy counts it, and not always the same client. */
import type { DeadlockConfig } from "../config/config.ts";
import type { NodeId } from "./waitForGraph.ts";

export type VictimPolicy = DeadlockConfig["victim"];

export interface Candidate {
  readonly node: NodeId;
  /** What the client set; the lowest gives way first where the policy says so. */
  readonly priority: number;
  /** Statements of the transaction that were not proven reads. */
  readonly writes: number;
  /** When the transaction began, in monotonic ms. */
  readonly startedAtMs: number;
  /** Whether the client's last transaction was a victim already. */
  readonly wasVictim: boolean;
}

type Cost = (candidate: Candidate) => number;

const spared: Cost = ({ wasVictim }) => (wasVictim ? 1 : 0);
const work: Cost = ({ writes }) => writes;
const age: Cost = ({ startedAtMs }) => -startedAtMs;
const rank: Cost = ({ priority }) => priority;

/** What is compared, in this order; the smallest loses. */
const COSTS: Readonly<Record<VictimPolicy, readonly Cost[]>> = {
  least_work: [spared, work, age],
  youngest: [spared, age, work],
  priority: [rank, spared, work, age],
};

/** The one of `candidates` that loses least; null if there is none. */
export function chooseVictim(policy: VictimPolicy, candidates: readonly Candidate[]): NodeId | null {
  const costs = COSTS[policy];
  const [best] = candidates.toSorted((one, other) => {
    const cost = costs.find((of) => of(one) !== of(other));
    return cost === undefined ? (one.node < other.node ? -1 : 1) : cost(one) - cost(other);
  });
  return best?.node ?? null;
}
