// Pure.
/**
 * Executes what pgxa sends on a simulated shard: exactly the statements of src/txn, and no others. One that is not
 * known here throws, so that what is tried here cannot come apart from what is sent.
 *
 * A statement that Postgres does not do in one go is done in two parts, and others may come in between: the anchor's
 * decision and its commit; the look for a prepared transaction and its end.
 */
import { gidOf } from "../../src/base/brands.ts";
import { CONTROL_SETTINGS, IDENTITY, type Row } from "../../src/txn/controlSession.ts";
import {
  ALIVE,
  finishStatement,
  PING,
  PREPARED,
  TERMINATE,
  XACT_STATUS,
} from "../../src/txn/shardControl.ts";
import {
  CONCLUDE,
  DECIDE,
  DECISION_KEY,
  FENCE_OWNER,
  FORGET_ABORTS,
  FORGET_OWNERS,
  KEEP_LEASE,
  READ_DECISIONS,
  READ_EPOCH,
  READ_LIVING,
  READ_OLD_COMMITS,
  READ_OWNER,
  READ_VERSION,
  SCHEMA_VERSION,
  TAKE_EPOCH,
} from "../../src/txn/shardLog/schema.ts";
import { ASK_XID, COMMIT_DECISION, prepareStatement, XID } from "../../src/txn/vote.ts";
import type { ErrorFields } from "../../src/wire/errorFields.ts";
import type { KeptStatement } from "../../src/wire/keptStatement.ts";
import type { Backend, SimulatedPostgres } from "./simulatedPostgres.ts";

export type Answer =
  | { readonly kind: "rows"; readonly rows: readonly Row[]; readonly tags: readonly string[] }
  | { readonly kind: "error"; readonly error: ErrorFields };

type Values = readonly unknown[];
type Handler = (shard: SimulatedPostgres, values: Values) => readonly Row[];

/** What a test changes to see whether it is noticed. */
export interface StatementRules {
  /** Whether who comes second to decide wins. */
  readonly lastWriterWins: boolean;
}
export const POSTGRES_RULES: StatementRules = { lastWriterWins: false };

/** A batch of two, as one text. */
export const batchText = (first: KeptStatement, sql: string): string => `${first.text}; ${sql}`;

/** Its values are the transaction's name and its participants. */
const ANCHOR = batchText(COMMIT_DECISION, "COMMIT");

/** Whether it has to wait for somebody else's transaction, which inserts the same key. */
export function mustWait(
  shard: SimulatedPostgres,
  backend: Backend | null,
  sql: string,
  values: Values,
): boolean {
  const gtrid = sql === DECIDE || sql === ANCHOR ? String(values[0]) : undefined;
  const insertion = gtrid === undefined ? undefined : shard.insertions.get(gtrid);
  return insertion !== undefined && insertion.by !== backend;
}

/** Whether it can change what another backend is at. */
export const isFarReaching = (sql: string): boolean => sql === TERMINATE;

const READS: ReadonlySet<string> = new Set([
  ...[ASK_XID, PING, IDENTITY, PREPARED, XACT_STATUS, ALIVE, READ_DECISIONS, READ_VERSION, READ_LIVING],
  ...[READ_EPOCH, READ_OWNER, READ_OLD_COMMITS],
]);

/** Whether it makes no difference if nobody hears the answer. */
export const isRead = (sql: string): boolean => READS.has(sql);

/** The answer; null: a first part is done, and the statement is to be executed again. */
export function execute(
  shard: SimulatedPostgres,
  backend: Backend,
  sql: string,
  values: Values,
  rules: StatementRules = POSTGRES_RULES,
): Answer | null {
  const finish = finishOf(sql);
  if (finish !== null) return finishPrepared(shard, backend, finish);
  if (sql === DECIDE) return done(decide(shard, values, rules), "INSERT 0 1");
  const control = CONTROL[sql];
  if (control !== undefined) return done(control(shard, values), "SELECT");
  return executeInBranch(shard, backend, sql, values, rules);
}

function executeInBranch(
  shard: SimulatedPostgres,
  backend: Backend,
  sql: string,
  values: Values,
  rules: StatementRules,
): Answer | null {
  const { branch } = backend;
  const gid = prepareOf(sql);
  if (gid !== null) {
    if (branch === null) return done([{ xid: null }], "SELECT 1", "ROLLBACK");
    if (branch.refuses === "prepare") return refuse(shard, backend);
    shard.prepare(backend, gid);
    return done([{ xid: branch.xid }], "SELECT 1", "PREPARE TRANSACTION");
  }
  if (sql === ANCHOR) return commitAnchor(shard, backend, values as AnchorValues, rules);
  switch (sql) {
    case ASK_XID:
      return done([{ xid: branch?.xid ?? null }], "SELECT 1");
    case "ROLLBACK":
      shard.rollBack(backend);
      return done([], "ROLLBACK");
    case "COMMIT":
      if (branch?.refuses === "commit") return refuse(shard, backend);
      shard.commit(backend);
      return done([], "COMMIT");
    default:
      throw new Error(`the simulated shard does not know the statement ${sql}`);
  }
}

