/**
 * Slots for prepared transactions: how many each shard has, and who may have one.
 *
 * A server keeps at most `max_prepared_transactions` of them, and a PREPARE over that rolls its transaction back. So a
 * transaction takes a slot on every shard where it will be prepared before phase 1: all at once or none, so that no
 * two wait for each other's. Nobody is passed over by those who come later and want a slot of the same server. Who
 * finds slots free, as nearly everybody does, counts them and goes on.
 *
 * Others take slots, too: they are as many as were seen last. What turns out to be wrong about them is refused by the
 * server itself, and rolls back. Shards that are databases of one server share its slots; before a shard has answered
 * nothing is known of it, and nothing withheld.
 *
 * A branch that nobody heard of keeps its slot until it is known to be gone.
 */
import type { Gtrid, ShardId } from "../base/brands.ts";
import type { Clock, Timer } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import { invariant } from "../base/invariant.ts";

/** The slots of one server, which may be several shards. */
interface Server {
  max: number;
  /** Taken by what is none of this process's. */
  others: number;
  used: number;
  /** Whether somebody in the queue lacks one here: who comes now goes behind. */
  isWanted: boolean;
}

interface Place {
  server: Server;
  /** Those of this shard. */
  used: number;
  /** Transactions that may be prepared here although nobody here works on them any more. */
  readonly left: Set<Gtrid>;
}

interface Waiter {
  readonly shards: readonly ShardId[];
  readonly except: number;
  readonly timer: Timer;
  /** A shard that has none for it. */
  lacks: ShardId;
  grant(): void;
}

export interface SlotsOfShard {
  readonly shard: ShardId;
  readonly used: number;
  /** How many of these are kept for what is in doubt. */
  readonly left: number;
  /** Of the server: how many it has, and how many others have taken; null before it has answered. */
  readonly max: number | null;
  readonly others: number;
}

export interface PreparedSlotsOptions {
  readonly clock: Pick<Clock, "after">;
  /** Somebody waits for a slot of `shard`: who else has taken them is to be looked at again. */
  onShort(shard: ShardId): void;
}

/** How often others' slots are counted again while somebody waits. */
const RECOUNT_MS = 250;

const unknownServer = (): Server => ({
  max: Number.POSITIVE_INFINITY,
  others: 0,
  used: 0,
  isWanted: false,
});

export class PreparedSlots {
  readonly #options: PreparedSlotsOptions;
  readonly #places = new Map<ShardId, Place>();
  readonly #servers = new Map<string, Server>();
  readonly #queue: Waiter[] = [];
  #recount: Timer | null = null;

  constructor(options: PreparedSlotsOptions) {
    this.#options = options;
  }

  /** Takes a slot on each of `shards` but the one at `except` (-1: on all); false: none was taken. */
  take(shards: readonly ShardId[], except: number): boolean {
    return this.#takeAll(shards, except) < 0;
  }

