/**
 * Ids that must not be mistaken for one another.
 *
 * A branded type is the plain value at run time; the brand exists for the type checker only. Values enter the
 * brand at the edge that learns them (configuration, BackendKeyData, the gid builder) and nowhere else.
 */

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** The configured name of a shard, for example `east`. */
export type ShardId = Branded<string, "ShardId">;
/** A transaction's own id; the part that its gids share. */
export type Gtrid = Branded<string, "Gtrid">;
/** The name given to `PREPARE TRANSACTION`: one for each branch, 1 to 199 bytes. */
export type Gid = Branded<string, "Gid">;
/** A Postgres backend's process id. Reused by the operating system: never a key without its backend_start. */
export type BackendPid = Branded<number, "BackendPid">;
/** A full 64-bit transaction id as `pg_current_xact_id()` prints it. */
export type Xid = Branded<string, "Xid">;

export const shardId = (name: string): ShardId => name as ShardId;
export const gtridOf = (text: string): Gtrid => text as Gtrid;
export const gidOf = (text: string): Gid => text as Gid;
export const backendPid = (pid: number): BackendPid => pid as BackendPid;
export const xidOf = (text: string): Xid => text as Xid;
