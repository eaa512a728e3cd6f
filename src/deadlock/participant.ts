// Pure.
/** What the detector has to know of a client that takes part in waits, and may ask of it. */
import type { Fault } from "../base/fault.ts";

/** A backend that works for a client: with its start, for the operating system gives process ids out again. */
export interface Backend {
  /** The shard's place in the configuration. */
  readonly shard: number;
  readonly pid: number;
  readonly backendStart: string;
}

/** What is to be known of a client that waits, or is waited for, wherever it is. */
export interface ParticipantState {
  /** The process id that the client was given. */
  readonly client: number;
  /** Grows whenever a statement of the client's begins or ends: the same number means that nothing has moved. */
  readonly moves: number;
  /** The transaction's id, made when asked for; null outside of one. */
  readonly gtrid: string | null;
  /** When its transaction or statement began, in monotonic ms. */
  readonly startedAtMs: number;
  readonly writes: number;
  readonly priority: number;
  /** Whether it is being committed: it is past being a victim. */
  readonly isProtected: boolean;
  readonly backends: readonly Backend[];
}

/** A client of this process. */
export interface Participant extends ParticipantState {
  /** Whether it is in a transaction, of its own or of pgxa's. */
  readonly isInTransaction: boolean;
  /** How long a wait may last that nobody can look into, in ms; 0 is for ever. */
  readonly lockTimeoutMs: number;
  /** The shards on which a statement of it runs now. */
  readonly runningOn: readonly number[];

  /**
   * Prepares it to lose what it waits for: the cancellation that comes reaches the client as `fault`, and its
   * transaction is rolled back everywhere. False, and nothing happens, if it has moved since `moves`.
   */
  doom(fault: Fault, moves: number): boolean;
  /** The cancellation has been asked for, or was not possible: the client goes on as it stands then. */
  settleDoom(): void;
  /** Asks the shards to cancel what runs, where the detector cannot. */
  cancelRunning(): void;
}

/** Who waits for a connection of a pool, and who holds them. */
export interface LeaseQueue {
  /** The waits of those who hold something themselves, and with `all` of the others too, for whom nobody can wait. */
  waits(all?: boolean): Iterable<{ readonly owner: object; readonly pool: number; readonly sinceMs: number }>;
  holders(pool: number): Iterable<object>;
  /** How many connections of each pool are promised to those who hold some, at most as many as this process may have. */
  readonly taken: number;
  /** Ends the wait of `owner` with `fault`. */
  refuse(owner: object, fault: Fault): void;
}
