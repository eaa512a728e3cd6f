/**
 * Starts the workers, sees that as many run as there are to be, and stops them.
 *
 * A worker that ends unasked is followed by another with its number: at once the first time, and with longer and longer
 * pauses if that one does not stay. A start that fails is the end of all.
 */
import { detach } from "../../base/detach.ts";
import type { Clock, Timer } from "../../base/environment.ts";
import type { Crew, Member } from "../../fleet/crew.ts";
import type { Log } from "../../observe/log.ts";
import type { Where } from "../compose.ts";
import type { Sockets } from "./sockets.ts";
import { WorkerProcess } from "./workerProcess.ts";
import { type Brief, DRAIN, HANDLE, OPENED, SHUTDOWN, STOP } from "./workerTopics.ts";

const PAUSE_MIN_MS = 100;
const PAUSE_MAX_MS = 30_000;
/** A worker that has served for so long has not died of its start. */
const STEADY_MS = 60_000;

export interface WorkersOptions {
  readonly crew: Crew;
  readonly size: number;
  readonly sockets: Sockets;
  readonly clock: Clock;
  readonly log: Log;
  /** `isFirst`: it is one of those that are there at the start. */
  brief(index: number, isFirst: boolean): Brief;
  /** A worker has begun to serve. */
  onServing(member: Member): void;
  /** Every worker is ended by an operator's order, or gone. */
  onShutdown(): void;
}

export class Workers {
  readonly #options: WorkersOptions;
  /** By number; a worker that is gone stays until the next. */
  readonly #processes = new Map<number, WorkerProcess>();
  /** How often in a row those of a number have ended soon. */
  readonly #deaths = new Map<number, number>();
  readonly #pauses = new Map<number, Timer>();
  /** Those that an operator's order has ended. */
  readonly #ended = new Set<Member>();
  #where: Where | null = null;
  /** Whether a worker that ends is followed by another. */
  #isFollowed = false;

  constructor(options: WorkersOptions) {
    this.#options = options;
  }

  /**
   * Resolves when all of them serve; rejects with WorkerFailed, and none is left, if one cannot. `ready` is called when all
   * could open their ports, and resolves when they are to; `port` is that of the clients, 0 as the configuration says.
   */
  async start(port: number, ready: () => Promise<void>): Promise<Where> {
    const indices = Array.from({ length: this.#options.size }, (_, index) => index);
    const processes = indices.map((index) => this.#spawn(index, true));
    try {
      await Promise.all(processes.map(({ built }) => built));
      await ready();
      // The others share what the first one opens.
      const [first, ...others] = processes;
      const where = await this.#open(first!, port);
      await Promise.all(others.map((process) => this.#open(process, where.port)));
      this.#where = where;
      this.#isFollowed = true;
      return where;
    } catch (error) {
      this.kill();
      await this.#allGone();
      throw error;
    }
  }

  /** From now on a worker that ends is not followed by another, and when all have ended `onShutdown` is told. */
  letEnd(): void {
    this.#isFollowed = false;
    for (const pause of this.#pauses.values()) pause.cancel();
    this.#pauses.clear();
  }

  /** Of those that are to let all clients go: who does not serve yet is not needed any more. */
  endStarting(): void {
    this.letEnd();
    for (const process of this.#processes.values()) if (!process.isServing) process.kill();
  }

  /** What `letEnd` said is taken back. */
  goOn(): void {
    this.#isFollowed = true;
    for (const index of this.#processes.keys())
      if (this.#options.crew.at(index) === undefined) this.#followAfter(index, 0);
  }

  /** Resolves when no worker has a client any more, or has waited for long enough. */
  async drain(): Promise<void> {
    this.letEnd();
    await this.#options.crew.askOthers(null, DRAIN, null);
  }

  /** Resolves when all are gone. */
  async stop(): Promise<void> {
    this.letEnd();
    this.#options.crew.tellOthers(null, STOP, null);
    await this.#allGone();
  }

  kill(): void {
    for (const process of this.#processes.values()) process.kill();
  }

  #spawn(index: number, isFirst: boolean): WorkerProcess {
    const { crew, sockets, brief, log } = this.#options;
    const process = new WorkerProcess(index, () => brief(index, isFirst));
    process.channel.serve(OPENED, ({ name }, handle) => {
      if (handle !== undefined) sockets.keep(index, name, handle);
    });
    process.channel.serve(SHUTDOWN, () => this.#onEnded(process));
    this.#processes.set(index, process);
    crew.join(process);
    log.info("worker.started", { worker: index, pid: process.pid });
    detach(
      process.gone.then((reason) => this.#onGone(process, reason)),
      "the process ends by itself",
    );
    return process;
  }

  /** Lets a worker that is built open its ports; resolves when it serves. */
  async #open(process: WorkerProcess, port: number): Promise<Where> {
    const { crew, sockets, onServing } = this.#options;
    await crew.prepare(process);
    for (const { name, handle } of sockets.of(process.index)) process.channel.tell(HANDLE, { name }, handle);
    process.letIn(port);
    const where = await process.serving;
    onServing(process);
    return where;
  }

  #onEnded(process: WorkerProcess): void {
    this.letEnd();
    this.#ended.add(process);
    this.#seeWhetherOver();
  }

  #seeWhetherOver(): void {
    const isOver = this.#options.crew.members.every((member) => this.#ended.has(member));
    if (isOver) this.#options.onShutdown();
  }

  #onGone(process: WorkerProcess, reason: string): void {
    const { crew, log, sockets } = this.#options;
    const { index, pid } = process;
    crew.leave(process);
    if (this.#where === null) return; // the start fails
    if (!this.#isFollowed) return this.#seeWhetherOver();
    const deaths = this.#deaths.get(index) ?? 0;
    const pauseMs = deaths === 0 ? 0 : Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** (deaths - 1));
    this.#deaths.set(index, deaths + 1);
    if (deaths > 0) sockets.release(index);
    log.error("worker.ended", { worker: index, pid, reason, nextInMs: pauseMs });
    this.#followAfter(index, pauseMs);
  }

  #followAfter(index: number, pauseMs: number): void {
    this.#pauses.get(index)?.cancel();
    const next = (): void => detach(this.#follow(index), "the log says how it went");
    this.#pauses.set(index, this.#options.clock.after(pauseMs, next));
  }

  async #follow(index: number): Promise<void> {
    const process = this.#spawn(index, false);
    try {
      await process.built;
      await this.#open(process, this.#where!.port);
    } catch {
      return; // Its end is told by `gone`.
    }
    const steady = this.#options.clock.after(STEADY_MS, () => this.#deaths.delete(index));
    await process.gone;
    steady.cancel();
  }

  async #allGone(): Promise<void> {
    await Promise.all([...this.#processes.values()].map(({ gone }) => gone));
  }
}
