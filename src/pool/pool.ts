/**
 * The server connections to one shard.
 *
 * `generic-pool` makes connections, keeps at least `min`, and evicts what is idle. In front of it stand the seats
 * (seats.ts), in which clients queue: whoever has a seat has a connection or is about to, and generic-pool is asked for
 * no more connections than there are seats. And a short cut: a connection that comes back is *parked*, still on loan
 * from generic-pool's point of view, and the next checkout takes it at once, without a promise. A sweep gives parked
 * connections that nobody took back to generic-pool, which then sees them as idle.
 *
 * generic-pool answers a failed connect by trying again until the checkout times out. A client of a shard that is
 * down is better served by the reason, at once; so the factory never fails but makes a `FailedConnect`, which the
 * checkout that gets it turns into that client's error.
 *
 * Invariant: what `checkout` returns is logged in, idle, within its lifetime, and nobody else's.
 */
import genericPool, { type Pool as GenericPool } from "generic-pool";
import { detach } from "../base/detach.ts";
import type { Environment, Timer } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { PoolConfig, ShardConfig } from "../config/config.ts";
import type { Log } from "../observe/log.ts";
import { NOBODY } from "./nobody.ts";
import { Seats } from "./seats.ts";
import { type LeaseHolder, ServerConnection } from "./serverConnection.ts";
import { NO_SETTINGS } from "./settings.ts";
import { type Asker, NO_CLIENT, type Share } from "./share.ts";

interface FailedConnect {
  readonly fault: Fault;
  readonly atMs: number;
}
type Resource = ServerConnection | FailedConnect;

const isFailed = (resource: Resource): resource is FailedConnect => "fault" in resource;

const SWEEP_INTERVAL_MS = 1_000;
/** By how much of its lifetime a connection may end earlier, so that those made at once do not end at once. */
const LIFETIME_JITTER = 0.1;

/** A number in [0, 1) that is the connection's own. */
const spread = (connection: ServerConnection): number =>
  (Math.imul(connection.pid, 0x9e37_79b1) >>> 0) / 0x1_0000_0000;

export interface PoolOptions {
  readonly shard: ShardConfig;
  readonly pool: PoolConfig;
  readonly environment: Environment;
  readonly log: Log;
  readonly identify: boolean;
  /** Resolves when every notification made so far has been passed on. */
  settleNotifications(): Promise<void>;
}

const QUIETEN_TIMEOUT_MS = 5_000;
/** All but prepared statements. */
const RESET =
  "CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; SELECT pg_catalog.pg_advisory_unlock_all(); " +
  "DISCARD SEQUENCES; DISCARD TEMP";

async function resetAll(connection: ServerConnection): Promise<void> {
  connection.isUsed = false;
  connection.settings = null;
  const reply = await connection.run(RESET, QUIETEN_TIMEOUT_MS);
  if (reply.kind === "complete") connection.settings = NO_SETTINGS;
}

export class Pool {
  readonly shard: ShardConfig;
  readonly #options: PoolOptions;
  readonly #lender: GenericPool<Resource>;
  /** Connections nobody holds, taken from the end: the warmest first. */
  readonly #parked: ServerConnection[] = [];
  readonly #members = new Set<ServerConnection>();
  readonly #seats: Seats;
  /** Whose seat each connection that is held takes. */
  readonly #held = new Map<ServerConnection, Share>();
  #sweepTimer: Timer;
  #isClosing = false;

