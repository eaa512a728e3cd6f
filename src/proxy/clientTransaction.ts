/**
 * One client's transactions over the shards: which server connections it holds, and what ends them.
 *
 * Outside a transaction the client holds one lease while a statement runs. Inside, each shard it touched is a
 * branch with a lease of its own, joined when the shard's first statement comes, with everything said so far glued
 * in front. A pinned connection stays with the client after both.
 *
 * Invariants: every lease held is in exactly one of `#single`, a branch, or `#pins`; a transaction that lost a
 * branch can only be rolled back; after a commit or rollback no branch is left.
 */
import { detach } from "../base/detach.ts";
import { invariant } from "../base/invariant.ts";
import { AdmittedClient } from "../pool/admission.ts";
import { NOBODY } from "../pool/nobody.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { LeasePool } from "../pool/shardPools.ts";
import type { ShardIndex } from "../routing/plan.ts";
import type { CommitOutcome } from "../txn/commitProtocol.ts";
import { quoteName, Transaction } from "../txn/transaction.ts";
import { returnAbandoned, returnSession } from "./abandonedLease.ts";
import { putOpening, throwIfBeyondReturn, throwLossOnce, throwUnlessComplete } from "./branchTalk.ts";
import { type ClientTransactionParts, toCommit } from "./clientTransactionParts.ts";
import { asRefusal } from "./refusal.ts";
import type { StandbyAim } from "./standbyAim.ts";
import { requireSavepoint } from "./statementFaults.ts";

/** How long a shard may take over SAVEPOINT, ROLLBACK and the like, in ms. */
const CONTROL_TIMEOUT_MS = 10_000;
/** The longest a timer can run: a client's own statement has no limit of pgxa's. */
const NO_TIMEOUT_MS = 0x7fff_ffff;

export class ClientTransaction {
  readonly aim: StandbyAim;
  readonly #parts: ClientTransactionParts;
  readonly #client: AdmittedClient; // what it holds, as admission counts it
  readonly #pins = new Map<ShardIndex, ServerConnection>();
  #current: Transaction<ServerConnection> | null = null;
  #single: { readonly shard: ShardIndex; readonly connection: ServerConnection } | null = null;
  #settingsAtBegin = "";
  /** Whether the client waits for a connection. */
  isQueued = false;

  constructor(parts: ClientTransactionParts) {
    this.aim = parts.aim;
    this.#parts = parts;
    this.#client = new AdmittedClient(parts.owner, parts.asker);
  }

