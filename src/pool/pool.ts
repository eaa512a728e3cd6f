/**
 * The server connections to one shard.
 *
 * `generic-pool` makes connections, keeps at least `min`, and evicts what is idle. In front of it stand the seats
 * (seats.ts), in which clients queue: whoever has a seat has a connection or is about to, and generic-pool is asked for
 * no more connections than there are seats. And a short cut: a connection that comes back is *parked*, still on loan
 * from generic-pool's point of view, and the next checkout takes it at once, without a promise. A sweep gives parked
 * connections that nobody took back to generic-pool, which then sees them as idle.
 *
 * Connections lead to the shard's primary, or to one standby (health/). While something is wrong with the shard none is handed out
 * without having been asked whether it lives, and while it is down whoever asks for one is told so at once.
 *
 * Invariant: what `checkout` returns is logged in, idle, within its lifetime, to that server, and nobody else's.
 */
import { detach } from "../base/detach.ts";
import type { Timer } from "../base/environment.ts";
import { every } from "../base/every.ts";
import { Fault } from "../base/fault.ts";
import type { PoolConfig, ShardConfig } from "../config/config.ts";
import { Buckets } from "../observe/buckets.ts";
import { type Borrower, Checkout, Turns } from "./checkout.ts";
import { demandOn } from "./demand.ts";
import type { PoolHealth } from "./health/poolHealth.ts";
import { isAlive } from "./isAlive.ts";
import { isFailed, Lender, type Resource } from "./lender.ts";
import { isTooOld } from "./lifetime.ts";
import { NOBODY } from "./nobody.ts";
import { takeParked } from "./parked.ts";
import { connectPooled } from "./pooledConnect.ts";
import type { PoolOptions } from "./poolOptions.ts";
import { queueFault } from "./queueFault.ts";
import type { PoolWatch } from "./quota.ts";
import { quieten } from "./resetting.ts";
import { Seats } from "./seats.ts";
import type { LeaseHolder, ServerConnection } from "./serverConnection.ts";
import { type Asker, NO_CLIENT, type Share } from "./share.ts";

const SWEEP_INTERVAL_MS = 1_000;

export class Pool {
  readonly shard: ShardConfig;
  /** How long it took to get a connection that was not there at once. */
  readonly checkouts = new Buckets();
  #options: PoolOptions;
  /** Connections made until then are not lent any more. */
  #staleUpToMs = Number.NEGATIVE_INFINITY;
  readonly #health: PoolHealth;
  readonly #lender: Lender;
  /** Connections nobody holds, taken from the end: the warmest first. */
  readonly #parked: ServerConnection[] = [];
  /** All connections, with the server of the shard that each leads to. */
  readonly #members = new Map<ServerConnection, number>();
  readonly #unwatch: () => void;
  readonly #seats: Seats;
  readonly #turns = new Turns((checkout) => this.#serve(checkout));
  readonly #sweepTimer: Timer;
  #isClosing = false;
  /** Whether there are more connections, or promises of one, than there may be. */
  #isOver = false;
  watch: PoolWatch | null = null;

