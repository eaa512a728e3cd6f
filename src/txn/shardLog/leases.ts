/**
 * Tells the rest of the fleet that this process lives, on every shard, and notices who does not any more.
 *
 * A lease only keeps others from settling what is still worked on; it decides nothing. Who is wrongly taken for dead, a
 * process that was stopped for a while or cut off, loses the compare-and-set on the anchor for what others have
 * settled meanwhile, and nothing else. That is why a shard's own clock is good enough for it.
 *
 * A lease names an epoch, which is new at every start. So two that run under one name, by mistake or because every
 * replica of a deployment has the same file, are two owners. Whoever deletes a dead owner's decisions has fenced its epoch
 * before; an owner that finds itself fenced, or forgotten, goes on under a new one.
 */
import type { Gtrid, ShardId } from "../../base/brands.ts";
import { detach } from "../../base/detach.ts";
import type { Clock, Timer } from "../../base/environment.ts";
import { Fault } from "../../base/fault.ts";
import type { Log } from "../../observe/log.ts";
import { sqlstateOf } from "../controlSession.ts";
import type { ShardControl } from "../shardControl.ts";
import { CONCLUDE, KEEP_LEASE, READ_EPOCH, READ_VERSION, SCHEMA_VERSION, TAKE_EPOCH } from "./schema.ts";

export interface LeasesOptions {
  readonly fleet: string;
  readonly coordinator: string;
  /** Sessions of their own: a lease must not wait behind anything. */
  readonly keepers: readonly ShardControl[];
  readonly clock: Clock;
  readonly log: Log;
  readonly leaseMs: number;
  /** Epochs are greater than this. */
  readonly epochAfter: number;
}

/** Of a keeper's session: nothing that it writes needs to wait for the disk. */
export const KEEPER_SETTINGS =
  "SELECT pg_catalog.set_config('lock_timeout', '1s', false), " +
  "pg_catalog.set_config('default_transaction_isolation', 'read committed', false), " +
  "pg_catalog.set_config('synchronous_commit', 'off', false)";

const START_TIMEOUT_MS = 2_000;
const RENEWALS_PER_LEASE = 3;
const CONCLUDE_EVERY_MS = 1_000;
const CONCLUDED_MAX = 10_000;

interface Place {
  readonly keeper: ShardControl;
  timer: Timer | null;
  /** Decisions that nobody needs any more. */
  concluded: Gtrid[];
  concludedAtMs: number;
  /** Owners that were seen to be silent, as text. */
  expired: ReadonlySet<string>;
  hasFailed: boolean;
  running: Promise<void>;
}

export class Leases {
  readonly #options: LeasesOptions;
  readonly #places: readonly Place[];
  #epoch: number;
  #isTaking = false;
  #isStopped = false;
  #onExpired: () => void = () => {};

  private constructor(options: LeasesOptions, epoch: number) {
    this.#options = options;
    this.#epoch = epoch;
    this.#places = options.keepers.map((keeper) => ({
      keeper,
      timer: null,
      concluded: [],
      concludedAtMs: options.clock.monotonicMs(),
      expired: new Set(),
      hasFailed: false,
      running: Promise.resolve(),
    }));
  }

  /** Takes an epoch on every shard that can be asked. Rejects with `log.no_schema` if one of them is not prepared. */
  static async take(options: LeasesOptions): Promise<Leases> {
    const reached = await reachable(options);
    return new Leases(
      options,
      await takeEpoch(options, reached, options.epochAfter, askAllThere(options.log)),
    );
  }

  /** The one that transactions are named with from now on. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Begins to renew; calls back when another owner is silent for longer than its lease. */
  start(onExpired: () => void): void {
    this.#onExpired = onExpired;
    for (const place of this.#places) this.#run(place);
  }

  /** Gives the leases up; what was concluded is deleted. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(
      this.#places.map(async (place) => {
        place.timer?.cancel();
        await place.running;
        await this.#renew(place, 0);
      }),
    );
  }

  /** A decision on `anchor` is needed by nobody any more: its row goes with the next batch. */
  conclude(anchor: ShardId, gtrid: Gtrid): void {
    const place = this.#places.find(({ keeper }) => keeper.id === anchor);
    // Beyond that the shard cannot be reached anyway; what is left is found by age.
    if (place !== undefined && place.concluded.length < CONCLUDED_MAX) place.concluded.push(gtrid);
  }

  #run(place: Place): void {
    const { clock, leaseMs } = this.#options;
    place.running = this.#renew(place, leaseMs);
    const next = place.running.then(() => {
      if (this.#isStopped) return;
      place.timer = clock.after(leaseMs / RENEWALS_PER_LEASE, () => this.#run(place));
    });
    detach(next, "it renews until it is stopped");
  }

  /** Never rejects. */
  async #renew(place: Place, leaseMs: number): Promise<void> {
    const { fleet, coordinator, log } = this.#options;
    const epoch = this.#epoch;
    try {
      const rows = await place.keeper.ask(KEEP_LEASE, [fleet, coordinator, epoch, leaseMs]);
      const isOwn = (row: (typeof rows)[number]): boolean =>
        row["coordinator"] === coordinator && Number(row["epoch"]) === epoch;
      const others = rows.filter((row) => !isOwn(row));
      this.#noteExpired(
        place,
        others.map((row) => `${row["coordinator"]}:${row["epoch"]}`),
      );
      if (!rows.some((row) => isOwn(row) && row["fenced"] === false)) await this.#takeAnother(epoch);
      await this.#deleteConcluded(place);
      if (place.hasFailed) log.info("lease.restored", { shard: place.keeper.id });
      place.hasFailed = false;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (!place.hasFailed && !this.#isStopped) log.warn("lease.failed", { shard: place.keeper.id, reason });
      place.hasFailed = true;
    }
  }

  /** A shard does not know this epoch, or somebody has fenced it there. */
  async #takeAnother(epoch: number): Promise<void> {
    if (this.#isStopped || this.#isTaking || this.#epoch !== epoch) return;
    this.#isTaking = true;
    try {
      this.#epoch = await takeEpoch(this.#options, await reachable(this.#options), epoch, askAllOrFail);
    } finally {
      this.#isTaking = false;
    }
  }

  #noteExpired(place: Place, owners: readonly string[]): void {
    const fresh = owners.filter((owner) => !place.expired.has(owner));
    place.expired = new Set(owners);
    if (fresh.length === 0 || this.#isStopped) return;
    this.#options.log.info("owner.expired", { shard: place.keeper.id, owners: fresh.length });
    this.#onExpired();
  }

  async #deleteConcluded(place: Place): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    const isDue = this.#isStopped || nowMs - place.concludedAtMs >= CONCLUDE_EVERY_MS;
    if (place.concluded.length === 0 || !isDue) return;
    const batch = place.concluded;
    place.concluded = [];
    place.concludedAtMs = nowMs;
    await place.keeper.ask(CONCLUDE, [batch]);
  }
}

