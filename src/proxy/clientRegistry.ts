/**
 * Every client there is: how many, and who answers to which process id and cancel secret.
 *
 * A client is told a process id of pgxa's own making, never a backend's: its backends change from transaction to
 * transaction, and a cancel must reach the statement wherever it runs.
 */
import { timingSafeEqual } from "node:crypto";
import type { Randomness } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import { invariant } from "../base/invariant.ts";
import { RandomPool } from "../base/randomPool.ts";
import type { Participant } from "../deadlock/participant.ts";
import { ActivityWatch } from "./activity.ts";
import type { SignalKind } from "./backendSignals.ts";
import type { ClientLimits } from "./clientLimits.ts";
import type { TimedClient } from "./clientTimeouts.ts";
import type { NewClient } from "./handshake.ts";
import type { PinnedConnection, Session } from "./session.ts";

/** BackendKeyData of a client. */
export interface ClientKey {
  readonly pid: number;
  readonly secret: Buffer;
}

const PID_MAX = 0x7fff_ffff;
/**
 * Process ids differ in their remainder by this between processes that follow each other, so that a client that was
 * handed over keeps its own, and nobody in the other process has it.
 */
const GENERATIONS = 8;
/** And within one pgxa by what is left of them then, so that a process id tells the worker. */
const WORKERS = 64;
/** Protocol 3.0 has room for four bytes; 3.2 for up to 256, of which Postgres uses these many. */
const SECRET_BYTES = 4;
const SECRET_BYTES_LONG = 32;

/**
 * The number of the worker that has the client of `pid`, if it is there, of `size` workers. It is the one that has told the
 * client its process id, or in an online restart the one to which that has to go.
 */
export const workerOf = (pid: number, size: number): number =>
  (Math.trunc(pid / GENERATIONS) % WORKERS) % size;

/** A client that is in. */
export interface Entry extends TimedClient {
  readonly client: NewClient;
  readonly session: Session;
}

export class ClientRegistry {
  readonly #random: RandomPool;
  readonly limits: ClientLimits;
  /**
   * The clients, and null where none is; by process id where each is. No map has the clients themselves: the tables that a
   * map leaves behind as it grows and shrinks would keep in memory whoever was in them until the next full collection.
   */
  readonly #entries: (Entry | null)[] = [];
  readonly #free: number[] = [];
  readonly #places = new Map<number, number>();
  readonly #generation: number;
  readonly #worker: number | null;
  #onEmpty: (() => void)[] = [];

  /**
   * `generation`: of processes that hand clients over to each other the next has the next; see GENERATIONS. `worker`: the
   * number of this one; null if it is alone.
   */
  constructor(random: Randomness, limits: ClientLimits, generation = 0, worker: number | null = null) {
    this.#random = new RandomPool(random);
    this.limits = limits;
    this.#generation = generation % GENERATIONS;
    this.#worker = worker;
  }

  get size(): number {
    return this.#places.size;
  }

  get entries(): IterableIterator<Entry> {
    return this.#present();
  }

  get sessions(): IterableIterator<Session> {
    return this.#sessions();
  }

  get timed(): Iterable<TimedClient> {
    return this.#present();
  }

  *#present(): IterableIterator<Entry> {
    for (const entry of this.#entries) if (entry !== null) yield entry;
  }

  *#sessions(): IterableIterator<Session> {
    for (const { session } of this.#present()) yield session;
  }

  /** Those whose waits may be part of a deadlock. */
  *participants(): IterableIterator<Participant> {
    for (const { participant } of this.sessions) if (participant !== null) yield participant;
  }

  /** Every server connection that a client keeps, with the process id of the client. */
  *pins(): IterableIterator<PinnedConnection & { readonly client: number }> {
    for (const { session, client } of this.#present()) {
      for (const pin of session.pins()) yield { client: client.key.pid, ...pin };
    }
  }

  /** Does to the client of `pid` what the functions of that name do to a backend; false if there is none. */
  signal(kind: SignalKind, pid: number): boolean {
    const session = this.#of(pid)?.session;
    if (session === undefined) return false;
    if (kind === "cancel") session.cancel();
    else session.terminate(new Fault("session.terminated"));
    return true;
  }

  get pinnedCount(): number {
    return new Set([...this.pins()].map(({ client }) => client)).size;
  }

  /** A key that no client has; `minor` is that of the client's protocol. */
  newKey(minor: number): ClientKey {
    const secretBytes = minor >= 2 ? SECRET_BYTES_LONG : SECRET_BYTES;
    for (;;) {
      const own = this.#random.bytes(4 + secretBytes);
      const bytes = Buffer.from(own.buffer, own.byteOffset, own.length);
      const secret = bytes.subarray(4);
      const random = bytes.readUInt32BE(0) & PID_MAX;
      const pid = this.#mark(random);
      if (pid > 0 && !this.#places.has(pid)) return { pid, secret };
    }
  }

  /** Brings generation and worker into a random process id. */
  #mark(random: number): number {
    const worker = this.#worker ?? Math.trunc(random / GENERATIONS) % WORKERS;
    const series = GENERATIONS * WORKERS;
    return random - (random % series) + worker * GENERATIONS + this.#generation;
  }

  add(client: NewClient, session: Session): void {
    const { pid } = client.key;
    invariant(!this.#places.has(pid), "a process id names one client");
    const { user, database } = client.identity;
    const place = this.#free.pop() ?? this.#entries.length;
    session.client.place = place;
    this.#entries[place] = { client, session, user, database, watch: new ActivityWatch() };
    this.#places.set(pid, place);
    this.limits.add(client.identity);
  }

  remove(session: Session): void {
    const entry = this.entryOf(session);
    if (entry === null) return;
    const { place } = session.client;
    this.#entries[place] = null;
    this.#free.push(place);
    this.#places.delete(entry.client.key.pid);
    this.limits.remove(entry.client.identity);
    if (this.size === 0) for (const tell of this.#onEmpty.splice(0)) tell();
  }

  /** Resolves when there is no client any more. */
  whenEmpty(): Promise<void> {
    if (this.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onEmpty.push(resolve);
    });
  }

  entryOf(session: Session): Entry | null {
    const entry = this.#entries[session.client.place] ?? null;
    return entry?.session === session ? entry : null;
  }

  #of(pid: number): Entry | null {
    const place = this.#places.get(pid);
    return place === undefined ? null : this.#entries[place]!;
  }

  has(pid: number): boolean {
    return this.#places.has(pid);
  }

  /** The client of that key, if the secret is right. */
  find(pid: number, secret: Buffer): Session | null {
    const entry = this.#of(pid);
    if (entry === null || entry.client.key.secret.length !== secret.length) return null;
    return timingSafeEqual(entry.client.key.secret, secret) ? entry.session : null;
  }
}
