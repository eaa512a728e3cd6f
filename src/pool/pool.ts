/**
 * The server connections to one shard.
 *
 * `generic-pool` keeps the size between min and max, queues clients, evicts what is idle. In front of it stands a
 * short cut: a connection that comes back while nobody is queued is *parked*, still on loan from generic-pool's
 * point of view, and the next checkout takes it at once, without a promise. A sweep gives parked connections that
 * nobody took back to generic-pool, which then sees them as idle.
 *
 * generic-pool answers a failed connect by trying again until the checkout times out. A client of a shard that is
 * down is better served by the reason, at once; so the factory never fails but makes a `FailedConnect`, which the
 * checkout that gets it turns into that client's error.
 *
 * Connections lead to the shard's primary (health/). While something is wrong with the shard none is handed out
 * without having been asked whether it lives, and while it is down whoever asks for one is told so at once.
 *
 * Invariant: what `checkout` returns is logged in, idle, within its lifetime, to the primary, and nobody else's.
 */
import genericPool, { type Pool as GenericPool } from "generic-pool";
import { detach } from "../base/detach.ts";
import type { Environment, Timer } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { PoolConfig, ShardConfig } from "../config/config.ts";
import { Buckets } from "../observe/buckets.ts";
import type { Log } from "../observe/log.ts";
import { connectToPrimary } from "./health/shardConnector.ts";
import type { ShardHealth } from "./health/shardHealth.ts";
import { NOBODY } from "./nobody.ts";
import type { LeaseHolder, ServerConnection } from "./serverConnection.ts";
import { NO_SETTINGS } from "./settings.ts";

interface FailedConnect {
  readonly fault: Fault;
  readonly atMs: number;
}
type Resource = ServerConnection | FailedConnect;

const isFailed = (resource: Resource): resource is FailedConnect => "fault" in resource;

const SWEEP_INTERVAL_MS = 1_000;

export interface PoolOptions {
  readonly shard: ShardConfig;
  readonly health: ShardHealth;
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
  /** How long it took to get a connection that was not there at once. */
  readonly checkouts = new Buckets();
  readonly #options: PoolOptions;
  readonly #lender: GenericPool<Resource>;
  /** Connections nobody holds, taken from the end: the warmest first. */
  readonly #parked: ServerConnection[] = [];
  /** All connections, with the server of the shard that each leads to. */
  readonly #members = new Map<ServerConnection, number>();
  /** How to tell those who wait for a connection that there will be none. */
  readonly #waiting = new Set<(fault: Fault) => void>();
  readonly #unwatch: () => void;
  #sweepTimer: Timer;
  #isClosing = false;

  constructor(options: PoolOptions) {
    this.shard = options.shard;
    this.#options = options;
    const { min, max, checkoutTimeoutMs, idleTimeoutMs, queueMax } = options.pool;
    this.#lender = genericPool.createPool<Resource>(
      { create: () => this.#connect(), destroy: (resource) => this.#disconnect(resource) },
      {
        min,
        max,
        acquireTimeoutMillis: checkoutTimeoutMs,
        maxWaitingClients: queueMax,
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
    this.#unwatch = options.health.watch({
      onRerouted: () => this.#leaveOthers(),
      onSuspected: () => this.#unpark(),
      onRefusing: (fault) => this.#refuseWaiting(fault),
      onGivenUp: (host, reason) => this.#giveUp(host, reason),
    });
  }

  /** Why whoever asks for a connection now is told that there is none; null if there may be. */
  get refusal(): Fault | null {
    return this.#options.health.refusal;
  }

  /** Every connection that has logged in. */
  get connections(): IterableIterator<ServerConnection> {
    return this.#members.keys();
  }

