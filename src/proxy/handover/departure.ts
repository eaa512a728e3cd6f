/**
 * The old process's part in an online restart: every client that is at rest goes over to the new process.
 *
 *     here -> moving -> gone        taken, and let go of
 *              |
 *              '-----> here, for good: refused by the new process
 *
 * Invariant: from the moment a client's state is told until it is gone or stays, nothing is read from it here; so what it
 * sends meanwhile is in the kernel, and whoever reads next reads it. Only a bounded number moves at a time.
 *
 * A client that is busy is looked at again when its session comes to rest, and every now and then. One that cannot be
 * handed over stays until it leaves, or until time is up.
 */
import { detach } from "../../base/detach.ts";
import type { Environment, Timer } from "../../base/environment.ts";
import { Fault } from "../../base/fault.ts";
import type { HandoverPointListener } from "../../base/faultPoint.ts";
import type { Log } from "../../observe/log.ts";
import type { ClientRegistry } from "../clientRegistry.ts";
import type { Rest } from "../rest.ts";
import type { Session } from "../session.ts";
import { channelsOf, stateOf } from "./belongings.ts";
import { Marker, shardsOf } from "./marker.ts";
import type { ClientState, Peer, SessionState, ToSuccessor } from "./messages.ts";
import { proofState } from "./proofState.ts";

const MOVING_MAX = 64;
const LOOK_AGAIN_MS = 50;

export interface DepartureOptions {
  readonly peer: Peer<ToSuccessor>;
  /** False: they only leave by themselves. */
  readonly movesClients: boolean;
  readonly registry: ClientRegistry;
  readonly rest: Rest;
  /** Whether clients may still come: from a login, or from the process before this one. */
  expectsMore(): boolean;
  readonly environment: Environment;
  readonly log: Log;
  /** After that clients that are still here are ended between two transactions, in ms. */
  readonly timeoutMs: number;
  readonly faultPoint: HandoverPointListener;
}

interface Moving {
  readonly session: Session;
  readonly marker: Marker;
}

export class Departure {
  readonly #options: DepartureOptions;
  readonly #moving = new Map<number, Moving>();
  readonly #movingSessions = new Set<Session>();
  /** Those that the new process refused. */
  readonly #staying = new WeakSet<Session>();
  #nextId = 1;
  #timer: Timer | null = null;
  #deadline: Timer | null = null;
  #isOverdue = false;
  #unwatch = (): void => {};
  #isStopped = false;
  #onOver!: () => void;
  /** Resolves when no client is left; never if it is stopped before. */
  readonly over: Promise<void>;
  moved = 0;

  constructor(options: DepartureOptions) {
    this.#options = options;
    this.over = new Promise((resolve) => {
      this.#onOver = resolve;
    });
  }

