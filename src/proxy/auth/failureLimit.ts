/**
 * How often logins from one address have failed lately. Beyond a limit nobody there is heard any more until the window
 * is over, so that passwords cannot be tried by the thousand; which is also why a login that succeeds forgives nothing.
 */
import type { Clock } from "../../base/environment.ts";
import type { ClientLink } from "../clientLink.ts";
import { isLoopback, originOf } from "./address.ts";

export interface FailureLimits {
  /** 0: no limit. */
  readonly failuresMax: number;
  readonly failuresWindowMs: number;
  readonly failuresExemptLocal: boolean;
}

/** So many addresses are remembered; beyond, the one that has failed first is forgotten. */
const ORIGINS_MAX = 10_000;

interface Failures {
  count: number;
  readonly sinceMs: number;
}

export class FailureLimit {
  #limits: FailureLimits;
  readonly #clock: Clock;
  readonly #failures = new Map<string, Failures>();

  constructor(limits: FailureLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  reconfigure(limits: FailureLimits): void {
    this.#limits = limits;
  }

  /** Whether no login from there is to be heard now. */
  isReached(link: ClientLink): boolean {
    if (this.#failures.size === 0 || this.#isExempt(link)) return false;
    return (this.#current(originOf(link.remoteAddress))?.count ?? 0) >= this.#limits.failuresMax;
  }

  /** A login from there has failed. */
  note(link: ClientLink): void {
    if (this.#isExempt(link)) return;
    const origin = originOf(link.remoteAddress);
    const current = this.#current(origin);
    if (current !== null) {
      current.count += 1;
      return;
    }
    this.#failures.delete(origin);
    const [oldest] = this.#failures.keys();
    if (this.#failures.size >= ORIGINS_MAX && oldest !== undefined) this.#failures.delete(oldest);
    this.#failures.set(origin, { count: 1, sinceMs: this.#clock.monotonicMs() });
  }

  #current(origin: string): Failures | null {
    const failures = this.#failures.get(origin);
    if (failures === undefined) return null;
    return this.#clock.monotonicMs() - failures.sinceMs < this.#limits.failuresWindowMs ? failures : null;
  }

  #isExempt({ kind, remoteAddress }: ClientLink): boolean {
    if (this.#limits.failuresMax === 0) return true;
    return this.#limits.failuresExemptLocal && (kind === "unix" || isLoopback(remoteAddress));
  }
}
