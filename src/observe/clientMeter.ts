/**
 * What is counted of one client, and when.
 *
 * A *query* is what ends with a ReadyForQuery: a simple query, or an extended-protocol batch up to its Sync. Its time
 * runs from the client's first message of it to that ReadyForQuery, without what the client waited for a server
 * connection; a *transaction's* from its first query to the ReadyForQuery that says idle. So a query costs two readings
 * of the clock, and everything else is addition.
 */
import type { Clock } from "../base/environment.ts";
import type { UserTraffic } from "./traffic.ts";

const IDLE = 0x49;
const QUERY = 0x51;
const PARSE = 0x50;
const BIND = 0x42;
const TERMINATE = 0x58;
const FIRST_LOWER = 0x61;

export class ClientMeter {
  readonly traffic: UserTraffic;
  readonly #clock: Clock;
  readonly #totals: UserTraffic["totals"];
  /** Wall time of the login. */
  connectedAtMs: number;
  /** When the query that runs began, in monotonic ms; 0 while none does. */
  queryFromMs = 0;
  /** The same of the transaction. */
  transactionFromMs = 0;
  /** When the client began to wait for a server connection; 0 while it does not. */
  waitFromMs = 0;
  /** When the last query began; 0 before the first. */
  requestedAtMs = 0;

  constructor(traffic: UserTraffic, clock: Clock) {
    this.traffic = traffic;
    this.#totals = traffic.totals;
    this.#clock = clock;
    this.connectedAtMs = clock.wallMs();
    this.#totals.logins += 1;
  }

  received(bytes: number): void {
    this.#totals.receivedBytes += bytes;
  }

  sent(bytes: number): void {
    this.#totals.sentBytes += bytes;
  }

  /** A message of `type` is presented to the session, perhaps not for the first time. */
  begin(type: number): void {
    // Those of a COPY, in small letters, belong to the query that runs, or to none.
    if (this.queryFromMs !== 0 || type >= FIRST_LOWER || type === TERMINATE) return;
    this.queryFromMs = this.#clock.monotonicMs();
    this.requestedAtMs = this.queryFromMs;
    if (this.transactionFromMs === 0) this.transactionFromMs = this.queryFromMs;
  }

  /** The session has taken a message of `type`. */
  taken(type: number): void {
    if (type === QUERY) return;
    if (type === PARSE) this.#totals.clientParses += 1;
    else if (type === BIND) this.#totals.binds += 1;
  }

  /** A ReadyForQuery with `status` goes to the client; `isLast`: nothing else is owed to it. */
  end(status: number, isLast: boolean): void {
    if (this.queryFromMs === 0) return; // nothing was asked
    const nowMs = this.#clock.monotonicMs();
    const queryMs = nowMs - this.queryFromMs;
    const { database } = this.traffic;
    this.#totals.queries += 1;
    this.#totals.queryMs += queryMs;
    database.query.observe(queryMs);
    this.queryFromMs = isLast ? 0 : nowMs;
    if (status !== IDLE) return;
    const transactionMs = nowMs - this.transactionFromMs;
    this.#totals.transactions += 1;
    this.#totals.transactionMs += transactionMs;
    database.transaction.observe(transactionMs);
    this.transactionFromMs = this.queryFromMs;
  }

  /** The client has been given a server connection. */
  assigned(): void {
    this.#totals.assignments += 1;
  }

  parsed(): void {
    this.#totals.serverParses += 1;
  }

  beginWait(): void {
    if (this.waitFromMs === 0) this.waitFromMs = this.#clock.monotonicMs();
  }

  /** The wait is over, whatever came of it. */
  endWait(): void {
    if (this.waitFromMs === 0) return;
    const waitMs = this.#clock.monotonicMs() - this.waitFromMs;
    this.waitFromMs = 0;
    this.#totals.waitMs += waitMs;
    this.traffic.database.wait.observe(waitMs);
    if (this.queryFromMs === 0) return;
    if (this.transactionFromMs === this.queryFromMs) this.transactionFromMs += waitMs;
    this.queryFromMs += waitMs;
  }

  /** Counts `wait` as a wait for a server connection. */
  async during(wait: Promise<unknown>): Promise<void> {
    this.beginWait();
    try {
      await wait;
    } finally {
      this.endWait();
    }
  }

  /** The client was told an error. */
  failed(sqlstate: string): void {
    this.traffic.database.noteError(sqlstate);
  }
}
