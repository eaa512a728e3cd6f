// Pure.
/**
 * The other processes of one pgxa, its workers, as far as deadlocks go: a circle may lead through clients of several.
 *
 * Whoever sees a wait that may lead to another worker's client asks them all for their share of the snapshot. Who judges
 * does so in turn: between its second look and the victim's being told, nobody else breaks anything, so that one circle
 * loses one.
 */
import type { DeadlockCause } from "./history.ts";
import type { LockWait } from "./lockWait.ts";
import type { ParticipantState } from "./participant.ts";
import type { WaitRow } from "./report.ts";

/** A client of another worker. */
export interface SharedClient extends ParticipantState {
  /** When its transaction or statement began, as its worker counts since 1970: the same whoever asks. */
  readonly startedAtMs: number;
  readonly wasVictim: boolean;
  /** Whether it has been told to give way. */
  readonly givesWay: boolean;
}

/** A wait for a connection of a pool. */
export interface SharedPoolWait {
  readonly client: number;
  readonly pool: number;
  readonly waitedMs: number;
}

/** What one worker knows of who waits, at one moment. */
export interface SnapshotShare {
  /** Those that hold something or wait. */
  readonly clients: readonly SharedClient[];
  readonly poolWaits: readonly SharedPoolWait[];
  /** For each pool the clients that hold its connections. */
  readonly holders: readonly (readonly number[])[];
  /** How many connections of each pool others cannot have while these clients stay. */
  readonly taken: number;
  /** The shards on which something runs that is watched, or waits for a connection. */
  readonly watchedOn: readonly number[];
}

export interface PeerShare extends SnapshotShare {
  /** The worker's number. */
  readonly worker: number;
}

export interface PeerShares {
  readonly shares: readonly PeerShare[];
  /** False: somebody did not answer in time. */
  readonly isWhole: boolean;
}

/** Who has to give way, and why. */
export interface Verdict {
  readonly client: number;
  /** It holds only while the client has not moved since. */
  readonly moves: number;
  /** The waits for locks that are to be cancelled. */
  readonly locks: readonly { readonly shard: number; readonly wait: LockWait }[];
  /** Whether it waits for a connection instead. */
  readonly isPoolWait: boolean;
  readonly cause: DeadlockCause;
  readonly detectionMs: number;
  readonly circle: readonly WaitRow[];
}

export interface Peers {
  /** How many connections of a pool all workers may have together, and how many this one keeps even without use. */
  readonly pool: { readonly max: number; readonly least: number };
  /** What the others know now; never rejects, and takes a bounded time. `all`: with those who hold nothing. */
  shares(all: boolean): Promise<PeerShares>;
  /** Does `work` while no other worker does; begins after a bounded time in any case. */
  inTurn(work: () => Promise<void>): Promise<void>;
  /** Has `worker` execute the verdict; resolves when it has begun to or will not, after a bounded time. */
  execute(worker: number, verdict: Verdict): Promise<void>;
}