  /** How many are being opened. */
  get opening(): number {
    return Math.max(0, this.#lender.size - this.#members.size);
  }

  /** How many clients are queued. */
  get queued(): number {
    return this.#lender.pending;
  }

  /** Whether it has no connection, and nobody waits for one. */
  get isEmpty(): boolean {
    return this.#lender.size === 0 && this.#lender.pending === 0;
  }

  /** A parked connection, at once and if possible with `settings`; null: then `checkout` must be awaited. */
  tryCheckout(holder: LeaseHolder, settings: string): ServerConnection | null {
    if (!this.#options.health.isCalm) return null;
    for (;;) {
      const connection = this.#takeParked(settings);
      if (connection === undefined) return null;
      if (this.#isFit(connection)) return this.#lend(connection, holder);
      this.#discard(connection);
    }
  }

  /** A connection, after waiting if need be; rejects with a Fault (`pool.*`). */
  async checkout(holder: LeaseHolder, settings: string): Promise<ServerConnection> {
    const parked = this.tryCheckout(holder, settings);
    if (parked !== null) return parked;
    const askedAtMs = this.#options.environment.clock.monotonicMs();
    for (;;) {
      const { refusal } = this;
      if (refusal !== null) throw refusal;
      const resource = await this.#acquire();
      if (!isFailed(resource)) {
        if (this.#isFit(resource) && (await this.#lives(resource))) {
          this.checkouts.observe(this.#options.environment.clock.monotonicMs() - askedAtMs);
          return this.#lend(resource, holder);
        }
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
    if (this.#lender.pending > 0 || !this.#options.health.isCalm) this.#giveBack(connection);
    else this.#parked.push(connection);
  }

  /** The client that last notified on the backend `pid`; null if that is not known. */
  notifierOf(pid: number): number | null {
    for (const member of this.#members.keys()) if (member.pid === pid) return member.notifier;
    return null;
  }

  /** Whether the backend `pid` notifies for the client `notifier`, and listens to `channel` itself. */
  hearsItself(pid: number, notifier: number, channel: string): boolean {
    for (const member of this.#members.keys()) {
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
    this.#unwatch();
    this.#parked.length = 0;
    for (const connection of [...this.#members.keys()]) this.#discard(connection);
    this.#lender.clear();
    await Promise.race([this.#lender.drain().then(() => this.#lender.clear()), Promise.resolve()]);
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

  #lend(connection: ServerConnection, holder: LeaseHolder): ServerConnection {
    connection.checkOut(holder);
    return connection;
  }

  #isFit(connection: ServerConnection): boolean {
    const host = this.#members.get(connection);
    if (!connection.isUsable || host === undefined || !this.#options.health.isCurrent(host)) return false;
    const age = this.#options.environment.clock.monotonicMs() - connection.createdAtMs;
    return age < this.#options.pool.lifetimeMs;
  }

  #acquire(): Promise<Resource> {
    return new Promise((resolve, reject) => {
      let isOver = false;
      const refuse = (fault: Fault): void => {
        isOver = true;
        this.#waiting.delete(refuse);
        reject(fault);
      };
      this.#waiting.add(refuse);
      this.#lender.acquire().then(
        (resource) => {
          this.#waiting.delete(refuse);
          if (!isOver) resolve(resource);
          else if (isFailed(resource)) this.#discard(resource);
          else this.#giveBack(resource);
        },
        (error: unknown) => {
          if (!isOver) refuse(this.#acquireFault(error));
        },
      );
    });
  }

  /** Asks a connection that was idle for long, or may have died in silence, whether it is still there. */
  async #lives(connection: ServerConnection): Promise<boolean> {
    const { environment, pool, health } = this.#options;
    const { idleSinceMs } = connection;
    const isOld = environment.clock.monotonicMs() - idleSinceMs > pool.checkAfterMs;
    if (!isOld && idleSinceMs > health.suspectedAtMs) return true;
    const reply = await connection.run("", health.config.timeoutMs);
    connection.idleSinceMs = environment.clock.monotonicMs();
    return reply.kind === "complete" && this.#isFit(connection);
  }

  #acquireFault(error: unknown): Fault {
    const { queueMax, checkoutTimeoutMs, max } = this.#options.pool;
    const about = `Shard "${this.shard.id}", ${max} server connections`;
    if (error instanceof Error && error.message.includes("max waitingClients")) {
      return new Fault("pool.queue_full", { detail: `${about}, ${queueMax} clients are queued already.` });
    }
    if (error instanceof Error && error.name === "TimeoutError") {
      return new Fault("pool.checkout_timeout", { detail: `${about}, waited ${checkoutTimeoutMs} ms.` });
    }
    return new Fault("login.shutting_down", { cause: error });
  }

  async #connect(): Promise<Resource> {
    const { shard, health, environment, pool, identify, log } = this.#options;
    try {
      const { connection, host } = await connectToPrimary({
        shard,
        health,
        environment,
        connectTimeoutMs: pool.connectTimeoutMs,
        identify,
        onClosed: (closed, reason) => this.#onClosed(closed, reason),
      });
      this.#members.set(connection, host);
      connection.idleSinceMs = environment.clock.monotonicMs();
      log.debug("server.connected", { shard: shard.id, pid: connection.pid });
      return connection;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      if (error.id !== "pool.shard_down")
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
    const host = this.#members.get(connection);
    if (host === undefined) return;
    this.#members.delete(connection);
    this.#options.health.noteLost(host, reason);
    this.#options.log.info("server.closed", { shard: this.shard.id, pid: connection.pid, reason });
    const parkedAt = this.#parked.indexOf(connection);
    if (parkedAt >= 0) this.#parked.splice(parkedAt, 1);
    this.#forget(connection);
  }

  #discard(resource: Resource): void {
    if (!isFailed(resource) && resource.state !== "closed") {
      this.#members.delete(resource);
      resource.close();
    }
    this.#forget(resource);
  }

  /** Leads nobody to a server that is the primary no more; leases end there when they come back. */
  #leaveOthers(): void {
    for (const [connection, host] of [...this.#members]) {
      if (connection.state === "idle" && !this.#options.health.isCurrent(host)) this.#discard(connection);
    }
  }

  /** None is lent from now on without a look. */
  #unpark(): void {
    for (const connection of this.#parked.splice(0)) this.#giveBack(connection);
  }

  #refuseWaiting(fault: () => Fault): void {
    for (const refuse of [...this.#waiting]) refuse(fault());
  }

  /** Ends what still waits for an answer of a server that has been down for long. */
  #giveUp(host: number, reason: string): void {
    for (const [connection, at] of [...this.#members]) if (at === host) connection.close(reason);
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
