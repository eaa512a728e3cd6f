// Pure.
/** A wait for a lock as a shard reports it, in Postgres's own words. */

/** Columns of pg_locks that together name what is locked. https://www.postgresql.org/docs/current/view-pg-locks.html */
export interface LockTag {
  readonly locktype: string;
  readonly database: number | null;
  readonly relation: number | null;
  readonly page: number | null;
  readonly tuple: number | null;
  readonly virtualxid: string | null;
  readonly transactionid: string | null;
  readonly classid: number | null;
  readonly objid: number | null;
  readonly objsubid: number | null;
}

export interface LockWait extends LockTag {
  /** Whose wait it is; for a parallel worker that of its leader. */
  readonly pid: number;
  readonly backendStart: string;
  readonly xactStart: string;
  /** The process that waits. */
  readonly waiterPid: number;
  /** For example `ShareLock`. */
  readonly mode: string;
  /** Null for a moment after the wait began. */
  readonly waitStart: string | null;
  readonly waitedMs: number;
  /** Processes it waits for, holders and those before it in the queue; 0 is a prepared transaction. */
  readonly blockers: readonly number[];
  /** Whether they are Postgres's own word, and not worked out. */
  readonly isExact: boolean;
  /** The gids of the prepared transactions among them. */
  readonly preparedBlockers: readonly string[];
}

/** What is waited for, as Postgres's own deadlock report says it. */
export function describeLock(lock: LockTag): string {
  const { relation, database, page, tuple } = lock;
  const ofRelation = `relation ${relation} of database ${database}`;
  switch (lock.locktype) {
    case "relation":
      return ofRelation;
    case "extend":
      return `extension of ${ofRelation}`;
    case "frozenid":
      return `pg_database.datfrozenxid of database ${database}`;
    case "page":
      return `page ${page} of ${ofRelation}`;
    case "tuple":
      return `tuple (${page},${tuple}) of ${ofRelation}`;
    case "transactionid":
      return `transaction ${lock.transactionid}`;
    case "virtualxid":
      return `virtual transaction ${lock.virtualxid}`;
    case "spectoken":
      return `speculative token ${lock.objid} of transaction ${lock.transactionid}`;
    case "advisory":
      return `advisory lock [${database},${lock.classid},${lock.objid},${lock.objsubid}]`;
    case "object":
      return `object ${lock.objid} of class ${lock.classid} of database ${database}`;
    default:
      return `lock of type ${lock.locktype}`;
  }
}

/** One text for one wait: the same text at another time means that it has never ended. Null if that cannot be said. */
export function waitKey(wait: LockWait): string | null {
  if (wait.waitStart === null) return null;
  const who = [wait.pid, wait.backendStart, wait.xactStart, wait.waiterPid];
  const blockers = [...wait.blockers].sort((one, other) => one - other);
  const what = [describeLock(wait), wait.mode, wait.waitStart, blockers, [...wait.preparedBlockers].sort()];
  return [...who, ...what].join("|");
}
