/**
 * SQL's PREPARE and EXECUTE in front of several shards.
 *
 * A PREPARE is tried out on one shard, which finds what is wrong with it and says which types its parameters have; then
 * it is one of the client's statements like those of the protocol, with which it shares its name. What an EXECUTE runs
 * is a text of its own (preparedSql.ts) and goes where that text belongs.
 */
import { Fault } from "../base/fault.ts";
import {
  type ExecutePlan,
  fill,
  type PreparePlan,
  type Template,
  templateOf,
} from "../routing/preparedSql.ts";
import { quoteName } from "../txn/transaction.ts";
import { commandComplete } from "../wire/backendWriters.ts";
import * as send from "../wire/frontendWriters.ts";
import { throwUnlessComplete } from "./branchTalk.ts";
import type { RoutedPlan } from "./destination.ts";
import type { LocalPlan } from "./localStatements.ts";
import type { ShardedSession } from "./shardedSession.ts";
import { missing, reserved, taken } from "./statementFaults.ts";
import type { Statement } from "./statementStore.ts";

/** A statement of which is known what EXECUTE needs. */
interface ExecutableStatement extends Statement {
  readonly template: Template;
  /** The names of its parameters' types. */
  readonly types: readonly string[];
}

interface ParameterType {
  readonly oid: number;
  readonly name: string;
}

/** A plan that is not EXECUTE. */
export type InnerPlan = RoutedPlan | LocalPlan | PreparePlan;

/** It may wait for locks on what it names, and a client's own statement has no limit of pgxa's. */
const NO_TIMEOUT_MS = 0x7fff_ffff;
const TRIED = "pgxa_tried";

/** Does a PREPARE; what the client is told. Rejects with a Refusal. */
export async function prepareSql(
  session: ShardedSession,
  { name, sql, query }: PreparePlan,
): Promise<readonly Buffer[]> {
  const { statements, parts } = session;
  const refusal = reserved(name);
  if (refusal !== null) throw refusal;
  if (statements.size >= parts.config.limits.statementsMax) throw new Fault("session.too_many_statements");
  const asked = `${sql};${typesOf(name)};DEALLOCATE ${quoteName(name)}`;
  const types = await ask(session, query, send.query(asked));
  if (statements.has(name)) throw taken(name);
  const parameterTypes = types.map((type) => type.oid);
  const statement = read(session, { name, text: query, parameterTypes });
  keep(session, name, { ...statement, isConfirmed: true }, types);
  return [commandComplete("PREPARE")];
}

/** Whether a shard has to be asked before `executedText()` can tell. */
export const isToBeAsked = (session: ShardedSession, { name }: ExecutePlan): boolean => {
  const statement = session.statements.find(name);
  return statement !== null && !isExecutable(statement);
};

/**
 * The text that `plan` runs; null: a shard is being asked, and the message is presented again. No batch may be open
 * then. Throws a Fault.
 */
export function executedText(session: ShardedSession, { name, args }: ExecutePlan): string | null {
  const statement = session.statements.find(name);
  if (statement === null) throw missing(name);
  if (!isExecutable(statement)) {
    session.work(() => learn(session, name, statement));
    return null;
  }
  const { template, types } = statement;
  if (types.length === args.length) return fill(template, args, types);
  throw new Fault("route.syntax_error", {
    message: `wrong number of parameters for prepared statement "${name}"`,
    detail: `Expected ${types.length} parameters but got ${args.length}.`,
  });
}

/** The plan of what an EXECUTE runs; throws a Fault. */
export function innerPlan(session: ShardedSession, text: string): InnerPlan {
  const plan = session.destinations.plan(text);
  session.checkStatus(plan);
  if (plan.kind !== "execute") return plan;
  throw new Fault("session.unsupported", {
    message: "an EXECUTE of an EXECUTE is not supported with several shards",
    hint: "Execute the inner statement.",
  });
}

/** The statements that stand for a client's own in which it wrote EXECUTE. */
export class ExecutedStatements {
  readonly #session: ShardedSession;
  #last: { readonly source: Statement; readonly statement: Statement } | null = null;

  constructor(session: ShardedSession) {
    this.#session = session;
  }

  /** What `source`, whose plan is `plan`, runs; null as of `executedText()`. Throws a Fault. */
  of(source: Statement, plan: ExecutePlan): Statement | null {
    const text = executedText(this.#session, plan);
    if (text === null) return null;
    if (this.#last?.source === source && this.#last.statement.text === text) return this.#last.statement;
    const statement = read(this.#session, { name: source.key, text, parameterTypes: [] });
    this.#last = { source, statement };
    return statement;
  }
}

export const isExecutable = (statement: Statement): statement is ExecutableStatement =>
  "template" in statement;

function read({ statements }: ShardedSession, message: Parameters<typeof send.parse>[0]): Statement {
  const parse = send.parse(message);
  return statements.read(parse, 0, parse.length, false).statement;
}

function keep(
  { statements }: ShardedSession,
  name: string,
  statement: Statement,
  types: readonly ParameterType[],
): void {
  const kept: ExecutableStatement = {
    ...statement,
    template: templateOf(statement.text),
    types: types.map((type) => type.name),
  };
  statements.keep(name, kept);
}

/** Asks a shard for the types of a statement that the protocol prepared. */
async function learn(session: ShardedSession, name: string, statement: Statement): Promise<void> {
  const { text, parameterTypes } = statement;
  const bytes = Buffer.concat([
    send.closeStatement(TRIED), // an error may have left it there
    send.parse({ name: TRIED, text, parameterTypes }),
    send.statements([typesOf(TRIED)]),
    send.closeStatement(TRIED),
    send.sync(),
  ]);
  keep(session, name, statement, await ask(session, text, bytes));
}

/** What `bytes`, in which `typesOf()` is asked, find out on a shard that knows the tables of `text`. */
async function ask(session: ShardedSession, text: string, bytes: Buffer): Promise<readonly ParameterType[]> {
  const { transaction, destinations, participant } = session;
  const inner = innerPlan(session, text);
  const isRouted = inner.kind === "statement" || inner.kind === "set";
  const shard = isRouted ? destinations.forDescribe(inner) : destinations.any();
  session.effects.obstacles.checkParse(inner, shard);
  const connection = await transaction.open(shard);
  try {
    connection.unnamedStatement = null;
    const reply = await connection.runBytes(bytes, NO_TIMEOUT_MS);
    throwUnlessComplete(connection, reply, (refusal) => participant.translate(refusal));
    const rows = reply.kind === "complete" ? reply.rows : [];
    return rows.map(([oid, name]) => ({ oid: Number(oid), name: name! }));
  } finally {
    transaction.releaseSingle();
  }
}

/** Asks for OID and name of the parameters' types of a statement that stands on the connection. */
const typesOf = (statement: string): string =>
  `SELECT t.type::pg_catalog.oid, pg_catalog.format_type(t.type, -1)
     FROM pg_catalog.pg_prepared_statements AS p,
       pg_catalog.unnest(p.parameter_types) WITH ORDINALITY AS t (type, nth)
     WHERE p.name = E'${statement.replaceAll("\\", "\\\\").replaceAll("'", "''")}' ORDER BY t.nth`;
