/**
 * What an operator may have done, by the console or otherwise.
 *
 * The console only says what is wanted; who performs it is made elsewhere. Each promise resolves when it is done, which
 * for PAUSE is when the last transaction has ended, and rejects with a Fault that says why it cannot be.
 */

/** At once, when no server connection is lent any more, or when every client has gone. */
export type ShutdownMode = "immediate" | "wait_for_servers" | "wait_for_clients";

/** `draining`: on the way to the end, with new work refused. */
export type OperationState = "active" | "paused" | "suspended" | "draining";

/** How a transaction in doubt is to end. */
export interface ResolveRequest {
  readonly gtrid: string;
  readonly outcome: "commit" | "abort";
  /** False: only say what it would mean. */
  readonly isConfirmed: boolean;
  /** Who wants it, and why. */
  readonly by: string;
  readonly reason: string;
}

/** Something to be said about a transaction in doubt; without a shard, of all of it. */
export interface ResolveRemark {
  readonly shard: string | null;
  readonly gid: string | null;
  readonly says: string;
  /** Whether nothing is left to do there; absent where nothing was to be done. */
  readonly isDone?: boolean;
}

export interface Operations {
  readonly state: OperationState;
  isPaused(database: string): boolean;
  isDisabled(database: string): boolean;
  /** Without a name: of all databases; so with the others. */
  pause(database?: string): Promise<void>;
  resume(database?: string): Promise<void>;
  reconnect(database?: string): Promise<void>;
  disable(database: string): Promise<void>;
  enable(database: string): Promise<void>;
  kill(database?: string): Promise<void>;
  /** By the id that SHOW CLIENTS has: the process id that the client was given. */
  killClient(id: number): Promise<void>;
  suspend(): Promise<void>;
  reload(): Promise<void>;
  drain(): Promise<void>;
  shutdown(mode: ShutdownMode): Promise<void>;
  waitClose(database?: string): Promise<void>;
  /** Rejects if it is refused, or cannot be: then nothing was done. */
  resolve(request: ResolveRequest): Promise<readonly ResolveRemark[]>;
  /** An option of the configuration, by its path, until the next restart. */
  set(option: string, value: string): Promise<void>;
}
