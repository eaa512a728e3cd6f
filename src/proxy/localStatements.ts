/**
 * The statements that pgxa answers itself: transaction control and its own settings.
 *
 * They say the same as Postgres in the same situation: the tags, the warnings outside a block and inside one,
 * ROLLBACK as the tag of a COMMIT that could not be (TRAPS: a driver would report a commit otherwise).
 */
import { Fault } from "../base/fault.ts";
import { unreachable } from "../base/invariant.ts";
import { ShardError } from "../pool/shardError.ts";
import type { Plan, ShardIndex } from "../routing/plan.ts";
import type { Router } from "../routing/router.ts";
import { readBoolean } from "../routing/standbyLook.ts";
import type { CommitOutcome } from "../txn/commitProtocol.ts";
import {
  type Column,
  commandComplete,
  dataRow,
  emptyQueryResponse,
  noticeResponse,
} from "../wire/backendWriters.ts";
import type { ErrorFields } from "../wire/errorFields.ts";
import type { ClientTransaction } from "./clientTransaction.ts";
import type { Hint, HintName, Hints } from "./hints.ts";
import { asRefusal, type Refusal } from "./refusal.ts";
import { missing } from "./statementFaults.ts";
import type { StatementStore } from "./statementStore.ts";

export type LocalPlan = Exclude<
  Plan,
  { kind: "statement" | "refused" | "set" } | { kind: "prepare" | "execute" }
>;

const NOT_LOCAL: ReadonlySet<Plan["kind"]> = new Set(["statement", "refused", "set", "prepare", "execute"]);

export const isLocal = (plan: Plan): plan is LocalPlan => !NOT_LOCAL.has(plan.kind);

/** What may run in a failed transaction. */
const endsFailure = (plan: Plan): boolean =>
  plan.kind === "commit" || plan.kind === "rollback" || plan.kind === "rollbackTo" || plan.kind === "empty";

/** Throws a Refusal if the transaction has failed, and `plan` does not end that. */
export function throwIfFailed(plan: Plan, transaction: ClientTransaction): void {
  const { current } = transaction;
  if (current === null || current.status === "T" || endsFailure(plan)) return;
  transaction.throwIfLost();
  throw new Fault("session.failed_transaction");
}

export interface LocalContext {
  readonly statements: StatementStore;
  readonly router: Router;
  readonly transaction: ClientTransaction;
  readonly hints: Hints;
  /** Whether clients may have transaction blocks: not in statement mode. */
  readonly allowsBlocks: boolean;
}

const TEXT_OID = 25;
const BEGUN = commandComplete("BEGIN");
const COMMITTED = commandComplete("COMMIT");

/** The columns of the statement's result; null if it has none. */
export const localColumns = (plan: LocalPlan): readonly Column[] | null =>
  plan.kind === "showHintSetting" ? [{ name: plan.name, typeOid: TEXT_OID }] : null;

/** BEGIN and the like, which need no shard: the answer at once, or null for a plan that takes time. */
export function answerAtOnce(plan: LocalPlan, context: LocalContext): readonly Buffer[] | null {
  switch (plan.kind) {
    case "empty":
      return [emptyQueryResponse()];
    case "begin":
      return begin(plan, context);
    case "hintSetting":
      return setHint(plan.name, plan.value, plan.local, context);
    case "showHintSetting":
      return [dataRow([context.hints.get(plan.name)?.value ?? ""]), commandComplete("SHOW")];
    case "deallocate":
      return deallocate(plan.name, context.statements);
    default:
      return null;
  }
}

/**
 * Runs the statement; what the client is told, without row description and ReadyForQuery. Rejects with a Refusal, or
 * throws it.
 */
