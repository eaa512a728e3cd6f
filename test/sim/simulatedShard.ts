// Pure.
/**
 * A shard as far as two-phase commit can see it. What is prepared or committed survives a crash; what is only active
 * does not. After a failover that lost transactions the same transaction ids are given out again, so that the shard
 * answers for a stranger's.
 */
import type { Evidence } from "../../src/txn/recovery.ts";
import type { SeededRandom } from "./seededRandom.ts";

export type BranchStatus = "active" | "prepared" | "committed" | "aborted";
export type Answer = "done" | "refused" | "missing";

interface SimulatedBranch {
  status: BranchStatus;
  readonly willRefuse: boolean;
  /** Whether a failover lost it: its transaction id may belong to somebody else now. */
  isForgotten: boolean;
}

export class SimulatedShard {
  readonly branches = new Map<string, SimulatedBranch>();
  /** Changes with every failover. */
  server = 1;
  readonly #random: SeededRandom;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  begin(gtrid: string, willRefuse: boolean): void {
    this.branches.set(gtrid, { status: "active", willRefuse, isForgotten: false });
  }

  prepare(gtrid: string): Answer {
    const branch = this.branches.get(gtrid)!;
    if (branch.status !== "active") return "refused";
    branch.status = branch.willRefuse ? "aborted" : "prepared";
    return branch.willRefuse ? "refused" : "done";
  }

  finish(gtrid: string, outcome: "committed" | "aborted"): Answer {
    const branch = this.branches.get(gtrid)!;
    if (branch.status !== "prepared") return "missing";
    branch.status = outcome;
    return "done";
  }

  get prepared(): readonly string[] {
    return [...this.branches].filter(([, { status }]) => status === "prepared").map(([gtrid]) => gtrid);
  }

  /** The backend of the branch is gone. */
  terminate(gtrid: string): void {
    const branch = this.branches.get(gtrid)!;
    if (branch.status === "active") branch.status = "aborted";
  }

  crash(): void {
    for (const gtrid of this.branches.keys()) this.terminate(gtrid);
  }

  /** A standby is promoted that has not got everything. */
  failOver(): void {
    this.crash();
    this.server += 1;
    for (const branch of this.branches.values()) {
      if (branch.status !== "prepared" || this.#random.chance(0.5)) continue;
      branch.status = "aborted";
      branch.isForgotten = true;
    }
  }

  /** What is known here of a branch that `server` prepared. */
  evidence(gtrid: string, server: number, comparesServers: boolean): Evidence {
    if (comparesServers && server !== this.server) return "other server";
    const { status, isForgotten } = this.branches.get(gtrid)!;
    if (isForgotten) return "committed"; // somebody else's transaction, under the same id
    return status === "committed" || status === "aborted" ? status : "in progress";
  }
}