  constructor(options: PoolOptions) {
    this.shard = options.shard;
    this.#options = options;
    const { min, max, reserve, checkoutTimeoutMs, idleTimeoutMs } = options.pool;
    this.#seats = new Seats({
      limits: options.pool,
      clock: options.environment.clock,
      fault: (id) => this.#queueFault(id),
      about: () => `${this.#seats.taken} of ${max} connections to shard "${this.shard.id}" are in use.`,
    });
    this.#lender = genericPool.createPool<Resource>(
      { create: () => this.#connect(), destroy: (resource) => this.#disconnect(resource) },
      {
        min,
        max: max + reserve,
        acquireTimeoutMillis: checkoutTimeoutMs,
        softIdleTimeoutMillis: idleTimeoutMs,
        evictionRunIntervalMillis: Math.min(idleTimeoutMs, 10_000),
        numTestsPerEvictionRun: max,
        // The soft limit spares `min`; the hard one must never strike before it.
        idleTimeoutMillis: Number.MAX_SAFE_INTEGER,
        fifo: false,
        autostart: min > 0,
      },
    );
    this.#sweepTimer = this.#scheduleSweep();
  }

  /** Whether it has no connection, and nobody waits for one. */
  get isEmpty(): boolean {
    return this.#lender.size === 0 && this.#lender.pending === 0 && this.#seats.queued === 0;
  }

  /** How many clients hold a connection or are about to, how many are queued, and since when the first of them is. */
  get seats(): Pick<Seats, "taken" | "queued" | "oldestSinceMs"> {
    return this.#seats;
  }

  /** A parked connection, at once and if possible with `settings`; null: then `checkout` must be awaited. */
  tryCheckout(holder: LeaseHolder, settings: string, { share }: Asker = NO_CLIENT): ServerConnection | null {
    if (this.#parked.length === 0 || !this.#seats.tryTake(share)) return null;
    const connection = this.#takeFit(settings);
    if (connection !== null) return this.#lend(connection, holder, share);
    this.#seats.give(share);
    return null;
  }

  /** A connection, after waiting if need be; rejects with a Fault (`pool.*`). */
  async checkout(holder: LeaseHolder, settings: string, asker: Asker = NO_CLIENT): Promise<ServerConnection> {
    if (this.#isClosing) throw new Fault("login.shutting_down");
    await this.#seats.take(asker);
    try {
      const connection = this.#takeFit(settings) ?? (await this.#connected());
      return this.#lend(connection, holder, asker.share);
    } catch (error) {
      this.#seats.give(asker.share);
      throw error;
    }
  }

  /** One that generic-pool has, or makes. */
  async #connected(): Promise<ServerConnection> {
    const askedAtMs = this.#options.environment.clock.monotonicMs();
    for (;;) {
      const resource = await this.#acquire();
      if (!isFailed(resource)) {
        if (this.#isFit(resource)) return resource;
        this.#discard(resource);
        continue;
      }
      this.#discard(resource);
      // A failure from before this client asked says nothing about now.
      if (resource.atMs >= askedAtMs) throw resource.fault;
    }
  }

  /** Takes a lease back. What is not clean is closed, not kept. */
  checkIn(connection: ServerConnection): void {
    if (!connection.isClean || this.#isClosing) return this.discard(connection);
    if (connection.isCancelInFlight) return connection.afterCancels(() => this.checkIn(connection));
    const isLoud = connection.listens || connection.notifier !== null;
    if (isLoud || this.#mustReset(connection)) return this.#quieten(connection);
    connection.checkIn();
    if (!this.#isFit(connection)) return this.#discard(connection);
    if (this.#lender.pending > 0) this.#giveBack(connection);
    else this.#parked.push(connection);
    this.#leaveSeat(connection);
  }

  #leaveSeat(connection: ServerConnection): void {
    const share = this.#held.get(connection);
    if (share === undefined) return;
    this.#held.delete(connection);
    this.#seats.give(share);
  }

  /** The client that last notified on the backend `pid`; null if that is not known. */
  notifierOf(pid: number): number | null {
    for (const member of this.#members) if (member.pid === pid) return member.notifier;
    return null;
  }

  /** Whether the backend `pid` notifies for the client `notifier`, and listens to `channel` itself. */
  hearsItself(pid: number, notifier: number, channel: string): boolean {
    for (const member of this.#members) {
      if (member.pid === pid) return member.notifier === notifier && member.listening.has(channel);
    }
    return false;
  }

  /**
   * Waits until what a client notified on a connection has arrived, as long as it is known whose it is; and takes back
   * what a client's LISTEN did, for clients have their notifications from the hub. With `pool.reset: always` also all
   * that a client may have left without a word of it in its statements.
   */
  #quieten(connection: ServerConnection): void {
    connection.passTo(NOBODY);
    const quieten = async (): Promise<void> => {
      if (connection.notifier !== null) await this.#options.settleNotifications();
      connection.notifier = null;
      if (connection.listens) await connection.run("UNLISTEN *", QUIETEN_TIMEOUT_MS);
      connection.listens = false;
      connection.listening.clear();
      if (this.#mustReset(connection)) await resetAll(connection);
      this.checkIn(connection);
    };
    detach(quieten(), "one that is not clean then is closed");
  }

  #mustReset(connection: ServerConnection): boolean {
    return connection.isUsed && this.#options.pool.reset === "always";
  }

  /** Ends a lease and the connection with it. */
  discard(connection: ServerConnection): void {
    this.#discard(connection);
  }

  /** Closes all connections; leases are closed too. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#sweepTimer.cancel();
    this.#seats.refuseAll(new Fault("login.shutting_down"));
    this.#parked.length = 0;
    for (const connection of [...this.#members]) this.#discard(connection);
    this.#lender.clear();
    await Promise.race([this.#lender.drain().then(() => this.#lender.clear()), Promise.resolve()]);
  }

  #takeFit(settings: string): ServerConnection | null {
    for (;;) {
      const connection = this.#takeParked(settings);
      if (connection === undefined) return null;
      if (this.#isFit(connection)) return connection;
      this.#discard(connection);
    }
  }

  /** The warmest, and among those with `settings` if there are any: another has to be brought to them first. */
  #takeParked(settings: string): ServerConnection | undefined {
    const last = this.#parked.length - 1;
    for (let i = last; i >= 0; i -= 1) {
      if (this.#parked[i]!.settings !== settings) continue;
      return i === last ? this.#parked.pop() : this.#parked.splice(i, 1)[0];
    }
    return this.#parked.pop();
  }

  #lend(connection: ServerConnection, holder: LeaseHolder, share: Share): ServerConnection {
    connection.checkOut(holder);
    this.#held.set(connection, share);
    return connection;
  }

  #isFit(connection: ServerConnection): boolean {
    if (!connection.isUsable) return false;
    const age = this.#options.environment.clock.monotonicMs() - connection.createdAtMs;
    const { lifetimeMs } = this.#options.pool;
    return (
      age < lifetimeMs * (1 - LIFETIME_JITTER) ||
      age < lifetimeMs * (1 - LIFETIME_JITTER * spread(connection))
    );
  }

  async #acquire(): Promise<Resource> {
    try {
      return await this.#lender.acquire();
    } catch (error) {
      throw this.#acquireFault(error);
    }
  }

  #acquireFault(error: unknown): Fault {
    if (error instanceof Error && error.name === "TimeoutError")
      return this.#queueFault("pool.checkout_timeout");
    return new Fault("login.shutting_down", { cause: error });
  }

  #queueFault(id: "pool.queue_full" | "pool.checkout_timeout" | "session.canceled"): Fault {
    const { queueMax, checkoutTimeoutMs, max } = this.#options.pool;
    if (id === "session.canceled") return new Fault(id);
    const about = `Shard "${this.shard.id}", ${max} server connections`;
    const why =
      id === "pool.queue_full" ? `${queueMax} clients are queued already` : `waited ${checkoutTimeoutMs} ms`;
    return new Fault(id, { detail: `${about}, ${why}.` });
  }

  async #connect(): Promise<Resource> {
    const { shard, environment, pool, identify, log } = this.#options;
    try {
      const connection = await ServerConnection.open({
        shard,
        environment,
        connectTimeoutMs: pool.connectTimeoutMs,
        identify,
        onClosed: (closed, reason) => this.#onClosed(closed, reason),
      });
      this.#members.add(connection);
      connection.idleSinceMs = environment.clock.monotonicMs();
      log.debug("server.connected", { shard: shard.id, pid: connection.pid });
      return connection;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      log.warn("server.lost", { shard: shard.id, reason: error.detail ?? error.message });
      return { fault: error, atMs: environment.clock.monotonicMs() };
    }
  }

  async #disconnect(resource: Resource): Promise<void> {
    if (isFailed(resource)) return;
    this.#members.delete(resource);
    resource.close();
  }

  #onClosed(connection: ServerConnection, reason: string): void {
    if (!this.#members.delete(connection)) return;
    this.#options.log.info("server.closed", { shard: this.shard.id, pid: connection.pid, reason });
    const parkedAt = this.#parked.indexOf(connection);
    if (parkedAt >= 0) this.#parked.splice(parkedAt, 1);
    this.#forget(connection);
    this.#leaveSeat(connection);
  }

  #discard(resource: Resource): void {
    if (!isFailed(resource) && resource.state !== "closed") {
      this.#members.delete(resource);
      resource.close();
    }
    this.#forget(resource);
    if (!isFailed(resource)) this.#leaveSeat(resource);
  }

  /** Gives generic-pool its slot back, if this resource still has one. */
  #forget(resource: Resource): void {
    if (!this.#lender.isBorrowedResource(resource)) return;
    detach(this.#lender.destroy(resource), "generic-pool only drops its entry");
  }

  #giveBack(connection: ServerConnection): void {
    detach(this.#lender.release(connection), "the next queued client is served from within");
  }

  #scheduleSweep(): Timer {
    return this.#options.environment.clock.after(SWEEP_INTERVAL_MS, () => {
      this.#sweep();
      this.#sweepTimer = this.#scheduleSweep();
    });
  }

  /** Hands connections that nobody wanted for a while to generic-pool, oldest first, where idle limits apply. */
  #sweep(): void {
    const before = this.#options.environment.clock.monotonicMs() - SWEEP_INTERVAL_MS;
    while (this.#parked.length > 0 && this.#parked[0]!.idleSinceMs < before) {
      const connection = this.#parked.shift()!;
      if (this.#isFit(connection)) this.#giveBack(connection);
      else this.#discard(connection);
    }
  }
}
