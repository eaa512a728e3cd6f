/**
 * Ends what clients take too long over: idleness, transactions, statements.
 *
 * One timer for all clients looks at each now and then (activity.ts); while no timeout is configured there is none. The
 * interval is a tenth of the shortest timeout, within limits, and so a timeout is late by a tenth of itself at most.
 */
import type { Clock, Timer } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { Config, TimeoutsConfig } from "../config/config.ts";
import type { ActivityWatch } from "./activity.ts";
import type { Session } from "./session.ts";

const INTERVAL_MIN_MS = 10;
const INTERVAL_MAX_MS = 1_000;

export interface TimedClient {
  readonly session: Session;
  readonly watch: ActivityWatch;
  readonly user: string;
  /** Null is the console, which has no timeouts. */
  readonly database: string | null;
}

type Limits = Pick<Config, "timeouts" | "users" | "databases">;

export class ClientTimeouts {
  readonly #clients: () => Iterable<TimedClient>;
  readonly #clock: Clock;
  #limits: Limits;
  /** Those of each user in each database, as far as anybody was looked at. */
  #known = new Map<string, TimeoutsConfig>();
  #intervalMs = 0;
  #timer: Timer | null = null;
  #isBehind = false;

  constructor(clients: () => Iterable<TimedClient>, limits: Limits, clock: Clock) {
    this.#clients = clients;
    this.#limits = limits;
    this.#clock = clock;
    this.reconfigure(limits);
  }

  /** Other timeouts hold from now on, for those who are connected too. */
  reconfigure(limits: Limits): void {
    this.#limits = limits;
    this.#known = new Map();
    this.#intervalMs = intervalMs(limits);
    this.close();
    this.#schedule();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #schedule(): void {
    if (this.#intervalMs === 0) return;
    const delayMs = this.#isBehind ? INTERVAL_MIN_MS : this.#intervalMs;
    const dueMs = this.#clock.monotonicMs() + delayMs;
    this.#timer = this.#clock.after(delayMs, () => {
      // After a pause of the process there may be much to read that has not been read yet: that comes first, once.
      this.#isBehind = !this.#isBehind && this.#clock.monotonicMs() - dueMs > this.#intervalMs;
      if (!this.#isBehind) this.#sweep();
      this.#schedule();
    });
  }

  #sweep(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const client of [...this.#clients()]) if (client.database !== null) this.#look(client, nowMs);
  }

  #look({ session, watch, user, database }: TimedClient, nowMs: number): void {
    if (session.client.isOver) return;
    const overrun = watch.look(session.phase, session.client.activity, this.#of(user, database ?? ""), nowMs);
    if (overrun === "session.statement_timeout") session.timeOutStatement();
    else if (overrun !== null) session.terminate(new Fault(overrun));
  }

  #of(user: string, database: string): TimeoutsConfig {
    const key = `${user}\0${database}`;
    let known = this.#known.get(key);
    if (known === undefined) {
      known = timeoutsOf(this.#limits, user, database);
      this.#known.set(key, known);
    }
    return known;
  }
}

/** What a user has of its own goes before what the database has, and that before what holds for all. */
export function timeoutsOf(
  { timeouts, users, databases }: Limits,
  user: string,
  database: string,
): TimeoutsConfig {
  const on = databases.find(({ name }) => name === database) ?? databases.find(({ name }) => name === "*");
  const who = users.find(({ name }) => name === user);
  return { ...timeouts, ...on?.timeouts, ...who?.timeouts };
}

/** 0: there is no timeout to look after. */
function intervalMs({ timeouts, users, databases }: Limits): number {
  const all = [timeouts, ...users.map((one) => one.timeouts), ...databases.map((one) => one.timeouts)];
  const some = all.flatMap((each) => Object.values(each)).filter((ms) => ms > 0);
  if (some.length === 0) return 0;
  return Math.min(INTERVAL_MAX_MS, Math.max(INTERVAL_MIN_MS, Math.floor(Math.min(...some) / 10)));
}