/** An epoch after `after` that none of `keepers` has seen; it is taken there. */
async function takeEpoch(
  { fleet, coordinator, leaseMs, log }: LeasesOptions,
  keepers: readonly ShardControl[],
  after: number,
  askAll: AskAll,
): Promise<number> {
  const known = await askAll(keepers, READ_EPOCH, [fleet, coordinator]);
  for (let epoch = Math.max(after, ...known.map(([row]) => Number(row!["epoch"]))) + 1; ; epoch += 1) {
    const taken = await askAll(keepers, TAKE_EPOCH, [fleet, coordinator, epoch, leaseMs]);
    if (taken.some((rows) => rows.length === 0)) continue;
    log.info("lease.taken", { epoch, shards: taken.length });
    return epoch;
  }
}

type AskAll = (
  keepers: readonly ShardControl[],
  ...question: Parameters<ShardControl["ask"]>
) => Promise<Awaited<ReturnType<ShardControl["ask"]>>[]>;

const askAllOrFail: AskAll = (keepers, ...question) =>
  Promise.all(keepers.map((keeper) => keeper.ask(...question)));

/** At a start a shard that is lost meanwhile is left out, as one that cannot be reached at all is. */
const askAllThere =
  (log: Log): AskAll =>
  async (keepers, ...question) => {
    const answers = keepers.map((keeper) =>
      keeper.ask(...question).catch((error: unknown) => {
        if (/^42/.test(sqlstateOf(error) ?? "")) throw error; // no rights: it would never answer
        log.warn("lease.failed", { shard: keeper.id, reason: (error as Error).message });
        return null;
      }),
    );
    return (await Promise.all(answers)).filter((rows) => rows !== null);
  };

/** The shards that answer in time; each of them must have the tables. */
async function reachable({ clock, log, keepers }: LeasesOptions): Promise<readonly ShardControl[]> {
  let timer: Timer | null = null;
  const enough = new Promise<false>((resolve) => {
    timer = clock.after(START_TIMEOUT_MS, () => resolve(false));
  });
  const answers = await Promise.all(keepers.map((keeper) => Promise.race([isPrepared(keeper, log), enough])));
  (timer as Timer | null)?.cancel();
  return keepers.filter((_, i) => answers[i]);
}

/** Whether the shard can be asked; rejects if it has not what the log needs. */
async function isPrepared(keeper: ShardControl, log: Log): Promise<boolean> {
  try {
    const [row] = await keeper.ask(READ_VERSION, []);
    if (row?.["version"] === SCHEMA_VERSION) return true;
    throw noSchema(
      keeper.id,
      `Its schema pgxa is of version ${row?.["version"]}, and ${SCHEMA_VERSION} is needed.`,
    );
  } catch (error) {
    if (error instanceof Fault) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    // Undefined schema or table, or no rights on them.
    if (/^(3F000|42P01|42501)$/.test(sqlstateOf(error) ?? "")) throw noSchema(keeper.id, `${reason}.`);
    log.warn("lease.failed", { shard: keeper.id, reason });
    return false;
  }
}

const noSchema = (shard: ShardId, says: string): Fault =>
  new Fault("log.no_schema", { detail: `Shard "${shard}": ${says}` });
