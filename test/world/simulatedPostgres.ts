// Pure.
/**
 * A shard as pgxa can see it: backends with their transactions, what is prepared, decided and leased, and what a crash
 * takes of it. What is prepared or committed survives; what is only open does not.
 *
 * Statements are executed by statements.ts. Time does not pass by itself: what is young gets old by `age`.
 */
import {
  type BackendPid,
  backendPid,
  type Gtrid,
  type ShardId,
  type Xid,
  xidOf,
} from "../../src/base/brands.ts";

/** What has become of a transaction's branch in truth, whatever the shard says about its id. */
export type BranchState = "open" | "prepared" | "committed" | "aborted" | "lost";

export interface SimulatedBranch {
  readonly gtrid: Gtrid;
  readonly xid: Xid;
  state: BranchState;
  /** At which statement its shard refuses it, if it does: a deferred constraint. */
  readonly refuses: "prepare" | "commit" | null;
}

export interface Backend {
  readonly pid: BackendPid;
  readonly start: string;
  isAlive: boolean;
  /** The transaction that is open in it. */
  branch: SimulatedBranch | null;
  /** The statement in the midst of which it is has done its first part. */
  isHalfway: boolean;
}

export interface PreparedTransaction {
  readonly gid: string;
  readonly branch: SimulatedBranch;
  isOld: boolean;
  /** Who is finishing it. */
  finisher: Backend | null;
}

export interface DecisionRow {
  readonly outcome: "commit" | "abort";
  readonly participants: string;
  isOld: boolean;
}

export interface OwnerRow {
  readonly coordinator: string;
  readonly epoch: number;
  isExpired: boolean;
  isFenced: boolean;
}

export class SimulatedPostgres {
  readonly id: ShardId;
  readonly backends = new Map<BackendPid, Backend>();
  readonly branches = new Map<Gtrid, SimulatedBranch>();
  readonly prepared = new Map<string, PreparedTransaction>();
  readonly decisions = new Map<string, DecisionRow>();
  /** Rows of `decisions` that transactions which are still open have inserted. */
  readonly insertions = new Map<string, { readonly by: Backend; readonly row: DecisionRow }>();
  readonly owners = new Map<string, OwnerRow>();
  /** Of ids that have been given to a stranger since: what became of the stranger. */
  readonly strangers = new Map<Xid, "committed">();
  #timeline = 1;
  #nextPid = 100;
  #nextXid = 1_000;

  constructor(id: ShardId) {
    this.id = id;
  }

  /** As `IDENTITY` says it. */
  get server(): string {
    return `7000/${String(this.#timeline).padStart(8, "0")}`;
  }

  connect(): Backend {
    this.#nextPid += 1;
    const pid = backendPid(this.#nextPid);
    const backend: Backend = {
      pid,
      start: `2026-01-01 00:00:00.${pid}`,
      isAlive: true,
      branch: null,
      isHalfway: false,
    };
    this.backends.set(pid, backend);
    return backend;
  }

  /** Begins the branch of a transaction, which writes. */
  begin(backend: Backend, gtrid: Gtrid, refuses: SimulatedBranch["refuses"] = null): void {
    this.#nextXid += 1;
    const branch: SimulatedBranch = { gtrid, xid: xidOf(String(this.#nextXid)), state: "open", refuses };
    this.branches.set(gtrid, branch);
    backend.branch = branch;
  }

  /** The backend is gone, and with it what it had not committed or prepared. */
  end(backend: Backend): void {
    if (!backend.isAlive) return;
    backend.isAlive = false;
    this.rollBack(backend);
    for (const one of this.prepared.values()) if (one.finisher === backend) one.finisher = null;
    this.backends.delete(backend.pid);
  }

  rollBack(backend: Backend): void {
    if (backend.branch !== null) backend.branch.state = "aborted";
    this.#forgetTransaction(backend);
    for (const [gtrid, { by }] of this.insertions) if (by === backend) this.insertions.delete(gtrid);
  }

  /** What the transaction of `backend` wrote is durable, its decision row too. */
  commit(backend: Backend): void {
    if (backend.branch !== null) backend.branch.state = "committed";
    this.#forgetTransaction(backend);
    for (const [gtrid, { by, row }] of this.insertions) {
      if (by !== backend) continue;
      this.insertions.delete(gtrid);
      this.decisions.set(gtrid, row);
    }
  }

  prepare(backend: Backend, gid: string): void {
    const branch = backend.branch!;
    branch.state = "prepared";
    this.prepared.set(gid, { gid, branch, isOld: false, finisher: null });
    this.#forgetTransaction(backend);
  }

  finish(gid: string, outcome: "committed" | "aborted"): void {
    this.prepared.get(gid)!.branch.state = outcome;
    this.prepared.delete(gid);
  }

  #forgetTransaction(backend: Backend): void {
    backend.branch = null;
    backend.isHalfway = false;
  }

  /** As `pg_xact_status()` has it; null: it never heard of it. */
  statusOf(xid: string): "committed" | "aborted" | "in progress" | null {
    const stranger = this.strangers.get(xidOf(xid));
    if (stranger !== undefined) return stranger;
    for (const branch of this.branches.values()) {
      if (branch.xid !== xid) continue;
      if (branch.state === "committed" || branch.state === "aborted") return branch.state;
      return branch.state === "lost" ? null : "in progress";
    }
    return null;
  }

  /** Time has passed here: leases of the owners that `isOver` names are over, and everything is old. */
  age(isOver: (owner: OwnerRow) => boolean): void {
    for (const owner of this.owners.values()) if (isOver(owner)) owner.isExpired = true;
    for (const one of this.prepared.values()) one.isOld = true;
    for (const row of this.decisions.values()) row.isOld = true;
  }

  /** Stops at once and comes back. */
  crash(): void {
    for (const backend of [...this.backends.values()]) this.end(backend);
  }

  /** A standby is promoted that has not got what `isLost` names; its transaction ids are given to others at once. */
  failOver(isLost: (one: PreparedTransaction) => boolean): void {
    this.crash();
    this.#timeline += 1;
    for (const [gid, one] of this.prepared) {
      if (!isLost(one)) continue;
      this.prepared.delete(gid);
      one.branch.state = "lost";
      this.strangers.set(one.branch.xid, "committed");
    }
  }

  /** All that can matter for what comes, as text. */
  fingerprint(): string {
    const prepared = [...this.prepared.values()]
      .map(({ gid, isOld, finisher }) => `${gid},${isOld},${finisher?.pid}`)
      .sort();
    const branches = [...this.branches.values()].map(({ gtrid, state }) => `${gtrid}=${state}`).sort();
    const decisions = [...this.decisions]
      .map(([gtrid, row]) => `${gtrid}=${row.outcome},${row.isOld}`)
      .sort();
    const insertions = [...this.insertions.keys()].sort();
    const owners = [...this.owners.values()]
      .map((one) => `${one.coordinator}:${one.epoch},${one.isExpired},${one.isFenced}`)
      .sort();
    return [this.#timeline, prepared, branches, decisions, insertions, owners].join("|");
  }
}