  /** Takes them as soon as all are free, in turn; resolves with the reason if `timeoutMs` is not enough. */
  wait(shards: readonly ShardId[], except: number, timeoutMs: number): Promise<Fault | null> {
    const lacking = this.#takeAll(shards, except);
    if (lacking < 0) return Promise.resolve(null);
    const lacks = shards[lacking]!;
    if (this.#needed(shards, except, lacks) > this.#placeOf(lacks).server.max)
      return Promise.resolve(this.#refusal(lacks, shards.length));
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(timeoutMs, () => {
        this.#leaveQueue(waiter);
        resolve(this.#refusal(waiter.lacks, shards.length));
        this.#serve();
      });
      const waiter: Waiter = { shards, except, timer, lacks, grant: () => resolve(null) };
      this.#queue.push(waiter);
      this.#placeOf(lacks).server.isWanted = true;
      this.#watch();
    });
  }

  /** The place in `shards` of the first that has none free; -1 if there is none. */
  firstFull(shards: readonly ShardId[]): number {
    return shards.findIndex((shard) => !hasFree(this.#placeOf(shard).server));
  }

  /** Gives one slot of each of `shards` back: no branch is prepared there, nor will be. */
  release(shards: readonly ShardId[]): void {
    for (const shard of shards) this.#giveBack(shard);
    if (this.#queue.length > 0) this.#serve();
  }

  /** Nobody works any more on `transaction`, which may still be prepared on `shard`: its slot is kept. */
  leave(shard: ShardId, transaction: Gtrid): void {
    this.#placeOf(shard).left.add(transaction);
  }

  /** What was left on `shard`, as of now. */
  leftOn(shard: ShardId): readonly Gtrid[] {
    return [...this.#placeOf(shard).left];
  }

  /** `transaction` is not prepared on `shard` any more, nor will be. */
  noteGone(shard: ShardId, transaction: Gtrid): void {
    if (this.#placeOf(shard).left.delete(transaction)) this.release([shard]);
  }

  /** `shard` is a database of `server`, where `others` are prepared that are none of this process's. */
  learn(shard: ShardId, server: string, max: number, others: number): void {
    const place = this.#placeOf(shard);
    const known = this.#servers.get(server) ?? unknownServer();
    this.#servers.set(server, known);
    known.max = max;
    known.others = others;
    if (place.server !== known) {
      place.server.used -= place.used;
      known.used += place.used;
      place.server = known;
      this.#forgetServers();
    }
    if (this.#queue.length > 0) this.#serve();
  }

  usage(): readonly SlotsOfShard[] {
    return [...this.#places].map(([shard, { server, used, left }]) => {
      const max = Number.isFinite(server.max) ? server.max : null;
      return { shard, used, left: left.size, max, others: server.others };
    });
  }

  // --- the queue ---

  /** In the order in which they came; who lacks one of a server holds back those behind who want one there. */
  #serve(): void {
    for (const { server } of this.#places.values()) server.isWanted = false;
    for (const waiter of [...this.#queue]) {
      const lacking = this.#takeAll(waiter.shards, waiter.except);
      if (lacking < 0) {
        this.#leaveQueue(waiter);
        waiter.grant();
      } else {
        waiter.lacks = waiter.shards[lacking]!;
        this.#placeOf(waiter.lacks).server.isWanted = true;
      }
    }
  }

  #leaveQueue(waiter: Waiter): void {
    waiter.timer.cancel();
    this.#queue.splice(this.#queue.indexOf(waiter), 1);
    if (this.#queue.length > 0) return;
    this.#recount?.cancel();
    this.#recount = null;
  }

  #watch(): void {
    this.#recount ??= this.#options.clock.after(RECOUNT_MS, () => {
      this.#recount = null;
      for (const shard of new Set(this.#queue.map(({ lacks }) => lacks))) this.#options.onShort(shard);
      this.#watch();
    });
  }

  // --- counting ---

  /** The place in `shards` of one that has none free, and then none was taken; -1: all were taken. */
  #takeAll(shards: readonly ShardId[], except: number): number {
    for (let i = 0; i < shards.length; i += 1) {
      if (i === except || this.#takeOne(shards[i]!)) continue;
      for (let taken = 0; taken < i; taken += 1) if (taken !== except) this.#giveBack(shards[taken]!);
      return i;
    }
    return -1;
  }

  #takeOne(shard: ShardId): boolean {
    const place = this.#placeOf(shard);
    const { server } = place;
    if (server.isWanted || !hasFree(server)) return false;
    place.used += 1;
    server.used += 1;
    return true;
  }

  #giveBack(shard: ShardId): void {
    const place = this.#placeOf(shard);
    invariant(place.used > 0, "a slot is given back once");
    place.used -= 1;
    place.server.used -= 1;
  }

  /** How many slots of the server of `shard` are wanted at once. */
  #needed(shards: readonly ShardId[], except: number, shard: ShardId): number {
    const { server } = this.#placeOf(shard);
    return shards.filter((one, i) => i !== except && this.#placeOf(one).server === server).length;
  }

  #placeOf(shard: ShardId): Place {
    const known = this.#places.get(shard);
    if (known !== undefined) return known;
    const place: Place = { server: unknownServer(), used: 0, left: new Set() };
    this.#places.set(shard, place);
    return place;
  }

  /** Those that no shard is on any more, after failovers. */
  #forgetServers(): void {
    const current = new Set([...this.#places.values()].map(({ server }) => server));
    for (const [name, server] of this.#servers) if (!current.has(server)) this.#servers.delete(name);
  }

  #refusal(shard: ShardId, participants: number): Fault {
    const { server } = this.#placeOf(shard);
    const detail =
      `Shard "${shard}" has max_prepared_transactions = ${server.max}: ${server.used} are taken by this pgxa, ` +
      `${server.others} by others. The transaction wrote on ${participants} shards.`;
    return new Fault("commit.no_slots", { detail });
  }
}

const hasFree = ({ used, others, max }: Server): boolean => used + others < max;
