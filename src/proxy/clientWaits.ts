/**
 * One client as the deadlock detector sees it: what it holds, what of it runs, and how it is told that it has to give
 * way.
 *
 * A cancelled statement comes back from its shard as 57014. The client is told why instead (40P01 or 55P03), and
 * everything that its transaction did on any shard is rolled back at once, before the client says ROLLBACK: the others
 * are waiting for it.
 */
import { detach } from "../base/detach.ts";
import type { Clock, Timer } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { Backend, Participant } from "../deadlock/participant.ts";
import type { WaitWatch } from "../deadlock/waitWatch.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import { ShardError } from "../pool/shardError.ts";
import type { CommitProtocol } from "../txn/commitProtocol.ts";
import { faultResponse } from "../wire/backendWriters.ts";
import { type ClientSide, WAIT_CANCEL } from "./clientSide.ts";
import type { ClientTransaction } from "./clientTransaction.ts";
import type { Hints } from "./hints.ts";
import type { Refusal } from "./refusal.ts";
import { cancelForTime } from "./statementTimeout.ts";

const QUERY_CANCELED = "57014";
/** How long a shard that was asked to cancel may take before the connection is given up, in ms. */
const CANCEL_GRACE_MS = 2_000;

/** What it needs of its session. */
export interface WaitingSession {
  readonly transaction: ClientTransaction;
  readonly hints: Hints;
  readonly isCommitting: boolean;
  /** The connections on which something of the client's runs. */
  readonly running: readonly ServerConnection[];
  readonly client: ClientSide;
  /** Ends the batch whose Sync the client has not sent, if there is one; what it still sends of it is passed over. */
  endBatch(): void;
}

export interface ClientWaitsParts {
  readonly clock: Clock;
  readonly watch: WaitWatch;
  readonly commits: CommitProtocol;
  readonly lockTimeoutMs: number;
}

