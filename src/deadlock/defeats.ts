/**
 * What happens to a victim: it is told, its wait is ended by whoever keeps it waiting, and it is remembered.
 *
 * The shard that cancels checks once more that it is the same wait; what has moved meanwhile is left alone.
 */
import type { ShardId } from "../base/brands.ts";
import { detach } from "../base/detach.ts";
import type { Clock } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import { DeadlockHistory } from "./history.ts";
import type { LockWait } from "./lockWait.ts";
import type { LeaseQueue, Participant } from "./participant.ts";
import type { Verdict } from "./peers.ts";
import { DEADLOCK_HINT, describeCircle } from "./report.ts";

/** What the detector needs of a shard; rejects when that cannot be asked. */
export interface ShardProbe {
  /** `exactly`: processes of which it must be exact who blocks them. */
  waits(exactly?: readonly number[]): Promise<readonly LockWait[]>;
  cancel(wait: LockWait): Promise<boolean>;
}

export interface DefeatsOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly shards: readonly ShardId[];
  readonly probes: readonly ShardProbe[];
  readonly queue: LeaseQueue;
}

/** How many clients' last defeat is remembered. */
const VICTIMS_MAX = 10_000;
/** How long a victim may take over giving way before its deadlock counts as one again, in ms. */
const GIVING_WAY_MAX_MS = 1_000;

export class Defeats {
  readonly history = new DeadlockHistory();
  readonly #options: DefeatsOptions;
  /** Clients whose last transaction was a victim. */
  readonly #victims = new Set<number>();
  /** Those who were told to give way and still wait: as of which of their moves, and since when. */
  readonly #giving = new Map<number, { readonly moves: number; readonly sinceMs: number }>();

  constructor(options: DefeatsOptions) {
    this.#options = options;
  }

  wasVictim(client: number): boolean {
    return this.#victims.has(client);
  }

  /** `client` has committed, so that it may be a victim again. */
  forget(client: number): void {
    this.#victims.delete(client);
  }

  /** Whether `client`, that has moved so often, has been told to give way not long ago and still waits. */
  givesWay(client: number, moves: number): boolean {
    const giving = this.#giving.get(client);
    if (giving === undefined) return false;
    const isOver =
      giving.moves !== moves || this.#options.clock.monotonicMs() - giving.sinceMs > GIVING_WAY_MAX_MS;
    if (isOver) this.#giving.delete(client);
    return !isOver;
  }

  /** `participant` loses, unless it has moved or cannot any more. */
  execute(verdict: Verdict, participant: Participant): void {
    const { log, metrics, clock } = this.#options;
    const { moves, circle, cause, detectionMs } = verdict;
    const { client } = participant;
    const fault = new Fault("deadlock.victim", { detail: describeCircle(circle), hint: DEADLOCK_HINT });
    if (!participant.doom(fault, moves)) return;
    this.#noteGiving(client, moves);
    this.#noteVictim(client);
    const size = circle.length;
    this.history.add({ atMs: clock.wallMs(), cause, size, detectionMs, victim: client, circle });
    metrics.deadlocks.inc({ size: String(size), cause });
    metrics.deadlockDetection.observe(detectionMs / 1_000);
    log.warn("deadlock.broken", { size, cause, detectionMs, client, gtrid: participant.gtrid });
    detach(this.#cancel(verdict, participant, fault), "the client waits for it");
  }

  async #cancel(
    { client, locks, isPoolWait }: Verdict,
    participant: Participant,
    fault: Fault,
  ): Promise<void> {
    const { probes, queue } = this.#options;
    if (isPoolWait) queue.refuse(participant, fault);
    const cancels = locks.map(({ shard, wait }) => probes[shard]!.cancel(wait).catch(() => false));
    const isCancelled = (await Promise.all(cancels)).includes(true);
    if (!isCancelled && !isPoolWait) this.#giving.delete(client); // it has gone, or is to be tried again
    participant.settleDoom();
  }

  #noteGiving(client: number, moves: number): void {
    const sinceMs = this.#options.clock.monotonicMs();
    for (const [other, giving] of this.#giving)
      if (sinceMs - giving.sinceMs > GIVING_WAY_MAX_MS) this.#giving.delete(other);
    this.#giving.set(client, { moves, sinceMs });
  }

  #noteVictim(client: number): void {
    this.#victims.delete(client);
    this.#victims.add(client);
    if (this.#victims.size <= VICTIMS_MAX) return;
    for (const oldest of this.#victims) {
      this.#victims.delete(oldest);
      return;
    }
  }
}
