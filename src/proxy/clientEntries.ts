/**
 * What one client has been let in for: its open transaction, and each shard on which it holds a connection outside of
 * one. Every entry is given back once, however the client ends.
 */
import type { Admission } from "../pool/admission.ts";
import type { ShardIndex } from "../routing/plan.ts";

export class ClientEntries {
  readonly #admission: Admission;
  readonly #statements = new Set<ShardIndex>();
  #isTransactionIn = false;

  constructor(admission: Admission) {
    this.#admission = admission;
  }

  /** Lets the client in for `shard`, or for its transaction, at once or not. */
  tryEnter(shard: ShardIndex, isInTransaction: boolean): boolean {
    if (this.#has(shard, isInTransaction)) return true;
    if (!(isInTransaction ? this.#admission.tryTransaction() : this.#admission.tryStatement(shard)))
      return false;
    this.#note(shard, isInTransaction);
    return true;
  }

  /** The same after waiting if need be; rejects with a Fault (`pool.*`). */
  async enter(shard: ShardIndex, isInTransaction: boolean): Promise<void> {
    if (this.#has(shard, isInTransaction)) return;
    await (isInTransaction ? this.#admission.transaction() : this.#admission.statement(shard));
    this.#note(shard, isInTransaction);
  }

  /** The connection to `shard` stays with the client although its transaction is over. */
  keep(shard: ShardIndex): void {
    if (this.#statements.has(shard)) return;
    this.#admission.keep(shard);
    this.#statements.add(shard);
  }

  leave(shard: ShardIndex): void {
    if (this.#statements.delete(shard)) this.#admission.endStatement(shard);
  }

  leaveTransaction(): void {
    if (this.#isTransactionIn) this.#admission.endTransaction();
    this.#isTransactionIn = false;
  }

  leaveAll(): void {
    this.leaveTransaction();
    for (const shard of [...this.#statements]) this.leave(shard);
  }

  #has(shard: ShardIndex, isInTransaction: boolean): boolean {
    return isInTransaction ? this.#isTransactionIn : this.#statements.has(shard);
  }

  #note(shard: ShardIndex, isInTransaction: boolean): void {
    if (isInTransaction) this.#isTransactionIn = true;
    else this.#statements.add(shard);
  }
}
