/** What a worker and its parent say to each other about the worker's own life. */
import type { Config } from "../../config/config.ts";
import type { RawConfig } from "../../config/reader.ts";
import { topic } from "../../fleet/channel.ts";
import type { ToPredecessor, ToSuccessor } from "../../proxy/handover/messages.ts";
import type { Where } from "../compose.ts";
import type { Doors } from "../restartPorts.ts";

/** What a worker is told first. */
export interface Brief {
  readonly index: number;
  readonly size: number;
  readonly config: Config;
  /** Where that was read, and how it stands there. */
  readonly file: string;
  readonly raw: RawConfig;
  /** What Inheritance has of these. */
  readonly follows: boolean;
  readonly epoch: number | null;
  readonly logDirectory: string;
  readonly generation: number;
  readonly reusesPort: boolean;
}

// A worker says:

/** It lives. */
export const HELLO = topic<null, Brief>("worker.hello");
/** It has everything but ports; the answer is where it is to open them, and comes after the sockets of HANDLE. */
export const BUILT = topic<null, Pick<Doors, "port">>("worker.built");
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
/** Answered when it is done. */
export const DRAIN = topic<null>("worker.drain");
export const STOP = topic<null>("worker.stop");

// An online restart: what two processes say to each other is passed on between workers by their parents.

/** Of the decision log; null: there is none. */
export const LATEST_EPOCH = topic<null, number | null>("restart.latest_epoch");
/** Accept no more, and let clients go over; answered when none is left, with how many have gone over. */
export const LEAVE = topic<{ readonly movesClients: boolean }, number>("restart.leave");
/** The new process is gone: go on as before, on the sockets of HANDLE. */
export const STAY = topic<null>("restart.stay");
/** By an old worker; a client comes with its connection. */
export const TO_SUCCESSOR = topic<ToSuccessor>("restart.to_successor");
/** To an old worker. */
export const SUCCESSOR_SAYS = topic<ToPredecessor>("restart.successor_says");
/** Clients come. */
export const FOLLOW = topic<null>("restart.follow");
/** To a new worker; a client comes with its connection. */
export const PREDECESSOR_SAYS = topic<ToSuccessor>("restart.predecessor_says");
/** By a new worker. */
export const TO_PREDECESSOR = topic<ToPredecessor>("restart.to_predecessor");
/** The old process has ended. Answered when all that it said before has been heard. */
export const PREDECESSOR_GONE = topic<null>("restart.predecessor_gone");