type AnchorValues = readonly [gtrid: string, participants: string];

/** First the row, which makes others wait; then the commit. */
function commitAnchor(
  shard: SimulatedPostgres,
  backend: Backend,
  [gtrid, participants]: AnchorValues,
  rules: StatementRules,
): Answer | null {
  if (backend.branch === null) return done([], "INSERT 0 1", "ROLLBACK");
  if (!backend.isHalfway) {
    const isTaken = shard.decisions.has(gtrid) && !rules.lastWriterWins;
    if (isTaken) return duplicateKey(shard, backend);
    shard.insertions.set(gtrid, { by: backend, row: { outcome: "commit", participants, isOld: false } });
    backend.isHalfway = true;
    return null;
  }
  if (backend.branch.refuses === "commit") return refuse(shard, backend);
  shard.commit(backend);
  return done([], "INSERT 0 1", "COMMIT");
}

function finishPrepared(
  shard: SimulatedPostgres,
  backend: Backend,
  { verb, gid }: { readonly verb: "COMMIT" | "ROLLBACK"; readonly gid: string },
): Answer | null {
  const found = shard.prepared.get(gid);
  if (found === undefined)
    return failed("42704", `prepared transaction with identifier "${gid}" does not exist`);
  if (found.finisher === null) {
    found.finisher = backend;
    return null;
  }
  if (found.finisher !== backend)
    return failed("55000", `prepared transaction with identifier "${gid}" is busy`);
  shard.finish(gid, verb === "COMMIT" ? "committed" : "aborted");
  return done([], `${verb} PREPARED`);
}

function decide(shard: SimulatedPostgres, values: Values, rules: StatementRules): readonly Row[] {
  const [gtrid, outcome, participants] = values as [string, "commit" | "abort", string];
  if (rules.lastWriterWins || !shard.decisions.has(gtrid)) {
    shard.decisions.set(gtrid, { outcome, participants, isOld: false });
  }
  const row = shard.decisions.get(gtrid)!;
  return [{ outcome: row.outcome, participants: row.participants }];
}

const AGE_MS_OLD = 3_600_000;
const EPOCH_KEY = (values: Values): string => `${values[1]}:${values[2]}`;

const CONTROL: Readonly<Record<string, Handler>> = {
  [PING]: () => [{}],
  [CONTROL_SETTINGS]: () => [{}],
  [IDENTITY]: (shard) => [{ server: shard.server }],
  [PREPARED]: (shard, [prefix]) =>
    [...shard.prepared.values()]
      .filter(({ gid }) => gid.startsWith(String(prefix)))
      .map(({ gid, isOld }) => ({ gid, prepared_at_ms: 0, age_ms: isOld ? AGE_MS_OLD : 0, xmin_age: 1 })),
  [XACT_STATUS]: (shard, [xid]) => [{ status: shard.statusOf(String(xid)) }],
  [TERMINATE]: (shard, [pid, start]) => {
    const backend = [...shard.backends.values()].find((one) => one.pid === pid && one.start === start);
    if (backend === undefined) return [];
    shard.end(backend);
    return [{ pg_terminate_backend: true }];
  },
  [ALIVE]: (shard, [pid, start]) =>
    [...shard.backends.values()].some((one) => one.pid === pid && one.start === start) ? [{}] : [],
  [READ_DECISIONS]: (shard, [gtrids]) =>
    (gtrids as readonly string[]).flatMap((gtrid) => {
      const row = shard.decisions.get(gtrid);
      return row === undefined ? [] : [{ gtrid, outcome: row.outcome }];
    }),
  [CONCLUDE]: (shard, [gtrids]) => {
    for (const gtrid of gtrids as readonly string[]) shard.decisions.delete(gtrid);
    return [];
  },
  [READ_VERSION]: () => [{ version: SCHEMA_VERSION }],
  [READ_LIVING]: (shard) =>
    [...shard.owners.values()]
      .filter(({ isExpired }) => !isExpired)
      .map(({ coordinator, epoch }) => ({ coordinator, epoch })),
  [READ_EPOCH]: (shard, [, coordinator]) => [
    {
      epoch: [...shard.owners.values()]
        .filter((one) => one.coordinator === coordinator)
        .reduce((latest, { epoch }) => Math.max(latest, epoch), 0),
    },
  ],
  [TAKE_EPOCH]: (shard, values) => {
    if (shard.owners.has(EPOCH_KEY(values))) return [];
    const [, coordinator, epoch] = values as [string, string, number];
    shard.owners.set(EPOCH_KEY(values), { coordinator, epoch, isExpired: false, isFenced: false });
    return [{ epoch }];
  },
  [KEEP_LEASE]: (shard, values) => {
    const own = shard.owners.get(EPOCH_KEY(values));
    const rows = [...shard.owners.values()]
      .filter((one) => one === own || one.isExpired)
      .map(({ coordinator, epoch, isFenced }) => ({ coordinator, epoch, fenced: isFenced }));
    if (own !== undefined && !own.isFenced) own.isExpired = values[3] === 0;
    return rows;
  },
  [READ_OWNER]: (shard, values) => (shard.owners.get(EPOCH_KEY(values))?.isFenced === false ? [{}] : []),
  [FENCE_OWNER]: (shard, values) => {
    const [, coordinator, epoch] = values as [string, string, number];
    const owner = shard.owners.get(EPOCH_KEY(values));
    if (owner !== undefined && !owner.isExpired) return [];
    shard.owners.set(EPOCH_KEY(values), { coordinator, epoch, isExpired: true, isFenced: true });
    return [{ epoch }];
  },
  [READ_OLD_COMMITS]: (shard) =>
    [...shard.decisions]
      .filter(([, { outcome, isOld }]) => outcome === "commit" && isOld)
      .map(([gtrid, { participants }]) => ({ gtrid, participants })),
  [FORGET_ABORTS]: (shard) => {
    // Not while a transaction is open that began before it was written; here all have.
    if ([...shard.backends.values()].some(({ branch }) => branch !== null)) return [];
    for (const [gtrid, { outcome, isOld }] of shard.decisions)
      if (outcome === "abort" && isOld) shard.decisions.delete(gtrid);
    return [];
  },
  /** An hour does not pass here. */
  [FORGET_OWNERS]: () => [],
};

