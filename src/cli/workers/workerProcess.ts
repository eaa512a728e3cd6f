/**
 * A worker as its parent sees it: a process of this same program with the same arguments, and what it has reached.
 *
 *     starting -> built -> serving -> gone
 *         |_________|_________________^
 */
import { type ChildProcess, spawn } from "node:child_process";
import { Channel, type Envelope } from "../../fleet/channel.ts";
import type { Member } from "../../fleet/crew.ts";
import type { Where } from "../compose.ts";
import { type Brief, BUILT, FAILED, HELLO, SERVING } from "./workerTopics.ts";

/** Makes a process that this one has started its worker, and says which. */
export const WORKER_VARIABLE = "PGXA_WORKER";

/** A worker ended before it served; the message is for the user. */
export class WorkerFailed extends Error {
  override readonly name = "WorkerFailed";
}

export class WorkerProcess implements Member {
  readonly index: number;
  readonly channel: Channel;
  /** Rejects with WorkerFailed. */
  readonly built: Promise<void>;
  /** Rejects with WorkerFailed. */
  readonly serving: Promise<Where>;
  /** Resolves with why. */
  readonly gone: Promise<string>;
  readonly #child: ChildProcess;
  readonly #letIn = Promise.withResolvers<{ readonly port: number }>();
  isServing = false;
  #failure: string | null = null;

  constructor(index: number, brief: () => Brief) {
    this.index = index;
    this.#child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      serialization: "advanced",
      env: { ...process.env, [WORKER_VARIABLE]: String(index) },
    });
    this.channel = new Channel((envelope, handle) => this.#send(envelope, handle));
    this.channel.serve(HELLO, brief);
    const built = Promise.withResolvers<void>();
    this.built = built.promise;
    this.channel.serve(BUILT, () => {
      built.resolve();
      return this.#letIn.promise;
    });
    const serving = Promise.withResolvers<Where>();
    this.serving = serving.promise;
    this.channel.serve(SERVING, (where) => {
      this.isServing = true;
      serving.resolve(where);
    });
    this.channel.serve(FAILED, ({ text }) => {
      this.#failure = text;
    });
    const gone = Promise.withResolvers<string>();
    this.gone = gone.promise;
    const end = (reason: string): void => {
      this.isServing = false;
      const failure = new WorkerFailed(this.#failure ?? `a worker could not start: ${reason}`);
      built.reject(failure);
      serving.reject(failure);
      gone.resolve(this.#failure ?? reason);
    };
    // Whoever is interested looks later, perhaps.
    for (const promise of [built.promise, serving.promise]) promise.catch(() => {});
    this.#child.on("message", (message, handle) => this.channel.receive(message as Envelope, handle));
    this.#child.on("error", ({ message }) => end(message));
    this.#child.on("exit", (code, signal) => end(`it ended with ${code ?? signal}`));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** It may open its ports; `port`: the clients', 0 as the configuration says. */
  letIn(port: number): void {
    this.#letIn.resolve({ port });
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** What cannot be sent any more is answered by its end. */
  #send(envelope: Envelope, handle: object | undefined): void {
    if (!this.#child.connected) return;
    this.#child.send(envelope, handle as Parameters<ChildProcess["send"]>[1], {}, () => {});
  }
}
