/**
 * The configuration as the program sees it: validated, complete, every quantity with its unit in its name.
 *
 * `options.ts` is the one table from which this value, its validator and the reference page come; `load.ts`
 * turns YAML and environment into it. Everything here is read-only data.
 */
import type { ShardId } from "../base/brands.ts";
import type { LogLevel } from "../observe/log.ts";

/** https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION */
export type TlsMode = "disable" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full";

export interface ClientTlsConfig {
  readonly mode: TlsMode;
  /** Both are there unless the mode is disable. */
  readonly keyFile: string | undefined;
  readonly certFile: string | undefined;
  /** There if the mode is verify-ca or verify-full. */
  readonly caFile: string | undefined;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
  /** Undefined: Node's choice. */
  readonly ciphers: string | undefined;
}

export interface ShardTlsConfig {
  readonly mode: TlsMode;
  /** A file, or `system`. */
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  readonly negotiation: "postgres" | "direct";
}

export interface ListenConfig {
  readonly host: string;
  readonly port: number;
  /** Where the Unix socket is; undefined: there is none. */
  readonly unixDirectory: string | undefined;
  /** The mode of its file. */
  readonly unixMode: number;
}

/** Where a server listens. */
export interface Endpoint {
  /** With a slash in front: the directory of its Unix socket. */
  readonly host: string;
  readonly port: number;
}

