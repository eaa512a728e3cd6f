// Pure.
/**
 * For how long a client has been at what it is at, seen from looks at it now and then.
 *
 * A session keeps no times: it counts what it has read, answered and ended, which costs it nothing. Whoever looks again
 * and finds the counts unchanged knows that the client has been at the same thing since the last look at least. So a
 * timeout strikes late by at most one interval between two looks, and never early.
 */
import type { FaultId } from "../base/catalogue.ts";
import type { TimeoutsConfig } from "../config/config.ts";

/**
 * What a client is at. It waits in a queue for a connection, outside a transaction or within one; or what it has said is
 * beyond recall, as a commit is.
 */
export type Phase =
  | "idle"
  | "idleInTransaction"
  | "running"
  | "waiting"
  | "waitingInTransaction"
  | "beyondRecall";

/** What a session counts. */
export class Activity {
  /** Reads from the client. */
  reads = 0;
  /** Answers up to a ReadyForQuery. */
  answers = 0;
  /** Answers that left the client outside a transaction. */
  transactions = 0;
}

export type Overrun = Extract<
  FaultId,
  | "session.idle_timeout"
  | "session.idle_in_transaction_timeout"
  | "session.transaction_timeout"
  | "session.statement_timeout"
>;

const isInTransaction = (phase: Phase): boolean => phase !== "idle" && phase !== "waiting";

/** What is remembered of one client from look to look. */
export class ActivityWatch {
  #phase: Phase = "waiting";
  #reads = -1;
  #answers = -1;
  #transactions = -1;
  #isInTransaction = false;
  /** Since when it is seen idle, in its statement, in its transaction. */
  #idleSinceMs = 0;
  #statementSinceMs = 0;
  #transactionSinceMs = 0;

  /** Looks at a client; the limit that it is beyond, if any. Of a statement that is told again after as long a time. */
  look(phase: Phase, activity: Activity, limits: TimeoutsConfig, nowMs: number): Overrun | null {
    this.#note(phase, activity, nowMs);
    if (phase === "beyondRecall") return null;
    const isBeyond = (limitMs: number, sinceMs: number): boolean => limitMs > 0 && nowMs - sinceMs >= limitMs;
    if (isInTransaction(phase) && isBeyond(limits.transactionMs, this.#transactionSinceMs)) {
      return "session.transaction_timeout";
    }
    switch (phase) {
      case "idle":
        return isBeyond(limits.clientIdleMs, this.#idleSinceMs) ? "session.idle_timeout" : null;
      case "idleInTransaction":
        return isBeyond(limits.idleInTransactionMs, this.#idleSinceMs)
          ? "session.idle_in_transaction_timeout"
          : null;
      case "running":
        if (!isBeyond(limits.statementMs, this.#statementSinceMs)) return null;
        this.#statementSinceMs = nowMs;
        return "session.statement_timeout";
      default:
        return null;
    }
  }

  #note(phase: Phase, { reads, answers, transactions }: Activity, nowMs: number): void {
    const isSamePhase = phase === this.#phase;
    if (!isSamePhase || reads !== this.#reads || answers !== this.#answers) this.#idleSinceMs = nowMs;
    if (!isSamePhase || answers !== this.#answers) this.#statementSinceMs = nowMs;
    const isIn = isInTransaction(phase);
    if (!this.#isInTransaction || !isIn || transactions !== this.#transactions)
      this.#transactionSinceMs = nowMs;
    this.#phase = phase;
    this.#reads = reads;
    this.#answers = answers;
    this.#transactions = transactions;
    this.#isInTransaction = isIn;
  }
}