const NAMES: Readonly<Record<string, string>> = {
  [ASK_XID]: "which transaction id?",
  [PING]: "are you there?",
  [IDENTITY]: "which server are you?",
  [PREPARED]: "what is prepared?",
  [XACT_STATUS]: "what became of the transaction id?",
  [TERMINATE]: "end the backend",
  [ALIVE]: "is the backend gone?",
  [READ_DECISIONS]: "what is decided?",
  [DECIDE]: "decide abort, unless it is decided",
  [CONCLUDE]: "remove decisions that nobody needs",
  [READ_LIVING]: "who is alive?",
  [KEEP_LEASE]: "keep the lease",
  [READ_OWNER]: "is this epoch fenced?",
  [FENCE_OWNER]: "fence the epoch",
  [READ_OLD_COMMITS]: "which commits are old?",
  [FORGET_ABORTS]: "remove aborts that are old",
  [FORGET_OWNERS]: "remove owners that are gone",
};

/** A statement in words. */
export function inWords(sql: string): string {
  if (prepareOf(sql) !== null) return "PREPARE TRANSACTION";
  if (sql === ANCHOR) return "the decision and COMMIT";
  const finish = finishOf(sql);
  return finish === null ? (NAMES[sql] ?? sql) : `${finish.verb} PREPARED`;
}

// --- reading what was sent: a statement is known only if src/txn writes it that way ---

function prepareOf(sql: string): string | null {
  const gid = /; PREPARE TRANSACTION '([^']*)'$/.exec(sql)?.[1];
  return gid !== undefined && batchText(XID, prepareStatement(gidOf(gid))) === sql ? gid : null;
}

function finishOf(sql: string): { readonly verb: "COMMIT" | "ROLLBACK"; readonly gid: string } | null {
  const found = /^(COMMIT|ROLLBACK) PREPARED '([^']*)'$/.exec(sql);
  if (found === null) return null;
  const [, verb, gid = ""] = found;
  return finishStatement(verb as "COMMIT" | "ROLLBACK", gid) === sql
    ? { verb: verb as "COMMIT" | "ROLLBACK", gid }
    : null;
}

// --- answers ---

const done = (rows: readonly Row[], ...tags: readonly string[]): Answer => ({ kind: "rows", rows, tags });

const failed = (sqlstate: string, message: string, rest?: ReadonlyMap<string, string>): Answer => ({
  kind: "error",
  error: { severity: "ERROR", sqlstate, message, ...(rest === undefined ? {} : { rest }) },
});

/** What a deferred constraint says. */
function refuse(shard: SimulatedPostgres, backend: Backend): Answer {
  shard.rollBack(backend);
  return failed("23503", "violates a deferred foreign key constraint");
}

function duplicateKey(shard: SimulatedPostgres, backend: Backend): Answer {
  shard.rollBack(backend);
  const { schema, table, constraint } = DECISION_KEY;
  const rest = new Map([
    ["s", schema],
    ["t", table],
    ["n", constraint],
  ]);
  return failed("23505", `duplicate key value violates unique constraint "${constraint}"`, rest);
}
