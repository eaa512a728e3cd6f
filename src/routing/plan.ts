// Pure.
/**
 * What the router knows about one statement text. A plan is made once for each text and kept in the plan cache;
 * it says where the statement goes as far as the text alone can say, and where its key comes from otherwise.
 */
import type { Fault } from "../base/fault.ts";
import type { KeyType } from "../config/config.ts";
import type { AboutPreparing } from "./prepareObstacle.ts";

/** An index into `config.shards`. */
export type ShardIndex = number;

/** One source of the shard key: known from the text, or a parameter of Bind (0-based). */
export type KeySource =
  | { readonly kind: "literal"; readonly shard: ShardIndex }
  | {
      readonly kind: "parameter";
      readonly index: number;
      readonly keyType: KeyType;
      readonly column: string;
      /** The parameter stands elsewhere in the statement too, so that the server may take its type from there. */
      readonly isShared?: true;
    };

export type Target =
  /** The shard is known: by hint, by a single-shard table. */
  | { readonly kind: "shard"; readonly shard: ShardIndex }
  /** Every source must name the same shard; the session asks `resolveKeys()` once parameters are known. */
  | { readonly kind: "keys"; readonly keys: readonly KeySource[] }
  /** Any shard gives the same answer (a read of reference tables, an expression): an open branch is preferred. */
  | { readonly kind: "any" }
  /** The first shard, always the same: sequences, advisory locks, the catalog. */
  | { readonly kind: "default" }
  /** Every shard (a write to a reference table): one answer is passed on, all must agree. */
  | { readonly kind: "all" };

/** What a statement changes in the session that a pooler has to know of. */
export type SessionEffect =
  /**
   * `SET name = …` for the session; `sql` is the statement to say again elsewhere. `null` forgets it (RESET). The name
   * `*` stands for settings that only the shard knows (set_config() for the session, CALL, DO).
   */
  | {
      readonly kind: "set";
      readonly name: string;
      readonly sql: string | null;
      /** The parameter of Bind that has the name (0-based). */
      readonly parameter?: number;
    }
  /** `SET LOCAL`, `SET CONSTRAINTS`: until the transaction ends; said again on a branch that joins later. */
  | { readonly kind: "setLocal"; readonly sql: string }
  /** RESET ALL: every tracked setting is forgotten. */
  | { readonly kind: "resetAll" }
  /** DEALLOCATE ALL: the client's prepared statements are gone. */
  | { readonly kind: "deallocateAll" }
  /** DISCARD ALL: both, and nothing is listened to any more. */
  | { readonly kind: "discardAll" }
  | { readonly kind: "listen"; readonly channel: string }
  /** Null is every channel. */
  | { readonly kind: "unlisten"; readonly channel: string | null }
  /** NOTIFY, pg_notify(): the notification has to be known as the client's. */
  | { readonly kind: "notify" }
  /** CREATE, ALTER, DROP and the like: names in other statements' texts may mean something else now. */
  | { readonly kind: "schema" }
  /** PREPARE; `sql` is all of it, `inner` what EXECUTE of it does. */
  | {
      readonly kind: "prepare";
      readonly name: string;
      readonly sql: string;
      readonly inner: readonly SessionEffect[];
    }
  /** EXECUTE, in EXPLAIN or CREATE TABLE AS too: the statement has to be there. */
  | { readonly kind: "execute"; readonly name: string }
  | { readonly kind: "deallocate"; readonly name: string }
  /** State that cannot be carried: the client keeps its server connection. */
  | { readonly kind: "pin"; readonly reason: PinReason }
  /** A temporary table that is gone when its transaction ends. */
  | { readonly kind: "temporary" }
  /** State of that kind may be gone now. */
  | { readonly kind: "unpin" };

/** What of a session cannot be carried from server connection to server connection. */
export type PinReason =
  | "temporary table"
  | "hold cursor"
  | "advisory lock"
  | "prepare"
  /** One of unknown name. */
  | "setting"
  | "load";

/** The settings that pgxa answers for itself. */
export type OwnSetting =
  | "pgxa.shard"
  | "pgxa.key"
  | "pgxa.lock_timeout"
  | "pgxa.deadlock_priority"
  | "pgxa.standby";

/** What a text says of standbys; absent: nothing. */
export interface AboutStandbys {
  /** Its hint. */
  readonly standby?: boolean;
  /** It takes advisory locks, uses sequences or the like. */
  readonly isForPrimary?: true;
  /** A standby would do it all the same, and should not. */
  readonly isBeyondStandby?: true;
}

export type Plan =
  | ({
      readonly kind: "statement";
      readonly target: Target;
      /** `write` unless the text proves that nothing is written or locked. */
      readonly access: "read" | "write";
      readonly effects: readonly SessionEffect[];
      /** Whether the statement must not run in a transaction block (VACUUM, CREATE DATABASE, …). */
      readonly outsideBlock: boolean;
    } & AboutStandbys &
      AboutPreparing)
  | { readonly kind: "empty" }
  /** BEGIN / START TRANSACTION; `characteristics` is empty or for example ` ISOLATION LEVEL SERIALIZABLE READ ONLY`. */
  | ({
      readonly kind: "begin";
      readonly characteristics: string;
      readonly tag: "BEGIN" | "START TRANSACTION";
    } & AboutStandbys)
  | { readonly kind: "commit"; readonly chain: boolean }
  | { readonly kind: "rollback"; readonly chain: boolean }
  | { readonly kind: "savepoint"; readonly name: string }
  | { readonly kind: "release"; readonly name: string }
  | { readonly kind: "rollbackTo"; readonly name: string }
  /** SET TRANSACTION …: belongs to the transaction's characteristics while no branch is open. */
  | { readonly kind: "setTransaction"; readonly characteristics: string; readonly sql: string }
  /** SET / RESET / SHOW of a session setting: `show` needs any shard; `set` is tracked and applied lazily. */
  | {
      readonly kind: "set";
      readonly effect: SessionEffect;
      readonly tag: "SET" | "RESET" | "DISCARD ALL";
      readonly sql: string;
    }
  /** `SET pgxa.shard` and the others of pgxa's own: answered by pgxa; `value` null is RESET or an empty string. */
  | {
      readonly kind: "hintSetting";
      readonly name: OwnSetting;
      readonly value: string | null;
      readonly local: boolean;
    }
  | { readonly kind: "showHintSetting"; readonly name: OwnSetting }
  /** PREPARE in SQL; `sql` is all of it, `query` what it prepares. */
  | { readonly kind: "prepare"; readonly name: string; readonly sql: string; readonly query: string }
  /** EXECUTE of a prepared statement; `args` are the texts of its arguments. */
  | { readonly kind: "execute"; readonly name: string; readonly args: readonly string[] }
  /** DEALLOCATE of a prepared statement, or of all (null). */
  | { readonly kind: "deallocate"; readonly name: string | null }
  /** Not routable; `hinted` is what it becomes once the user says where to, null where even that is not right. */
  | { readonly kind: "refused"; readonly fault: Fault; readonly hinted: StatementPlan | null };

export type StatementPlan = Extract<Plan, { kind: "statement" }>;