  constructor(options: PoolOptions) {
    this.shard = options.shard;
    this.#options = options;
    this.#health = options.standby ?? options.health;
    this.#seats = new Seats({
      limits: options.pool,
      clock: options.environment.clock,
      fault: (id) => queueFault(id, this.#options),
      about: () =>
        `${this.#seats.taken} of ${this.#options.pool.max} connections to shard "${this.shard.id}" are in use.`,
      onQueued: () => this.watch?.onQueued(),
      bounds: options.bounds,
    });
    this.#lender = new Lender({
      limits: options.pool,
      connect: () => this.#connect(),
      disconnect: (connection) => {
        this.#members.delete(connection);
        connection.close();
      },
      timeout: () => queueFault("pool.checkout_timeout", this.#options),
    });
    this.#sweepTimer = every(options.environment.clock, SWEEP_INTERVAL_MS, () => this.#sweep());
    this.#unwatch = this.#health.watch({
      onRerouted: () => this.#discardIdle((host) => !this.#health.isCurrent(host)),
      onSuspected: () => this.#unpark(),
      onRefusing: (fault) => this.#refuseWaiting(fault),
      onGivenUp: (host, reason) => this.#giveUp(host, reason),
    });
  }

  /** Why whoever asks for a connection now is told that there is none; null if there may be. */
  get refusal(): Fault | null {
    return this.#health.refusal;
  }

  /** Every connection that has logged in. */
  get connections(): IterableIterator<ServerConnection> {
    return this.#members.keys();
  }

  has(connection: ServerConnection): boolean {
    return this.#members.has(connection);
  }

  /** Whether who asks now would wait. */
  get isFull(): boolean {
    return this.#seats.taken >= this.#options.pool.max;
  }

  /** How many there are, those being opened too. */
  get size(): number {
    return this.#lender.size;
  }

  /** How many are in use or were a moment ago, and if there are no more, how many others would be. */
  get demand(): number {
    const sinceMs = this.#options.environment.clock.monotonicMs() - SWEEP_INTERVAL_MS;
    return demandOn(this.#members.keys(), this.#seats, this.#options.pool.max, sinceMs);
  }

  /** How many are being opened. */
  get opening(): number {
    return Math.max(0, this.#lender.size - this.#members.size);
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
    if (this.#parked.length === 0 || !this.#health.isCalm || !this.#seats.tryTake(share)) return null;
    const connection = this.#takeFit(settings);
    if (connection !== null) return this.#lend(connection, holder, share);
    this.#giveSeat(share);
    return null;
  }

  /** A connection, after waiting if need be; rejects with a Fault (`pool.*`). */
  checkout(holder: LeaseHolder, settings: string, asker: Asker = NO_CLIENT): Promise<ServerConnection> {
    return new Promise((onLease, onRefused) => this.request(holder, settings, asker, { onLease, onRefused }));
  }

  /** The same for who has no use for a promise; `borrower` is told later, never from within. */
  request(holder: LeaseHolder, settings: string, asker: Asker, borrower: Borrower): object {
    const askedAtMs = this.#options.environment.clock.monotonicMs();
    const checkout = new Checkout(this.#turns, holder, settings, asker, borrower, askedAtMs);
    const refusal = this.#isClosing ? new Fault("login.shutting_down") : this.refusal;
    if (refusal !== null) checkout.onRefused(refusal);
    else if (this.#seats.take(asker, checkout)) checkout.onSeat();
    return checkout;
  }

  /** Who has a seat gets a connection; who was refused is told. */
  #serve(checkout: Checkout): void {
    const { fault, settings, borrower } = checkout;
    if (fault !== null) return borrower.onRefused(fault, checkout);
    const connection = this.#takeFit(settings);
    if (connection !== null) return this.#hand(connection, checkout);
    const connected = this.#connected().then(
      (fresh) => this.#hand(fresh, checkout),
      (error: unknown) => {
        this.#giveSeat(checkout.asker.share);
        borrower.onRefused(error, checkout);
      },
    );
    detach(connected, "the borrower is told of a refusal");
  }

  #hand(connection: ServerConnection, checkout: Checkout): void {
    const { holder, asker, borrower, askedAtMs } = checkout;
    this.checkouts.observe(this.#options.environment.clock.monotonicMs() - askedAtMs);
    borrower.onLease(this.#lend(connection, holder, asker.share), checkout);
  }

  /** One that generic-pool has, or makes. */
  async #connected(): Promise<ServerConnection> {
    const askedAtMs = this.#options.environment.clock.monotonicMs();
    for (;;) {
      const { refusal } = this;
      if (refusal !== null) throw refusal;
      const resource = await this.#lender.acquire();
      if (!isFailed(resource)) {
        if (this.#isFit(resource) && (await this.#lives(resource))) return resource;
        this.#discard(resource);
        continue;
      }
      this.#discard(resource);
      // A failure from before this client asked says nothing about now.
      if (resource.atMs >= askedAtMs) throw resource.fault;
    }
  }

  /** Lends nothing from now on, and ends every connection when it comes back. */
  pause(): void {
    this.#seats.pause();
    this.refresh();
  }

  resume(): void {
    this.#seats.resume();
  }

  /** Lends none of the connections there are now any more: idle ones end, and the others when they come back. */
  refresh(): void {
    this.#staleUpToMs = this.#options.environment.clock.monotonicMs();
    this.#discardIdle(() => true);
  }

  /** Ends every connection, lent ones too. */
  drop(): void {
    for (const connection of [...this.#members.keys()]) this.#discard(connection);
  }

  /** How many connections there are that `refresh` has found. */
  get staleCount(): number {
    let count = 0;
    for (const { createdAtMs } of this.#members.keys()) if (createdAtMs <= this.#staleUpToMs) count += 1;
    return count;
  }

  reconfigure(pool: PoolConfig): void {
    this.#options = { ...this.#options, pool };
    this.#trim();
    this.#seats.reconfigure(pool);
  }

  /** Closes idle connections beyond what there may be; those that are lent go when they come back. */
  #trim(): void {
    const { pool } = this.#options;
    const max = pool.max + pool.reserve;
    this.#isOver = false; // while they are closed
    this.#lender.resize({ ...pool, max: Math.max(pool.max, this.#seats.taken - pool.reserve) });
    while (this.#parked.length > 0 && this.#lender.size > max) this.#discard(this.#parked.shift()!);
    this.#lender.shed(this.#lender.size - max, (resource) => this.#discard(resource));
    this.#isOver = this.#lender.size > max || this.#seats.taken > max;
  }

  #shrink(): void {
    this.#trim();
    this.watch?.onFewer();
  }

  /** Takes a lease back. What is not clean is closed, not kept. */
  checkIn(connection: ServerConnection): void {
    if (!connection.isClean || this.#isClosing) return this.discard(connection);
    if (connection.isCancelInFlight) return connection.afterCancels(() => this.checkIn(connection));
    const isLoud = connection.listens || connection.notifier !== null;
    const mustReset = connection.isUsed && this.#options.pool.reset === "always";
    if (isLoud || mustReset) return this.#quieten(connection, mustReset);
    connection.checkIn();
    const isTooMany = this.#isOver && this.#lender.pending === 0;
    if (isTooMany || !this.#isFit(connection)) return this.#discard(connection);
    if (this.#lender.pending > 0 || !this.#health.isCalm) this.#lender.giveBack(connection);
    else this.#parked.push(connection);
    this.#leaveSeat(connection);
  }

  #leaveSeat(connection: ServerConnection): void {
    const { seatOf } = connection;
    connection.seatOf = null;
    if (seatOf !== null) this.#giveSeat(seatOf);
    else if (this.#isOver) this.#shrink();
  }

  #giveSeat(share: Share): void {
    this.#seats.give(share);
    if (this.#isOver) this.#shrink();
  }

  /** The client that last notified on the backend `pid`; null if that is not known. */
  notifierOf(pid: number): number | null {
    for (const member of this.#members.keys()) if (member.pid === pid) return member.notifier;
    return null;
  }

  #quieten(connection: ServerConnection, mustReset: boolean): void {
    connection.passTo(NOBODY);
    const quiet = quieten(connection, this.#options.settleNotifications, mustReset);
    const done = quiet.then(() => this.checkIn(connection));
    detach(done, "one that is not clean then is closed");
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
    this.#seats.refuseAll(() => new Fault("login.shutting_down"));
    this.#parked.length = 0;
    this.drop();
    await this.#lender.close();
  }

  #takeFit(settings: string): ServerConnection | null {
    for (;;) {
      const connection = takeParked(this.#parked, settings);
      if (connection === undefined) return null;
      if (this.#isFit(connection)) return connection;
      this.#discard(connection);
    }
  }

  #lend(connection: ServerConnection, holder: LeaseHolder, share: Share): ServerConnection {
    connection.checkOut(holder);
    connection.seatOf = share;
    return connection;
  }

  #isFit(connection: ServerConnection): boolean {
    const host = this.#members.get(connection);
    if (!connection.isUsable || host === undefined || !this.#health.isCurrent(host)) return false;
    if (connection.createdAtMs <= this.#staleUpToMs) return false;
    const { environment, pool } = this.#options;
    return !isTooOld(connection, environment.clock.monotonicMs(), pool.lifetimeMs);
  }

  async #lives(connection: ServerConnection): Promise<boolean> {
    const { environment, pool } = this.#options;
    return (await isAlive(connection, environment.clock, pool, this.#health)) && this.#isFit(connection);
  }

  async #connect(): Promise<Resource> {
    const made = await connectPooled(this.#options, (closed, reason) => this.#onClosed(closed, reason));
    if ("fault" in made) return made;
    const { connection, host } = made;
    this.#members.set(connection, host);
    connection.idleSinceMs = this.#options.environment.clock.monotonicMs();
    return connection;
  }

  #onClosed(connection: ServerConnection, reason: string): void {
    const host = this.#members.get(connection);
    if (host === undefined) return;
    this.#members.delete(connection);
    this.#health.noteLost(host, reason);
    this.#options.log.info("server.closed", { shard: this.shard.id, pid: connection.pid, reason });
    const parkedAt = this.#parked.indexOf(connection);
    if (parkedAt >= 0) this.#parked.splice(parkedAt, 1);
    this.#lender.forget(connection);
    this.#leaveSeat(connection);
  }

  #discard(resource: Resource): void {
    if (!isFailed(resource) && resource.state !== "closed") {
      this.#members.delete(resource);
      resource.close();
    }
    this.#lender.forget(resource);
    if (!isFailed(resource)) this.#leaveSeat(resource);
  }

  /** Those that are lent end when they come back, if nobody is to be led there any more. */
  #discardIdle(isToGo: (host: number) => boolean): void {
    for (const [connection, host] of [...this.#members])
      if (connection.state === "idle" && isToGo(host)) this.#discard(connection);
  }

  /** None is lent from now on without a look. */
  #unpark(): void {
    for (const connection of this.#parked.splice(0)) this.#lender.giveBack(connection);
  }

  #refuseWaiting(fault: () => Fault): void {
    this.#seats.refuseAll(fault);
    this.#lender.refuseWaiting(fault);
  }

  /** Ends what still waits for an answer of a server that has been down for long. */
  #giveUp(host: number, reason: string): void {
    for (const [connection, at] of [...this.#members]) if (at === host) connection.close(reason);
  }

  /** Hands connections that nobody wanted for a while to generic-pool, oldest first, where idle limits apply. */
  #sweep(): void {
    const before = this.#options.environment.clock.monotonicMs() - SWEEP_INTERVAL_MS;
    while (this.#parked.length > 0 && this.#parked[0]!.idleSinceMs < before) {
      const connection = this.#parked.shift()!;
      if (this.#isFit(connection)) this.#lender.giveBack(connection);
      else this.#discard(connection);
    }
    if (this.#isOver) this.#shrink(); // of those that were being opened some may be idle now
  }
}