export interface ShardConfig extends Endpoint {
  readonly id: ShardId;
  /** All its servers, of which the first is `host` and `port`; undefined: that is the only one. */
  readonly hosts?: readonly Endpoint[] | undefined;
  /** The database's name on this shard. */
  readonly database: string;
  /** The role pgxa logs in as. */
  readonly user: string;
  readonly password: string | undefined;
  /** Undefined: no TLS. */
  readonly tls?: ShardTlsConfig | undefined;
  /** In place of the password: a client's own keys, passed through. Never from the file. */
  readonly scramKeys?: { readonly clientKey: Uint8Array; readonly serverKey: Uint8Array } | undefined;
  /** Whether its sessions begin read only: those of standbys. Never from the file. */
  readonly isReadOnly?: boolean;
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

/** How long clients may take over what, in ms; 0: for ever. */
export interface TimeoutsConfig {
  readonly clientIdleMs: number;
  readonly idleInTransactionMs: number;
  readonly transactionMs: number;
  readonly statementMs: number;
}

/** What a user or a database has of its own. */
export interface OwnLimits {
  /** Undefined: that of all users or databases; 0: no limit. */
  readonly clientsMax: number | undefined;
  readonly poolMax: number | undefined;
  readonly timeouts: Partial<TimeoutsConfig>;
}

/** A class of clients in the queues for server connections. */
export interface ClassConfig {
  readonly name: string;
  /** Patterns, one of which has to match; null: any does. */
  readonly users: readonly string[] | null;
  readonly databases: readonly string[] | null;
  readonly applications: readonly string[] | null;
  readonly weight: number;
  readonly connectionsMax: number | undefined;
}

export interface UserConfig extends OwnLimits {
  readonly name: string;
  /** Clear text, or a `SCRAM-SHA-256$…` or `md5…` secret as pg_authid has it. */
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
  /** How many more while somebody has waited for longer than `reserveTimeoutMs`. */
  readonly reserve: number;
  readonly reserveTimeoutMs: number;
  /** After which time in the queue a client is told; 0: never. */
  readonly noticeAfterMs: number;
  readonly checkoutTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly lifetimeMs: number;
  readonly connectTimeoutMs: number;
  /** Idle for longer than this, a connection is checked before it is lent. */
  readonly checkAfterMs: number;
  /** How many clients may be queued for one pool. */
  readonly queueMax: number;
  readonly mode: PoolMode;
  readonly pins: Pins;
  /** Whether a connection that goes back is made as new, or what is known to have changed on it is changed back. */
  readonly reset: "tracked" | "always";
  /** Whether often-seen unnamed statements stay prepared on server connections. */
  readonly prepareUnnamed: boolean;
}

export interface HealthConfig {
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** In a row, until a server counts as down. */
  readonly failures: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  readonly giveUpMs: number;
}

/** What may be read from standbys. */
export type StandbyReads = "off" | "hinted" | "read_only";

export interface StandbysConfig {
  readonly reads: StandbyReads;
  readonly lagMaxMs: number;
  readonly fallback: "primary" | "refuse";
  /** Undefined: as many as to the primary. */
  readonly poolMax: number | undefined;
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
  /** How the log of files makes decisions durable. */
  readonly sync: "fsync" | "fdatasync" | "none";
  /** How long others of the fleet take this process to be alive without a sign of it. */
  readonly leaseMs: number;
  readonly prepareTimeoutMs: number;
  readonly commitTimeoutMs: number;
  readonly commitAck: "applied" | "decided";
  /** What becomes of a statement with which the transaction could not be committed. */
  readonly onUnpreparable: "refuse" | "warn";
  readonly resolveIntervalMs: number;
}

/** The online restart. */
export interface RestartConfig {
  /** How long the new process may take until it can serve. */
  readonly startTimeoutMs: number;
  /** How long the old one stays for clients that cannot be handed over. */
  readonly timeoutMs: number;
}

export interface LimitsConfig {
  readonly clientsMax: number;
  /** The next three: 0 is no limit. */
  readonly userClientsMax: number;
  readonly databaseClientsMax: number;
  readonly addressClientsMax: number;
  readonly startupTimeoutMs: number;
  readonly startupBytesMax: number;
  /** The longest message a client may send, in bytes. */
  readonly messageBytesMax: number;
  /** The longest that is held as a whole, in bytes. */
  readonly messageHeldMax: number;
  /** How many prepared statements a client may keep. */
  readonly statementsMax: number;
  /** How many connections may not have proved yet who they are; of one address. */
  readonly handshakesMax: number;
  readonly handshakesPerAddressMax: number;
}

export type AuthMethod = "scram-sha-256" | "md5" | "password" | "cert" | "peer" | "trust";

export interface AuthConfig {
  readonly method: AuthMethod | "hba";
  /** Whether clients on a loopback address need no password. */
  readonly trustLoopback: boolean;
  /** Whether a password may come in clear text over a network that anybody may listen to. */
  readonly allowClearText: boolean;
  readonly hbaFile: string | undefined;
  readonly identFile: string | undefined;
  readonly usersFile: string | undefined;
  /** Null: no shard is asked about users. */
  readonly query: AuthQueryConfig | null;
  /** 0: no limit. */
  /** Whether the shard is logged in to as the client's own user. */
  readonly passThrough: boolean;
  readonly failuresMax: number;
  readonly failuresWindowMs: number;
  readonly failuresExemptLocal: boolean;
}

export interface AuthQueryConfig {
  readonly text: string;
  readonly user: string;
  readonly password: string | undefined;
  /** Undefined: the first. */
  readonly shard: ShardId | undefined;
  /** Undefined: that of the shard. */
  readonly database: string | undefined;
  readonly cacheMs: number;
  readonly timeoutMs: number;
  readonly connectionsMax: number;
}

/** A database that clients may name. */
export interface DatabaseConfig extends OwnLimits {
  readonly name: string;
  /** Its name on the shards; undefined: what each shard's entry says, or the same. */
  readonly database: string | undefined;
  /** Undefined: `pool.mode`. */
  readonly mode: PoolMode | undefined;
}

export interface Config {
  readonly listen: ListenConfig;
  /** How many processes serve clients; auto: one for each processor. */
  readonly workers: number | "auto";
  readonly clientTls: ClientTlsConfig;
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
  readonly auth: AuthConfig;
  /** Who may use the console, by name. */
  readonly console: { readonly adminUsers: readonly string[]; readonly statsUsers: readonly string[] };
  readonly pool: PoolConfig;
  readonly health: HealthConfig;
  readonly standbys: StandbysConfig;
  /** In the order in which they are tried. */
  readonly classes: readonly ClassConfig[];
  readonly timeouts: TimeoutsConfig;
  readonly transaction: TransactionConfig;
  readonly deadlock: DeadlockConfig;
  /** Where Prometheus reads; port 0 is nowhere. */
  readonly metrics: {
    readonly host: string;
    readonly port: number;
    /** Whether pgbouncer_exporter's names are there, too. */
    readonly pgbouncerNames: boolean;
  };
  readonly limits: LimitsConfig;
  /** What SIGTERM does: how long everything goes on, and how long transactions may take to end then. */
  readonly shutdown: { readonly delayMs: number; readonly timeoutMs: number };
  readonly restart: RestartConfig;
  /** Where the process id is written to. */
  readonly pidFile: string | undefined;
  readonly log: { readonly level: LogLevel };
}