export class ClientWaits implements Participant {
  readonly client: number;
  moves = 0;
  readonly #session: WaitingSession;
  readonly #parts: ClientWaitsParts;
  #statementStartedMs = 0;
  #isWatched = false;
  #isTimedOut = false;
  #doom: {
    readonly fault: Fault;
    readonly moves: number;
    isTold: boolean;
    isSettled: boolean;
    timer: Timer | null;
  } | null = null;

  constructor(client: number, session: WaitingSession, parts: ClientWaitsParts) {
    this.client = client;
    this.#session = session;
    this.#parts = parts;
  }

  // --- for the session ---

  /** Something begins to run or to wait; `holdsElsewhere`: while the client holds what others may want. */
  begin(holdsElsewhere: boolean): void {
    this.moves += 1;
    this.#statementStartedMs = this.#parts.clock.monotonicMs();
    if (!holdsElsewhere || this.#isWatched) return;
    this.#isWatched = true;
    this.#parts.watch.begin(this);
  }

  end(): void {
    this.moves += 1;
    this.#isTimedOut = false;
    this.#forgetIfSpared();
    this.leaveWatch();
  }

  /** What still runs waits for nobody: a commit that is decided takes no lock any more. */
  leaveWatch(): void {
    if (!this.#isWatched) return;
    this.#isWatched = false;
    this.#parts.watch.end(this);
  }

  /** Why the client gives way, if it has to; what is told the client instead of the loss of a connection, too. */
  get doomFault(): Fault | null {
    return this.#doom?.fault ?? null;
  }

  /** Whether the client has been told, or is being told now, so that its transaction has to go. */
  get isDefeated(): boolean {
    return this.#doom?.isTold ?? false;
  }

  /** What `refusal` means for the client. */
  translate(refusal: Refusal): Refusal {
    const doom = this.#doom;
    const isCancelled = refusal instanceof ShardError && refusal.fields.sqlstate === QUERY_CANCELED;
    if (doom === null)
      return isCancelled && this.#isTimedOut ? new Fault("session.statement_timeout") : refusal;
    if (!isCancelled && refusal !== doom.fault) return refusal;
    doom.isTold = true;
    return doom.fault;
  }

  /** What runs has taken as long as it may: it is cancelled, unless the client gives way already. */
  timeOut(): void {
    if (this.#doom !== null) return;
    this.#isTimedOut = true;
    cancelForTime(this.#session.client, this.#session.running);
  }

  /** Rolls back what a defeated client did, everywhere. */
  async clearAway(): Promise<void> {
    const doom = this.#doom;
    if (doom === null || !doom.isTold) return;
    this.#forgetDoom();
    await this.#session.transaction.rollBackEarly(`it was rolled back: ${doom.fault.message}`);
  }

  // --- Participant ---

  get isInTransaction(): boolean {
    return this.#session.transaction.current !== null;
  }

  get gtrid(): string | null {
    const { current } = this.#session.transaction;
    if (current === null) return null;
    current.gtrid ??= this.#parts.commits.newGtrid();
    return current.gtrid;
  }

  get startedAtMs(): number {
    return this.#session.transaction.current?.startedAtMs ?? this.#statementStartedMs;
  }

  get writes(): number {
    return this.#session.transaction.current?.writes ?? 0;
  }

  get priority(): number {
    return this.#session.hints.get("pgxa.deadlock_priority")?.amount ?? 0;
  }

  get lockTimeoutMs(): number {
    return this.#session.hints.get("pgxa.lock_timeout")?.amount ?? this.#parts.lockTimeoutMs;
  }

  get isProtected(): boolean {
    return this.#session.isCommitting;
  }

  get backends(): readonly Backend[] {
    // The locks of a standby hold nobody up, and its process ids are those of others on the primary.
    const held = this.#session.transaction.held.filter(({ connection }) => !connection.isStandby);
    return held.map(({ shard, connection }) => ({
      shard,
      pid: connection.pid,
      backendStart: connection.backendStart,
    }));
  }

  get runningOn(): readonly number[] {
    const running = new Set(this.#session.running);
    return this.#session.transaction.held.flatMap(({ shard, connection }) =>
      running.has(connection) ? [shard] : [],
    );
  }

  doom(fault: Fault, moves: number): boolean {
    if (moves !== this.moves || this.isProtected || !this.#isRetryable) return false;
    this.#doom = { fault, moves, isTold: false, isSettled: false, timer: null };
    for (const { replies } of this.#session.running)
      replies.replaceError = (error) => this.#replace(error.sqlstate);
    this.#session.client.wait(WAIT_CANCEL);
    return true;
  }

  settleDoom(): void {
    const doom = this.#doom;
    if (doom !== null) doom.isSettled = true;
    if (doom !== null && doom.moves !== this.moves) this.#forgetIfSpared();
    this.#session.client.go(WAIT_CANCEL);
  }

  cancelRunning(): void {
    const doom = this.#doom;
    const { running } = this.#session;
    if (doom === null) return;
    doom.timer = this.#parts.clock.after(CANCEL_GRACE_MS, () => {
      if (this.#doom === doom && doom.moves === this.moves)
        for (const connection of running) connection.close();
      this.settleDoom();
    });
    const asked = Promise.all(running.map((connection) => connection.cancel()));
    detach(
      asked.then(() => this.settleDoom()),
      "the grace runs besides",
    );
  }

  // --- inside ---

  /** Whether it is not doomed, or was in vain: what was asked of the shard has missed it. */
  get #isRetryable(): boolean {
    const doom = this.#doom;
    return doom === null || (doom.isSettled && !doom.isTold && doom.timer === null);
  }

  #replace(sqlstate: string): Buffer | null {
    const doom = this.#doom;
    if (doom === null || sqlstate !== QUERY_CANCELED) return null;
    doom.isTold = true;
    this.#session.endBatch(); // the shard would not roll back before the Sync, and the others wait
    return faultResponse(doom.fault);
  }

  /** What was to be cancelled has ended by itself before the cancellation came. */
  #forgetIfSpared(): void {
    if (this.#doom?.isSettled === true && !this.#doom.isTold) this.#forgetDoom();
  }

  #forgetDoom(): void {
    this.#doom?.timer?.cancel();
    this.#doom = null;
  }
}
