/**
 * pgxa as its console and its metrics see it: plain values, taken at the moment of the question.
 *
 * Who knows them is further up the house; it implements `Sources`.
 */
import type { DeadlockRecord } from "../deadlock/history.ts";
import type { WaitRow } from "../deadlock/report.ts";
import type { Buckets } from "../observe/buckets.ts";
import type { Totals } from "../observe/traffic.ts";
import type { Operations } from "./operations.ts";
import type { Averages } from "./statistics.ts";
import type { FactName } from "./workers/facts.ts";

/** Both ends of a connection; empty and 0 where there is none any more. */
export interface EndpointView {
  readonly address: string;
  readonly port: number;
  readonly localAddress: string;
  readonly localPort: number;
}

export type ClientState = "active" | "idle" | "waiting";

export interface ClientView {
  /** The process id that it was given. */
  readonly pid: number;
  readonly user: string;
  readonly database: string;
  /** `active`: it holds a server connection. */
  readonly state: ClientState;
  readonly endpoint: EndpointView;
  readonly applicationName: string;
  /** Wall times, in ms since 1970. */
  readonly connectedAtMs: number;
  /** When its last query began; the login before the first. */
  readonly requestedAtMs: number;
  /** How long it has been waiting for a server connection; 0 if it does not. */
  readonly waitMs: number;
  readonly statements: number;
  /** Of its first server connection; null while it has none. */
  readonly link: string | null;
}

export type ServerState = "active" | "idle" | "login";

export interface ServerView {
  /** Its name: shard and process id. */
  readonly id: string;
  readonly shard: string;
  /** As clients name it. */
  readonly database: string;
  /** Of its client; the one it logged in as while there is none. */
  readonly user: string;
  readonly state: Exclude<ServerState, "login">;
  readonly endpoint: EndpointView;
  readonly connectedAtMs: number;
  readonly requestedAtMs: number;
  readonly pid: number;
  /** The process id of the client that holds it. */
  readonly client: number | null;
  readonly statements: number;
}

/** One database's connections to one shard. */
export interface PoolView {
  readonly shard: string;
  /** Absent: to the primary. */
  readonly role?: "standby";
  readonly host: string;
  readonly port: number;
  /** The database's name on the shard. */
  readonly database: string;
  readonly user: string;
  readonly min: number;
  readonly max: number;
  readonly servers: Readonly<Record<ServerState, number>>;
  /** Clients that are queued for a connection. */
  readonly queued: number;
  /** How long it took to get one that was not there at once. */
  readonly checkout: Buckets;
}

export interface DatabaseView {
  readonly name: string;
  readonly mode: string;
  /** Null: it is that of `pool.mode`. */
  readonly ownMode: string | null;
  readonly isConsole: boolean;
  readonly clients: number;
  readonly pools: readonly PoolView[];
}

export interface UserView {
  readonly name: string;
  readonly mode: string | null;
}

export interface BranchView {
  readonly shard: string;
  readonly pid: number;
  /** As ReadyForQuery has it: T or E. */
  readonly status: string;
  /** Null where statements are not looked at. */
  readonly wrote: boolean | null;
}

export interface TransactionView {
  readonly client: number;
  readonly database: string;
  readonly user: string;
  readonly gtrid: string | null;
  readonly status: string;
  readonly ageMs: number;
  readonly branches: readonly BranchView[];
}

export interface InDoubtView {
  readonly gid: string;
  readonly gtrid: string;
  readonly shard: string;
  /** Wall time; null if it is not prepared any more. */
  readonly preparedAtMs: number | null;
  /** How many transactions ago it took its snapshot: what it keeps VACUUM from. */
  readonly xminAge: number | null;
  readonly reason: string;
}

/** A branch in doubt as its shard has it now; null where that could not be asked. */
export interface InDoubtDetails {
  /** Null: a row about what is not of the fleet. */
  readonly gid: string | null;
  readonly gtrid: string | null;
  readonly shard: string;
  /** Whose it is. */
  readonly coordinator: string | null;
  readonly database: string | null;
  /** The role that prepared it. */
  readonly owner: string | null;
  readonly ageMs: number | null;
  readonly preparedAtMs: number | null;
  readonly xid: string | null;
  readonly xminAge: number | null;
  /** Whether nothing on the server is older. */
  readonly holdsBackVacuum: boolean | null;
  readonly lockCount: number | null;
  /** Relations with modes. */
  readonly locks: readonly string[];
  /** Clients, or processes that are none of pgxa's. */
  readonly waiters: readonly string[];
  /** commit, abort, none or unknown. */
  readonly decision: string | null;
  readonly reason: string;
  readonly nextLookMs: number | null;
}

/** What an operator decided about a transaction in doubt. */
export interface HeuristicView {
  readonly gtrid: string;
  readonly outcome: string;
  readonly by: string;
  readonly reason: string;
  readonly atMs: number;
  /** What has become known since. */
  readonly verdict: string;
}

export interface DecisionView {
  readonly gtrid: string;
  readonly participants: readonly {
    readonly shard: string;
    readonly gid: string;
    readonly xid: string | null;
  }[];
}

