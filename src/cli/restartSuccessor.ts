/**
 * The old process's side of an online restart: starts the new one, sees it through to the moment it serves, and then lets
 * clients go over.
 *
 *     none -> starting -> taking over -> leaving -> over
 *       ^________|_____________|___________|         the new process ended
 *
 * Until the new process accepts connections this one does, and goes on as if nothing had happened if that never comes.
 * The new process runs whatever program is on the disk by then, with the arguments of this one, in a session of its own,
 * so that it does not end with the terminal or the process group of this one.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { detach } from "../base/detach.ts";
import type { Timer } from "../base/environment.ts";
import type { HandoverPointListener } from "../base/faultPoint.ts";
import type { Log } from "../observe/log.ts";
import {
  HANDOVER_VERSION,
  type Peer,
  type ToPredecessor,
  type ToSuccessor,
} from "../proxy/handover/messages.ts";
import { PREDECESSOR_VARIABLE } from "./restartPredecessor.ts";
import { systemEnvironment } from "./systemEnvironment.ts";
import type { HandoverSide } from "./workers/fleetHandover.ts";

type State = "none" | "starting" | "taking over" | "leaving" | "over";

export interface RestartsOptions {
  readonly handover: HandoverSide;
  readonly log: Log;
  readonly startTimeoutMs: number;
  readonly handoverPoint: HandoverPointListener;
  /** The process is not needed any more. */
  onOver(): void;
  /** The new process was told to stop; `drains`: when transactions are over. */
  onStop(drains: boolean): void;
}

export class Restarts {
  readonly #options: RestartsOptions;
  #state: State = "none";
  #child: ChildProcess | null = null;
  #timer: Timer | null = null;
  #speaksVersion = true;
  #isStopping = false;
  /** The new process has taken over, or is gone. */
  #onTakenOver = (): void => {};

  constructor(options: RestartsOptions) {
    this.#options = options;
  }

  /** Begins a restart; says why not if it does not. */
  readonly begin = (): string | null => {
    const refusal = this.#refusal();
    if (refusal !== null) {
      this.#options.log.warn("restart.ignored", { reason: refusal });
      return refusal;
    }
    this.#state = "starting";
    const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
      detached: true,
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      env: { ...process.env, [PREDECESSOR_VARIABLE]: String(process.pid) },
    });
    this.#child = child;
    this.#options.log.info("restart.began", { pid: child.pid });
    child.on("message", (message) => {
      if (child === this.#child) detach(this.#onMessage(message as ToPredecessor), "a message has no caller");
    });
    child.on("error", (error) => this.#end(child, error.message));
    child.on("exit", (code, signal) => this.#end(child, `it ended with ${code ?? signal}`));
    this.#timer = systemEnvironment.clock.after(this.#options.startTimeoutMs, () => {
      child.kill("SIGKILL");
      this.#end(child, "it took longer than restart.start_timeout");
    });
    return null;
  };

  /**
   * This process is about to stop: no restart begins any more, and one that has only just begun is given up. Resolves when
   * it is clear whose the ports are.
   */
  giveUp(): Promise<void> {
    this.#isStopping = true;
    if (this.#state === "starting") this.close();
    if (this.#state !== "taking over") return Promise.resolve();
    return new Promise((resolve) => {
      this.#onTakenOver = resolve;
    });
  }

  /** This process stops: a new one goes with it, unless it serves already or was told to. */
  close(): void {
    const child = this.#child;
    const isServing = this.#state !== "starting" && this.#state !== "none";
    this.#state = "over";
    this.#timer?.cancel();
    if (child === null) return;
    if (!isServing) child.kill("SIGKILL");
    if (child.connected) child.disconnect();
    child.unref();
  }

  #refusal(): string | null {
    if (this.#isStopping) return "pgxa is stopping";
    if (this.#state !== "none") return "a restart is going on";
    // With the first process of a container all others end.
    if (process.pid === 1) return "process 1 of a container cannot hand over; run pgxa under an init";
    return null;
  }

  async #onMessage(message: ToPredecessor): Promise<void> {
    const { handover, handoverPoint, onStop } = this.#options;
    switch (message.kind) {
      case "hello":
        return this.#invite(message.version);
      case "ready":
        this.#state = "taking over";
        handoverPoint("handover.before-take-over");
        return this.#send({ kind: "takeOver" });
      case "accepting":
        return this.#leave(message.ports);
      case "stopping":
        return onStop(message.drains);
      default:
        return handover.onSuccessorSays(message);
    }
  }

  async #invite(version: number): Promise<void> {
    const { handover, handoverPoint, log } = this.#options;
    this.#speaksVersion = version === HANDOVER_VERSION;
    if (!this.#speaksVersion)
      log.warn("restart.client_kept", { reason: "the new process is of another version" });
    const { ports, ...invitation } = await handover.invitation();
    const handles = ports.length;
    this.#send({ kind: "welcome", version: HANDOVER_VERSION, ...invitation, handles });
    for (const { name, handle } of ports) this.#send({ kind: "handle", name }, handle!);
    handoverPoint("handover.invited");
  }

  async #leave(taken: readonly string[]): Promise<void> {
    const { handover, log, onOver } = this.#options;
    const child = this.#child;
    this.#timer?.cancel();
    this.#state = "leaving";
    log.info("restart.taken_over", { pid: child?.pid });
    const peer: Peer<ToSuccessor> = { send: (message, handle) => this.#send(message, handle) };
    const left = handover.leave(peer, this.#speaksVersion, taken);
    this.#onTakenOver();
    log.info("restart.finished", { clients: await left });
    if (child !== this.#child) return;
    this.#state = "over";
    onOver();
  }

  /** The new process is gone, or never was. */
  #end(child: ChildProcess, reason: string): void {
    if (child !== this.#child || this.#state === "over" || this.#state === "none") return;
    const { log, handover } = this.#options;
    const wasServing = this.#state === "leaving";
    this.#child = null;
    this.#timer?.cancel();
    this.#state = "none";
    log.error(wasServing ? "restart.successor_lost" : "restart.failed", { reason });
    this.#onTakenOver();
    if (wasServing && !this.#isStopping) detach(handover.stay(), "the port was this process's before");
  }

  /** What cannot be sent any more is answered by the end of the process. */
  #send(message: ToSuccessor, handle?: object): void {
    const child = this.#child;
    if (child === null || !child.connected) return;
    child.send(message, handle as Parameters<ChildProcess["send"]>[1], () => {});
  }
}
