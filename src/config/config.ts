/**
 * The configuration as the program sees it: validated, complete, every quantity with its unit in its name.
 *
 * `options.ts` is the one table from which this value, its validator and the reference page come; `load.ts`
 * turns YAML and environment into it. Everything here is read-only data.
 */
import type { ShardId } from "../base/brands.ts";
import type { LogLevel } from "../observe/log.ts";

export interface ShardConfig {
  readonly id: ShardId;
  readonly host: string;
  readonly port: number;
  /** The database's name on this shard. */
  readonly database: string;
  /** The role pgxa logs in as. */
  readonly user: string;
  readonly password: string | undefined;
}

/** The types a shard key may have. `varchar` hashes like `text`. */
export type KeyType =
  | "int2"
  | "int4"
  | "int8"
  | "text"
  | "varchar"
  | "uuid"
  | "numeric"
  | "date"
  | "timestamptz";

export interface ShardedTableConfig {
  readonly kind: "sharded";
  readonly schema: string;
  readonly name: string;
  readonly key: string;
  readonly keyType: KeyType;
}

export interface ReferenceTableConfig {
  readonly kind: "reference";
  readonly schema: string;
  readonly name: string;
}

export interface SingleTableConfig {
  readonly kind: "single";
  readonly schema: string;
  readonly name: string;
  readonly shard: ShardId;
}

export type TableConfig = ShardedTableConfig | ReferenceTableConfig | SingleTableConfig;

export interface UserConfig {
  readonly name: string;
  /** Clear text, or a `SCRAM-SHA-256$…` secret as pg_authid has it. */
  readonly password: string | undefined;
  /** Undefined: that of the database. */
  readonly mode: PoolMode | undefined;
}

/** How long a client keeps a server connection. */
export type PoolMode = "session" | "transaction" | "statement";
/** Whether clients may keep theirs for state that cannot be carried. */
export type Pins = "allow" | "refuse";

export interface PoolConfig {
  readonly min: number;
  readonly max: number;
  readonly checkoutTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly lifetimeMs: number;
  readonly connectTimeoutMs: number;
  /** How many clients may be queued for one pool. */
  readonly queueMax: number;
  readonly mode: PoolMode;
  readonly pins: Pins;
  /** Whether a connection that goes back is made as new, or what is known to have changed on it is changed back. */
  readonly reset: "tracked" | "always";
  /** Whether often-seen unnamed statements stay prepared on server connections. */
  readonly prepareUnnamed: boolean;
}

export interface DeadlockConfig {
  readonly probeAfterMs: number;
  readonly victim: "least_work" | "youngest" | "priority";
  /** 0: for ever. */
  readonly lockTimeoutMs: number;
}

export interface TransactionConfig {
  /** Where commits are decided. */
  readonly log: "file" | "shard";
  /** Where the `file` decision log lives; one process owns it. Empty: there is none. */
  readonly logDirectory: string;
  /** How long others of the fleet take this process to be alive without a sign of it. */
  readonly leaseMs: number;
  readonly prepareTimeoutMs: number;
  readonly commitTimeoutMs: number;
  readonly commitAck: "applied" | "decided";
  readonly resolveIntervalMs: number;
}

export interface LimitsConfig {
  readonly clientsMax: number;
  readonly startupTimeoutMs: number;
  readonly startupBytesMax: number;
  /** The longest message a client may send, in bytes. */
  readonly messageBytesMax: number;
  /** The longest that is held as a whole, in bytes. */
  readonly messageHeldMax: number;
  /** How many prepared statements a client may keep. */
  readonly statementsMax: number;
}

/** A database that clients may name. */
export interface DatabaseConfig {
  readonly name: string;
  /** Its name on the shards; undefined: what each shard's entry says, or the same. */
  readonly database: string | undefined;
  /** Undefined: `pool.mode`. */
  readonly mode: PoolMode | undefined;
}

export interface Config {
  readonly listen: { readonly host: string; readonly port: number };
  /** The database clients name. */
  readonly database: string;
  /** That one, and others in front of one shard; the name `*` stands for all that are not listed. */
  readonly databases: readonly DatabaseConfig[];
  /** The part of every gid that says whose it is: letters, digits, `_` and `-`, at most 32. */
  readonly fleet: string;
  /** This process's name within the fleet. */
  readonly coordinator: string;
  readonly shards: readonly ShardConfig[];
  readonly tables: readonly TableConfig[];
  readonly users: readonly UserConfig[];
  readonly auth: {
    readonly method: "scram-sha-256" | "trust";
    /** Whether clients on a loopback address need no password. */
    readonly trustLoopback: boolean;
  };
  readonly pool: PoolConfig;
  readonly transaction: TransactionConfig;
  readonly deadlock: DeadlockConfig;
  /** Where Prometheus reads; port 0 is nowhere. */
  readonly metrics: { readonly host: string; readonly port: number };
  readonly limits: LimitsConfig;
  /** What SIGTERM does: how long everything goes on, and how long transactions may take to end then. */
  readonly shutdown: { readonly delayMs: number; readonly timeoutMs: number };
  readonly log: { readonly level: LogLevel };
}