/** What a monitor knows of a shard. */
export interface ShardHealth {
  readonly state: "up" | "suspect" | "down";
  readonly reason: string | null;
  readonly breaker: "closed" | "open" | "half_open";
}

export interface ShardView {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  /** Null: nobody watches it. */
  readonly health: ShardHealth | null;
}

/** A table of the routing configuration. */
export interface RouteView {
  readonly table: string;
  readonly kind: string;
  readonly key: string | null;
  readonly keyType: string | null;
  readonly shard: string | null;
}

export interface PlanCacheView {
  readonly plans: number;
  readonly hits: number;
  /** Of the hits, those of a text that differs from those seen before in its literals. */
  readonly normalisedHits: number;
  readonly misses: number;
}

export interface LimitsView {
  readonly clientsMax: number;
  readonly serverLifetimeMs: number;
}

export interface OptionView {
  readonly key: string;
  readonly value: string | null;
  readonly default: string | null;
  readonly isLive: boolean;
}

export interface PinView {
  /** The process id that the client was given. */
  readonly client: number;
  readonly shard: string;
  /** Of the server. */
  readonly pid: number;
  readonly reasons: readonly string[];
  readonly pinnedMs: number;
}

/** What the commit of transactions over several shards has counted. */
/** Slots for prepared transactions. */
export interface SlotsView {
  readonly shard: string;
  /** Taken by this process. */
  readonly used: number;
  /** How many its server has; null while that is not known. */
  readonly max: number | null;
}

export interface CommitView {
  readonly outcomes: Readonly<Record<"committed" | "aborted" | "unknown", number>>;
  readonly phases: Readonly<Record<"one" | "two", number>>;
  readonly steps: Readonly<Record<"prepare" | "decide" | "commit_prepared", Buckets>>;
  readonly logSync: Buckets;
  readonly slots: readonly SlotsView[];
  /** How many branches the resolver has finished. */
  readonly resolved: number;
}

/** What clients of one database have done. */
export interface TrafficView {
  readonly name: string;
  readonly totals: Totals;
  readonly errors: ReadonlyMap<string, number>;
  readonly query: Buckets;
  readonly transaction: Buckets;
  readonly wait: Buckets;
}

/** Of the process, in bytes; as Node has it. */
export interface MemoryView {
  readonly rss: number;
  readonly heapTotal: number;
  readonly heapUsed: number;
  readonly external: number;
  readonly arrayBuffers: number;
}

/** The processes that serve clients. */
export interface WorkersView {
  readonly running: number;
  /** How many were started in place of one that had died. */
  readonly restarts: number;
}

/** How operators have set it. */
export type OperationsView = Pick<Operations, "state" | "isPaused" | "isDisabled">;

/** What can be shown, of one process or of all workers. */
export interface Shown {
  readonly version: string;
  wallMs(): number;
  readonly traffic: {
    readonly databases: Iterable<TrafficView>;
    readonly refusals: ReadonlyMap<string, number>;
  };
  readonly statistics: { of(database: string): Averages };
  clients(): readonly ClientView[];
  /** How many connections are on their way in. */
  handshakes(): number;
  servers(): readonly ServerView[];
  databases(): readonly DatabaseView[];
  users(): readonly UserView[];
  transactions(): readonly TransactionView[];
  shards(): readonly ShardView[];
  routes(): readonly RouteView[];
  planCache(): PlanCacheView;
  options(): readonly OptionView[];
  limits(): LimitsView;
  pins(): readonly PinView[];
  inDoubt(): readonly InDoubtView[];
  /** The same with what the shards say now, whom it keeps waiting, and what belongs to others; asks the shards. */
  inDoubtNow(): Promise<readonly InDoubtDetails[]>;
  heuristics(): Promise<readonly HeuristicView[]>;
  /** How many of them there are, by what is known of them. */
  heuristicCounts(): Readonly<Record<string, number>>;
  /** The same by transaction. */
  heuristicVerdicts(): Readonly<Record<string, string>>;
  decisions(): readonly DecisionView[];
  /** Null with one shard. */
  commits(): CommitView | null;
  /** Every wait for a lock or a connection now; asks the shards. */
  waits(): Promise<readonly WaitRow[]>;
  /** The last deadlocks, oldest first. */
  deadlocks(): readonly DeadlockRecord[];
  /** How long statements took that were looked into for lock waits: longer than `deadlock.probe_after`. */
  readonly lockWaits: Buckets;
  /** Whether it is on its way to the end, by whatever way it was told. */
  readonly isDraining: boolean;
  /** Null: nobody has. */
  readonly operations: OperationsView | null;
  memory(): MemoryView;
  workers(): WorkersView;
}

/** A process that serves clients. */
export interface Sources extends Shown {
  /** Null: nobody is there to perform them. */
  readonly operations: Operations | null;
  /** Resolves with what all workers together have, as far as `facts` tell it. Null: there is one process. */
  readonly everywhere: ((facts: readonly FactName[]) => Promise<Shown>) | null;
}