export function answerLocal(plan: LocalPlan, context: LocalContext): Promise<readonly Buffer[]> {
  const { transaction } = context;
  switch (plan.kind) {
    case "empty":
    case "begin":
    case "hintSetting":
    case "showHintSetting":
    case "deallocate":
      return Promise.resolve(answerAtOnce(plan, context)!);
    case "commit":
      return commit(plan.chain, context);
    case "rollback":
      return rollback(plan.chain, context);
    case "savepoint":
      requireBlock(transaction, "SAVEPOINT");
      return completed("SAVEPOINT", transaction.savepoint(plan.name));
    case "release":
      requireBlock(transaction, "RELEASE SAVEPOINT");
      return completed("RELEASE", transaction.release(plan.name));
    case "rollbackTo":
      requireBlock(transaction, "ROLLBACK TO SAVEPOINT");
      return completed("ROLLBACK", transaction.rollbackTo(plan.name));
    case "setTransaction":
      return setTransaction(plan.characteristics, plan.sql, transaction);
    default:
      return unreachable(plan);
  }
}

async function completed(tag: string, done: Promise<void>): Promise<readonly Buffer[]> {
  await done;
  return [commandComplete(tag)];
}

function begin(
  { characteristics, tag, standby }: Extract<Plan, { kind: "begin" }>,
  { transaction, hints, allowsBlocks }: LocalContext,
): readonly Buffer[] {
  if (!allowsBlocks) throw new Fault("session.block_refused");
  if (transaction.current !== null) {
    return [warning("25001", "there is already a transaction in progress"), commandComplete(tag)];
  }
  transaction.begin(characteristics);
  transaction.aim.hint = standby ?? null;
  hints.begin();
  return [tag === "BEGIN" ? BEGUN : commandComplete(tag)];
}

/** On server connections they stay, for others. */
function deallocate(name: string | null, statements: StatementStore): readonly Buffer[] {
  if (name === null) {
    statements.clear();
    return [commandComplete("DEALLOCATE ALL")];
  }
  if (!statements.has(name)) throw missing(name);
  statements.close(name);
  return [commandComplete("DEALLOCATE")];
}

async function commit(chain: boolean, context: LocalContext): Promise<readonly Buffer[]> {
  const { transaction, hints } = context;
  const { current } = transaction;
  if (current === null) return outsideBlock("COMMIT", chain);
  const { characteristics } = current;
  let lost: Refusal | null = null;
  try {
    transaction.throwIfLost();
  } catch (error) {
    lost = asRefusal(error);
  }
  const messages = current.status === "T" ? await commitSound(context) : await rollBackInstead(context);
  if (lost !== null) throw lost;
  if (chain) {
    transaction.begin(characteristics);
    hints.begin();
  }
  return messages;
}

async function commitSound({ transaction, hints }: LocalContext): Promise<readonly Buffer[]> {
  const outcome = await transaction.commit();
  hints.end(outcome.kind === "committed");
  const refusal = refusalOf(outcome);
  if (refusal !== null) throw refusal;
  const isNoted = outcome.kind === "committed" && outcome.notice !== undefined;
  return isNoted ? [noticeResponse(outcome.notice), COMMITTED] : [COMMITTED];
}

/** Why the transaction is not surely committed; null if it is. */
export function refusalOf(outcome: CommitOutcome): Refusal | null {
  if (outcome.kind === "committed") return null;
  if (outcome.kind === "unknown") return outcome.fault;
  return outcome.error instanceof Fault ? outcome.error : new ShardError(outcome.error);
}

async function rollBackInstead({ transaction, hints }: LocalContext): Promise<readonly Buffer[]> {
  await transaction.rollback();
  hints.end(false);
  return [commandComplete("ROLLBACK")];
}

async function rollback(chain: boolean, { transaction, hints }: LocalContext): Promise<readonly Buffer[]> {
  const { current } = transaction;
  if (current === null) return outsideBlock("ROLLBACK", chain);
  const { characteristics } = current;
  await transaction.rollback();
  hints.end(false);
  if (chain) {
    transaction.begin(characteristics);
    hints.begin();
  }
  return [commandComplete("ROLLBACK")];
}

