// Pure.
/**
 * A client's transaction over shards: its characteristics, its savepoints, its branches.
 *
 * It begins lazily. BEGIN makes this value and nothing else; a shard hears of the transaction when it gets its first
 * statement, with everything said so far glued in front: BEGIN, the characteristics, each savepoint still open, in
 * the order in which the client said them. So a branch that joins late stands where the others stand.
 *
 * Invariants: a transaction that failed anywhere is failed everywhere; `ROLLBACK TO` is the only way back. A lost
 * branch has no way back.
 */
import type { Gtrid } from "../base/brands.ts";
import { invariant } from "../base/invariant.ts";
import type { Obstacle } from "../routing/prepareObstacle.ts";
import type { Branch } from "./branch.ts";
import { NotedObstacles } from "./obstacles.ts";
import type { BranchConnection } from "./participant.ts";

export type TransactionStatus = "T" | "E";

const BEGIN_ALONE: readonly string[] = ["BEGIN"];

interface Savepoint {
  readonly kind: "savepoint";
  readonly name: string;
}
/** SET LOCAL and the like: said again on a branch that joins later. */
interface LocalStatement {
  readonly kind: "local";
  readonly sql: string;
}

export class Transaction<Connection extends BranchConnection = BranchConnection> {
  /** For example ` ISOLATION LEVEL SERIALIZABLE READ ONLY`; empty for the defaults. */
  characteristics: string;
  /** Begun by pgxa for one statement on several shards, not by the client. */
  readonly isImplicit: boolean;
  status: TransactionStatus = "T";
  /** Its id; null until somebody wants to know it, as the commit protocol does. */
  gtrid: Gtrid | null = null;
  /** When it began, in monotonic ms. */
  startedAtMs = 0;
  /** How many statements of it were not proven reads. */
  writes = 0;
  /** Why the transaction cannot go on in any way: a branch's connection is gone. Null while it can. */
  lostReason: string | null = null;
  /** Whether the client has heard of it. */
  isLossTold = false;
  /** Whether settings beyond the transaction were changed in it. */
  changedSettings = false;
  readonly branches = new Map<number, Branch<Connection>>();
  /** What makes PREPARE impossible on some of them; null as long as nothing does. */
  obstacles: NotedObstacles | null = null;
  #script: (Savepoint | LocalStatement)[] = [];

  constructor(characteristics: string, isImplicit: boolean) {
    this.characteristics = characteristics;
    this.isImplicit = isImplicit;
  }

  /** How deep the savepoints are nested. */
  get savepoints(): number {
    return this.#script.filter((entry) => entry.kind === "savepoint").length;
  }

  /** What a branch that joins now hears first, statement by statement. */
  opening(): readonly string[] {
    if (this.characteristics === "" && this.#script.length === 0) return BEGIN_ALONE;
    // SET TRANSACTION on its own, so that a refusal leaves a failed transaction behind and not none at all.
    const characteristics = this.characteristics === "" ? [] : [`SET TRANSACTION${this.characteristics}`];
    const script = this.#script.map((entry) =>
      entry.kind === "savepoint" ? `SAVEPOINT ${quoteName(entry.name)}` : entry.sql,
    );
    return ["BEGIN", ...characteristics, ...script];
  }

  addBranch(shard: number, branch: Branch<Connection>): void {
    invariant(!this.branches.has(shard), "a transaction has one branch on a shard");
    this.branches.set(shard, branch);
  }

  /** A statement that is not a proven read goes to `shard`, if that is a branch. */
  noteWrite(shard: number): void {
    const branch = this.branches.get(shard);
    if (branch === undefined) return;
    branch.sawWrites = true;
    this.writes += 1;
    branch.lastWrite = this.writes;
  }

  /** A statement with that obstacle goes to `shard`. */
  noteObstacle(shard: number, obstacle: Obstacle): void {
    this.obstacles ??= new NotedObstacles();
    this.obstacles.note(shard, obstacle, this.#script.length);
  }

  addCharacteristics(characteristics: string): void {
    this.characteristics += this.characteristics === "" ? characteristics : `,${characteristics}`;
  }

  /** Whether settings were made that end with it. */
  get hasLocalSettings(): boolean {
    return this.#script.some(({ kind }) => kind === "local");
  }

  addLocal(sql: string): void {
    this.#script.push({ kind: "local", sql });
  }

  savepoint(name: string): void {
    this.#script.push({ kind: "savepoint", name });
  }

  hasSavepoint(name: string): boolean {
    return this.#find(name) >= 0;
  }

  /** Forgets the savepoint and those after it; local settings made since then stay in force. */
  release(name: string): void {
    const at = this.#find(name);
    this.#script = this.#script.filter((entry, i) => i < at || entry.kind === "local");
    this.obstacles?.release(at);
  }

  /** Goes back to just after the savepoint was made; it stays. */
  rollbackTo(name: string): void {
    const at = this.#find(name);
    this.#script.length = at + 1;
    this.obstacles?.rollbackTo(at);
    this.status = "T";
  }

  fail(): void {
    this.status = "E";
  }

  lose(reason: string): void {
    this.status = "E";
    this.lostReason ??= reason;
  }

  /** Branches in the order in which they joined. */
  get joined(): readonly Branch<Connection>[] {
    return [...this.branches.values()];
  }

  #find(name: string): number {
    return this.#script.findLastIndex((entry) => entry.kind === "savepoint" && entry.name === name);
  }
}

/** A name as an SQL identifier. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
