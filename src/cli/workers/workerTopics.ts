/** What a worker and its parent say to each other about the worker's own life. */
import type { Config } from "../../config/config.ts";
import type { RawConfig } from "../../config/reader.ts";
import { topic } from "../../fleet/channel.ts";
import type { Where } from "../compose.ts";

/** What a worker is told first. */
export interface Brief {
  readonly index: number;
  readonly size: number;
  readonly config: Config;
  /** Where that was read, and how it stands there. */
  readonly file: string;
  readonly raw: RawConfig;
  readonly generation: number;
  /** Whether its clients come from a process before this one. */
  readonly follows: boolean;
  /** The clients' port, chosen if the configuration leaves it to the system. */
  readonly port: number;
  /** Whether each worker has a listening socket of its own on that port; otherwise they share one. */
  readonly reusesPort: boolean;
}

// A worker says:

/** It lives. */
export const HELLO = topic<null, Brief>("worker.hello");
/** It has everything but ports; the answer is that it may open them, and comes after the sockets of HANDLE. */
export const BUILT = topic<null>("worker.built");
/** With a listening socket that it has opened, for the one that follows it, and for others if they share it. */
export const OPENED = topic<{ readonly name: string }>("worker.opened");
export const SERVING = topic<Where>("worker.serving");
/** It could not start; `text` is for the user. */
export const FAILED = topic<{ readonly text: string }>("worker.failed");
/** An operator has ended pgxa by the console. */
export const SHUTDOWN = topic<null>("worker.shutdown");

// Its parent says:

/** With a listening socket on which it is to accept. */
export const HANDLE = topic<{ readonly name: string }>("worker.handle");
export const RELOAD = topic<null>("worker.reload");
/** Answered when it is done. */
export const DRAIN = topic<null>("worker.drain");
export const STOP = topic<null>("worker.stop");