async function setTransaction(
  characteristics: string,
  sql: string,
  transaction: ClientTransaction,
): Promise<readonly Buffer[]> {
  const { current } = transaction;
  if (current === null) {
    return [
      warning("25P01", "SET TRANSACTION can only be used in transaction blocks"),
      commandComplete("SET"),
    ];
  }
  await transaction.runOnBranches(sql);
  current.addCharacteristics(characteristics);
  return [commandComplete("SET")];
}

function setHint(
  name: HintName,
  value: string | null,
  isLocal: boolean,
  context: LocalContext,
): readonly Buffer[] {
  const { router, hints, transaction } = context;
  if (value === null || value === "") {
    hints.set(name, null, isLocal);
    return [commandComplete(value === null ? "RESET" : "SET")];
  }
  const hint = readHint(name, value, router);
  if (isLocal && transaction.current === null) {
    return [warning("25P01", "SET LOCAL can only be used in transaction blocks"), commandComplete("SET")];
  }
  hints.set(name, hint, isLocal);
  return [commandComplete("SET")];
}

/** Throws a Fault for a value that means nothing. */
function readHint(name: HintName, value: string, router: Router): Hint {
  switch (name) {
    case "pgxa.shard":
      return { value, shard: shardOf(router.shardByName(value)), amount: null };
    case "pgxa.key":
      return { value, shard: shardOf(router.shardByKey(value)), amount: null };
    case "pgxa.lock_timeout":
      return { value, shard: null, amount: readMs(name, value) };
    case "pgxa.deadlock_priority":
      return { value, shard: null, amount: readRank(name, value) };
    case "pgxa.standby":
      return { value, shard: null, amount: readSwitch(name, value) };
  }
}

function shardOf(found: ShardIndex | Fault): ShardIndex {
  if (found instanceof Fault) throw found;
  return found;
}

const MS_PER_UNIT: Readonly<Record<string, number>> = { "": 1, ms: 1, s: 1_000, min: 60_000, h: 3_600_000 };
const RANK_MAX = 10;

/** As Postgres reads lock_timeout: a number of ms, or with its unit. */
function readMs(name: HintName, value: string): number {
  const [, amount, unit] = /^\s*(\d{1,12})\s*(|ms|s|min|h)\s*$/.exec(value) ?? [];
  if (amount !== undefined && unit !== undefined) return Number(amount) * MS_PER_UNIT[unit]!;
  throw invalid(name, value, "Write a number of milliseconds, or '5s', '2min'; 0 is for ever.");
}

function readRank(name: HintName, value: string): number {
  const rank = /^-?\d{1,2}$/.test(value) ? Number(value) : Number.NaN;
  if (Math.abs(rank) <= RANK_MAX) return rank;
  throw invalid(
    name,
    value,
    `Write a whole number from -${RANK_MAX}, which gives way first, to ${RANK_MAX}.`,
  );
}

function readSwitch(name: HintName, value: string): number {
  const isOn = readBoolean(value);
  if (isOn === null) throw invalid(name, value, "Write on or off.");
  return isOn ? 1 : 0;
}

const invalid = (name: HintName, value: string, hint: string): Fault =>
  new Fault("session.invalid_value", { message: `invalid value for parameter "${name}": "${value}"`, hint });

function outsideBlock(tag: "COMMIT" | "ROLLBACK", chain: boolean): readonly Buffer[] {
  if (chain) {
    throw new Fault("session.no_transaction", {
      message: `${tag} AND CHAIN can only be used in transaction blocks`,
    });
  }
  return [warning("25P01", "there is no transaction in progress"), commandComplete(tag)];
}

function requireBlock(transaction: ClientTransaction, what: string): void {
  if (transaction.current !== null) return;
  throw new Fault("session.no_transaction", { message: `${what} can only be used in transaction blocks` });
}

function warning(sqlstate: string, message: string): Buffer {
  const fields: ErrorFields = { severity: "WARNING", sqlstate, message };
  return noticeResponse(fields);
}
