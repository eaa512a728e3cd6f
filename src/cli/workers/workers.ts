/**
 * Starts the workers, sees that as many run as there are to be, and stops them.
 *
 * A worker that ends unasked is followed by another with its number: at once the first time, and with longer and longer
 * pauses if that one does not stay. A start that fails is the end of all.
 */

import { detach } from "../../base/detach.ts";
import type { Clock, Timer } from "../../base/environment.ts";
import type { Crew } from "../../fleet/crew.ts";
import type { Log } from "../../observe/log.ts";
import type { Where } from "../compose.ts";
import type { Sockets } from "./sockets.ts";
import { WorkerProcess } from "./workerProcess.ts";
import { type Brief, DRAIN, HANDLE, OPENED, RELOAD, SHUTDOWN, STOP } from "./workerTopics.ts";

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
  brief(index: number): Brief;
  /** An operator has ended pgxa by the console of a worker. */
  onShutdown(): void;
}

export class Workers {
  readonly #options: WorkersOptions;
  /** By number; a worker that is gone stays until the next. */
  readonly #processes = new Map<number, WorkerProcess>();
  /** How often in a row those of a number have ended soon. */
  readonly #deaths = new Map<number, number>();
  readonly #pauses = new Map<number, Timer>();
  #isServing = false;
  #isStopping = false;

  constructor(options: WorkersOptions) {
    this.#options = options;
  }

  /** Resolves when all of them serve; rejects with WorkerFailed, and none is left, if one cannot. */
  async start(ready: () => Promise<void>): Promise<Where> {
    const indices = Array.from({ length: this.#options.size }, (_, index) => index);
    const processes = indices.map((index) => this.#spawn(index));
    try {
      await Promise.all(processes.map(({ built }) => built));
      await ready();
      // The others share what the first one opens.
      const [first, ...others] = processes;
      const where = await this.#open(first!);
      await Promise.all(others.map((process) => this.#open(process)));
      this.#isServing = true;
      return where;
    } catch (error) {
      this.#isStopping = true;
      this.kill();
      await this.#allGone();
      throw error;
    }
  }

  /** Reads the configuration again; rejects with the first Fault. */
  async reload(): Promise<void> {
    await this.#options.crew.askOthers(null, RELOAD, null);
  }

  /** Resolves when no worker has a client any more, or has waited for long enough. */
  async drain(): Promise<void> {
    this.#isStopping = true;
    await this.#options.crew.askOthers(null, DRAIN, null);
  }

  /** Resolves when all are gone. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const pause of this.#pauses.values()) pause.cancel();
    this.#options.crew.tellOthers(null, STOP, null);
    await this.#allGone();
  }

  kill(): void {
    for (const process of this.#processes.values()) process.kill();
  }

  #spawn(index: number): WorkerProcess {
    const { crew, sockets, brief, onShutdown, log } = this.#options;
    const process = new WorkerProcess(index, () => brief(index));
    process.channel.serve(OPENED, ({ name }, handle) => {
      if (handle !== undefined) sockets.keep(index, name, handle);
    });
    process.channel.serve(SHUTDOWN, onShutdown);
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
  async #open(process: WorkerProcess): Promise<Where> {
    const { crew, sockets } = this.#options;
    await crew.prepare(process);
    for (const { name, handle } of sockets.of(process.index)) process.channel.tell(HANDLE, { name }, handle);
    process.letIn();
    return await process.serving;
  }

  #onGone(process: WorkerProcess, reason: string): void {
    const { crew, log, clock, sockets } = this.#options;
    const { index, pid } = process;
    crew.leave(process);
    if (this.#isStopping || !this.#isServing) return;
    const deaths = this.#deaths.get(index) ?? 0;
    const pauseMs = deaths === 0 ? 0 : Math.min(PAUSE_MAX_MS, PAUSE_MIN_MS * 2 ** (deaths - 1));
    this.#deaths.set(index, deaths + 1);
    if (deaths > 0) sockets.release(index);
    log.error("worker.ended", { worker: index, pid, reason, nextInMs: pauseMs });
    this.#pauses.set(
      index,
      clock.after(pauseMs, () => detach(this.#follow(index), "the log says how it went")),
    );
  }

  async #follow(index: number): Promise<void> {
    const process = this.#spawn(index);
    try {
      await process.built;
      await this.#open(process);
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