  /** Whether a connection may lead to a standby. */
  get wantsStandby(): boolean {
    return this.aim.isStandby(this.#current);
  }

  get current(): Transaction<ServerConnection> | null {
    return this.#current;
  }

  /** What ReadyForQuery says; a transaction that pgxa began for one statement is none of the client's. */
  get status(): "I" | "T" | "E" {
    const current = this.#current;
    return current === null || current.isImplicit ? "I" : current.status;
  }

  /** The shards of the open branches, in the order in which they joined. */
  get openShards(): readonly ShardIndex[] {
    return [...(this.#current?.branches ?? this.#pins).keys()];
  }

  get connections(): readonly ServerConnection[] {
    const single = this.#single === null ? [] : [this.#single.connection];
    const branches = this.#current?.joined.map((branch) => branch.connection) ?? [];
    return [...new Set([...single, ...branches, ...this.#pins.values()])];
  }

  /** Of how many shards the client holds a connection, or is about to. */
  get leases(): number {
    return this.#client.held.size;
  }

  /** Every connection held, with its shard. */
  get held(): readonly { readonly shard: ShardIndex; readonly connection: ServerConnection }[] {
    return this.connections.map((connection) => ({ shard: this.#shardOf(connection), connection }));
  }

  /** `shard`, or another if that is down and one is not. */
  reachable(shard: ShardIndex): ShardIndex {
    if (this.#pool(shard).refusal === null) return shard;
    const other = this.#parts.pools.findIndex(({ refusal }) => refusal === null);
    return other < 0 ? shard : other;
  }

  // --- leases ---

  /** The connection for a statement on `shard` if it can be had at once. */
  tryOpen(shard: ShardIndex): ServerConnection | null {
    const held = this.#held(shard);
    if (held !== null) return held;
    if (!this.#parts.admission.tryEnter(this.#client, shard)) return null;
    const { holder, parameters } = this.#parts;
    const pinned = this.#pins.get(shard);
    const lease = pinned ?? this.#pool(shard).tryCheckout(holder, parameters.settings, this.#parts.asker);
    if (lease !== null && parameters.isInForceOn(lease)) return this.#take(shard, lease);
    if (lease !== null && pinned === undefined) this.#pool(shard).checkIn(lease);
    this.#leaveUnused(shard);
    return null;
  }

  /** The connection for a statement on `shard`; rejects with a Refusal. */
  async open(shard: ShardIndex): Promise<ServerConnection> {
    const held = this.#held(shard);
    if (held !== null) return held;
    this.isQueued = true;
    try {
      await this.#enter(shard);
      return this.#take(shard, await this.#prepared(shard));
    } catch (error) {
      this.#leaveUnused(shard);
      throw error;
    } finally {
      this.isQueued = false;
    }
  }

  async #enter(shard: ShardIndex): Promise<void> {
    const { refusal } = this.#pool(shard);
    if (refusal !== null && !this.#pins.has(shard) && !this.wantsStandby) throw refusal;
    try {
      await this.#parts.admission.enter(this.#client, shard);
    } catch (error) {
      throw this.#parts.translate(asRefusal(error));
    }
  }

  /** Notes that a statement which is not a proven read goes to `shard`. */
  noteWrite(shard: ShardIndex): void {
    this.#current?.noteWrite(shard);
  }

  /** Whether a text means to this client, on its connections, what it means to others under the same settings. */
  get mayShare(): boolean {
    const current = this.#current;
    return (
      this.#pins.size === 0 && (current === null || !(current.changedSettings || current.hasLocalSettings))
    );
  }

  /** Keeps the connection of `shard` for the client until it ends. */
  pin(shard: ShardIndex): void {
    const held = this.#held(shard);
    if (held !== null) this.#pins.set(shard, held);
  }

  /** A client's statement ended on `connection`, which owes nothing: what that means for the lease. */
  settle(connection: ServerConnection, status: "I" | "T" | "E"): void {
    const current = this.#current;
    if (current === null) return this.releaseSingle();
    if (status === "E") current.fail();
    else if (status === "I") current.lose(`shard "${connection.shard}" ended its transaction by itself`);
  }

  /** Gives the lease of a statement outside a transaction back. */
  releaseSingle(): void {
    const single = this.#single;
    this.#single = null;
    if (single !== null) this.#giveBack(single.shard, single.connection);
  }

  /** Closes the connection of a statement outside a transaction, and so rolls back what it did. */
  discardSingle(): void {
    const single = this.#single;
    this.#single = null;
    if (single === null) return;
    this.#pins.delete(single.shard);
    this.#pool(single.shard).discard(single.connection);
    this.#leaveAdmission(single.shard);
  }

  /** A held connection is gone. */
  lose(connection: ServerConnection, reason: string): void {
    const shard = this.#shardOf(connection);
    if (this.#single?.connection === connection) this.#single = null;
    if (this.#pins.get(shard) === connection) this.#pins.delete(shard);
    if (this.#single?.shard !== shard && !this.#pins.has(shard)) this.#leaveAdmission(shard);
    const isBranch = this.#current?.joined.some((branch) => branch.connection === connection);
    if (isBranch) this.#current?.lose(`the connection to shard "${connection.shard}" was lost: ${reason}`);
  }

  /** Closes a held connection. */
  drop(connection: ServerConnection, reason: string): void {
    this.#pool(this.#shardOf(connection)).discard(connection);
    this.lose(connection, reason);
  }

  // --- the transaction ---

  begin(characteristics: string, isImplicit = false): void {
    invariant(this.#current === null, "a transaction begins when none is open");
    this.#current = new Transaction(characteristics, isImplicit);
    this.#current.startedAtMs = this.#parts.clock.monotonicMs();
    this.#parts.admission.begin(this.#client);
    this.#settingsAtBegin = this.#parts.parameters.settings;
  }

  /** Commits; the transaction is over whatever the outcome. Rejects never: the outcome says it all. */
  async commit(): Promise<CommitOutcome> {
    const current = this.#current;
    invariant(current !== null && current.status === "T", "only a sound transaction is committed");
    const branches = current.joined.map((branch) => toCommit(branch, current.obstacles));
    const { commits, onDecided } = this.#parts;
    const outcome: CommitOutcome =
      branches.length === 0
        ? { kind: "committed" }
        : await commits.commit(branches, (current.gtrid ??= commits.newGtrid()), onDecided);
    const isCommitted = outcome.kind === "committed";
    this.#end(current, isCommitted, isCommitted ? outcome.applied : undefined);
    return outcome;
  }

  async rollback(): Promise<void> {
    const current = this.#current;
    if (current === null) return;
    const open = current.joined.filter(({ connection }) => connection.state === "leased");
    await Promise.all(open.map(({ connection }) => connection.run("ROLLBACK", CONTROL_TIMEOUT_MS)));
    this.#end(current, false);
  }

  /**
   * Rolls back on every shard at once and gives the connections back, although the client has not said ROLLBACK yet:
   * what follows in the block fails, whatever it is.
   */
  async rollBackEarly(reason: string): Promise<void> {
    const current = this.#current;
    if (current === null) return;
    current.lose(reason);
    current.isLossTold = true;
    const branches = current.joined;
    await Promise.all(
      branches.map(async ({ shard, connection }) => {
        if (connection.state === "leased") await connection.run("ROLLBACK", CONTROL_TIMEOUT_MS);
        current.branches.delete(shard);
        if (current.changedSettings) connection.settings = null;
        this.#giveBack(shard, connection);
      }),
    );
  }

  async savepoint(name: string): Promise<void> {
    await this.runOnBranches(`SAVEPOINT ${quoteName(name)}`);
    this.#current?.savepoint(name);
  }

  async release(name: string): Promise<void> {
    requireSavepoint(this.#current, name);
    await this.runOnBranches(`RELEASE SAVEPOINT ${quoteName(name)}`);
    this.#current?.release(name);
  }

  async rollbackTo(name: string): Promise<void> {
    this.throwIfLost();
    if (this.#current !== null) throwIfBeyondReturn(this.#current);
    requireSavepoint(this.#current, name);
    await this.runOnBranches(`ROLLBACK TO SAVEPOINT ${quoteName(name)}`);
    this.#current?.rollbackTo(name);
    const [branch] = this.#current?.joined ?? [];
    if (this.#current?.changedSettings && branch !== undefined) await this.capture(branch.connection);
  }

  /** Runs `sql` on every open branch but `except`; throws the first refusal. */
  async runOnBranches(sql: string, except: ServerConnection | null = null): Promise<void> {
    const connections = (this.#current?.joined ?? []).map((branch) => branch.connection);
    const others = connections.filter((connection) => connection !== except);
    const replies = await Promise.all(others.map((connection) => connection.run(sql, NO_TIMEOUT_MS)));
    for (const [i, reply] of replies.entries()) throwUnlessComplete(others[i]!, reply, this.#parts.translate);
  }

  /** Runs messages that end with one Query or Sync on `shard`'s branch; throws what refuses them. */
  async runOn(shard: ShardIndex, bytes: Buffer): Promise<void> {
    const connection = await this.open(shard);
    this.noteWrite(shard);
    connection.unnamedStatement = null;
    const reply = await connection.runBytes(bytes, NO_TIMEOUT_MS);
    throwUnlessComplete(connection, reply, this.#parts.translate);
  }

  /** Learns the client's settings from `connection` after a statement that may have changed them. */
  async capture(connection: ServerConnection): Promise<void> {
    if (this.#current !== null) this.#current.changedSettings = true;
    if (!(await this.#parts.parameters.capture(connection)))
      this.drop(connection, "its settings could not be read");
  }

  /** Throws, once, that a branch is gone; after that the transaction is an ordinary failed one. */
  throwIfLost(): void {
    if (this.#current !== null) throwLossOnce(this.#current);
  }

  /** The client has been told of the loss already. */
  noteLossTold(): void {
    if (this.#current !== null && this.#current.lostReason !== null) this.#current.isLossTold = true;
  }

  /** The client is gone: nothing of it stays. */
  abandon(isTangled: boolean): void {
    for (const { shard, connection } of this.held) {
      const isPinned = this.#pins.get(shard) === connection;
      connection.resumeReading();
      if (this.#parts.isSessionMode) returnSession(this.#pool(shard), connection, isTangled);
      else returnAbandoned(this.#pool(shard), connection, isTangled || isPinned);
    }
    this.#current = null;
    this.#single = null;
    this.#pins.clear();
    this.#parts.admission.end(this.#client);
    for (const shard of [...this.#client.held]) this.#leaveAdmission(shard);
  }

  // --- inside ---

  #pool(shard: ShardIndex): LeasePool {
    return this.#parts.pools[shard]!;
  }

  #shardOf(connection: ServerConnection): ShardIndex {
    return this.#parts.pools.findIndex((pool) => pool.shard.id === connection.shard);
  }

  /** A connection to `shard` with the client's settings. */
  async #prepared(shard: ShardIndex): Promise<ServerConnection> {
    const { holder, parameters } = this.#parts;
    const pool = this.#pool(shard);
    const pinned = this.#pins.get(shard);
    const lease = pinned ?? (await pool.checkout(holder, parameters.settings, this.#parts.asker));
    try {
      if (!parameters.isInForceOn(lease)) await parameters.apply(lease);
      return lease;
    } catch (error) {
      if (pinned === undefined) pool.checkIn(lease);
      throw error;
    }
  }

  /** No connection came of what `shard` was entered for. */
  #leaveUnused(shard: ShardIndex): void {
    const isUsed =
      this.#single?.shard === shard || this.#pins.has(shard) || this.#current?.branches.has(shard);
    if (!isUsed) this.#leaveAdmission(shard);
  }

  #leaveAdmission(shard: ShardIndex): void {
    this.#parts.admission.leave(this.#client, shard);
  }

  #held(shard: ShardIndex): ServerConnection | null {
    if (this.#current !== null) return this.#current.branches.get(shard)?.connection ?? null;
    return this.#single?.shard === shard ? this.#single.connection : null;
  }

  #take(shard: ShardIndex, connection: ServerConnection): ServerConnection {
    const current = this.#current;
    if (current === null) {
      this.releaseSingle();
      this.#single = { shard, connection };
    } else {
      current.addBranch(shard, { shard, connection, sawWrites: false });
      putOpening(connection, current);
    }
    if (this.#parts.isSessionMode) this.#pins.set(shard, connection);
    this.#parts.onLease(connection);
    return connection;
  }

  #giveBack(shard: ShardIndex, connection: ServerConnection): void {
    if (this.#pins.get(shard) === connection && connection.isClean) return;
    if (connection.state !== "closed") this.#pool(shard).checkIn(connection);
    if (this.#pins.get(shard) === connection) this.#pins.delete(shard);
    if (!this.#pins.has(shard)) this.#leaveAdmission(shard);
  }

  /** `applied`: when the connections are free, if they are not yet. One may have been lost since it voted. */
  #end(current: Transaction<ServerConnection>, isCommitted: boolean, applied?: Promise<unknown>): void {
    this.#current = null;
    this.#parts.admission.end(this.#client);
    if (isCommitted) this.#parts.onCommitted();
    else this.#parts.parameters.settings = this.#settingsAtBegin;
    for (const { shard, connection } of current.joined) {
      if (current.changedSettings) connection.settings = null;
      if (applied === undefined || connection.state === "closed") this.#giveBack(shard, connection);
      else if (this.#pins.get(shard) !== connection) {
        connection.passTo(NOBODY);
        this.#leaveAdmission(shard); // the client may need the place at once
        detach(
          applied.then(() => this.#pool(shard).checkIn(connection)),
          "the client has its answer",
        );
      }
    }
  }
}