  begin(): void {
    const { environment, timeoutMs, rest } = this.#options;
    this.#deadline = environment.clock.after(timeoutMs, () => {
      this.#isOverdue = true;
    });
    this.#unwatch = rest.watch([], (session) => queueMicrotask(() => this.#look(session)));
    this.#lookAtAll();
  }

  /** The new process is gone: all who have not gone over stay. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#deadline?.cancel();
    for (const id of [...this.#moving.keys()]) this.#stay(id);
    this.#unwatch();
  }

  /** This process ends without a word: those who may be the new process's are told nothing. */
  disown(): void {
    const sessions = [...this.#movingSessions];
    for (const id of [...this.#moving.keys()]) this.#forget(id);
    for (const session of sessions) session.client.stream.destroy();
  }

  /** The new process knows the client, and waits. */
  onTaken(id: number): void {
    const moving = this.#moving.get(id);
    if (moving !== undefined) detach(this.#letGo(id, moving), "it goes or stays");
  }

  onRefused(id: number, reason: string): void {
    const moving = this.#moving.get(id);
    if (moving === undefined) return;
    const { log, registry } = this.#options;
    log.warn("restart.client_kept", { pid: registry.entryOf(moving.session)?.client.key.pid, reason });
    this.#staying.add(moving.session);
    this.#stay(id);
  }

  #lookAtAll(): void {
    if (this.#isStopped) return;
    const { registry, environment, expectsMore } = this.#options;
    for (const session of [...registry.sessions]) this.#look(session);
    if (registry.size === 0 && !expectsMore()) {
      this.stop();
      return this.#onOver();
    }
    this.#timer = environment.clock.after(LOOK_AGAIN_MS, () => this.#lookAtAll());
  }

  #look(session: Session): void {
    const { client } = session;
    if (this.#isStopped || client.isOver || this.#movingSessions.has(session)) return;
    if (this.#isOverdue && session.isQuiet) return session.terminate(new Fault("login.shutting_down"));
    if (!this.#options.movesClients) return;
    if (this.#staying.has(session) || this.#moving.size >= MOVING_MAX) return;
    const entry = this.#options.registry.entryOf(session);
    const state = entry === null || client.stream.handle === null ? null : stateOf(session);
    if (entry === null || state === null) return;
    // Nothing is read before the same turn of the event loop is over, and then not either.
    client.stream.pause();
    const id = this.#nextId++;
    const marker = this.#options.environment.random.bytes(8);
    const told: ClientState = {
      pid: entry.client.key.pid,
      secret: entry.client.key.secret.toString("base64"),
      proof: proofState(entry.client.credentials.proof),
      parameters: entry.client.parameters.state,
      connectedAtMs: client.meter.connectedAtMs,
      session: state,
      carry: client.carry.toString("base64"),
      marker: `pgxa_${Buffer.from(marker).toString("hex")}`,
    };
    this.#move(id, session, told);
  }

  #move(id: number, session: Session, state: ClientState): void {
    const channels = channelsOf(session);
    const marker = new Marker(state.marker, channels?.hubs ?? [], this.#options.environment.clock);
    this.#moving.set(id, { session, marker });
    this.#movingSessions.add(session);
    const listening = marker.listen(shardsOf(channelsIn(state.session)), (shard) => channels?.deafen(shard));
    const sent = listening.then(
      () => {
        const { handle } = session.client.stream;
        if (handle === null || !this.#moving.has(id)) return this.#stay(id);
        this.#options.faultPoint("client.before-send");
        this.#options.peer.send({ kind: "client", id, state }, handle);
        this.#options.faultPoint("client.after-send");
      },
      () => this.#stay(id), // and is looked at again
    );
    detach(sent, "the answer says what came of it");
  }

  async #letGo(id: number, { session, marker }: Moving): Promise<void> {
    const isSure = await marker.passed().then(
      () => true,
      () => false,
    );
    if (!this.#moving.has(id)) return;
    // It may have been ended from here meanwhile, or sent a notification that it does not take.
    if (!isSure || session.client.isOver || !session.client.stream.isFlushed) return this.#withdraw(id);
    const { faultPoint, peer } = this.#options;
    this.#forget(id);
    this.moved += 1;
    faultPoint("client.before-go");
    session.client.stream.destroy();
    peer.send({ kind: "go", id });
    faultPoint("client.after-go");
  }

  #withdraw(id: number): void {
    this.#options.peer.send({ kind: "withdrawn", id });
    this.#stay(id);
  }

  /** The client is read from again. */
  #stay(id: number): void {
    const moving = this.#moving.get(id);
    this.#forget(id);
    if (moving === undefined || moving.session.client.isOver) return;
    channelsOf(moving.session)?.resume();
    moving.session.client.stream.resume();
  }

  #forget(id: number): void {
    const moving = this.#moving.get(id);
    if (moving === undefined) return;
    moving.marker.close();
    this.#moving.delete(id);
    this.#movingSessions.delete(moving.session);
  }
}

const channelsIn = (state: SessionState) => (state.kind === "console" ? [] : state.channels);
