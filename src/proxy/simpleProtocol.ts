/**
 * The simple protocol over several shards: one Query, one statement, one answer.
 *
 * A statement for one shard is passed on as it came. One for all runs everywhere but on the last shard first; only
 * when those have it does the last one run it and answer the client.
 */
import { Fault } from "../base/fault.ts";
import { RELAY, RELAY_WITHOUT_READY } from "../pool/replyQueue.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { Plan } from "../routing/plan.ts";
import type { PreparePlan } from "../routing/preparedSql.ts";
import { readyForQuery, rowDescription } from "../wire/backendWriters.ts";
import { readQuery } from "../wire/frontendReaders.ts";
import { query } from "../wire/frontendWriters.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import { runEverywhere } from "./everywhere.ts";
import { endImplicit } from "./implicitEnd.ts";
import { answerAtOnce, isLocal, type LocalPlan, localColumns } from "./localStatements.ts";
import { asRefusal, type Refusal, refusalResponse } from "./refusal.ts";
import type { ShardedSession } from "./shardedSession.ts";
import { executedText, type InnerPlan, innerPlan, prepareSql } from "./sqlPrepare.ts";

export class SimpleProtocol {
  readonly #session: ShardedSession;

  constructor(session: ShardedSession) {
    this.#session = session;
  }

  /** Handles a Query or FunctionCall; false: present it again. */
  onMessage(type: number, buffer: Buffer, start: number, end: number): boolean {
    try {
      return this.#take(type, buffer, start, end);
    } catch (error) {
      this.#refuse(asRefusal(error));
      return true;
    }
  }

  #take(type: number, buffer: Buffer, start: number, end: number): boolean {
    this.#session.throwRefusal();
    if (type === CLIENT_MESSAGE.functionCall) {
      throw new Fault("session.unsupported", {
        message: "function calls by protocol message are not supported with several shards",
        hint: "Call the function with SELECT and say where: /* pgxa: shard=NAME */.",
      });
    }
    this.#session.parameters.checkText(buffer, start, end);
    const text = readQuery(buffer, start, end);
    const plan = this.#session.destinations.planWithLiterals(text);
    this.#session.checkStatus(plan);
    this.#session.statements.unnamed = null;
    if (plan.kind !== "execute") return this.#run(plan, text, buffer, start, end);
    const inner = executedText(this.#session, plan);
    if (inner === null) return false;
    const bytes = query(inner);
    return this.#run(innerPlan(this.#session, inner), inner, bytes, 0, bytes.length);
  }

  /** Runs `text`, which is that of the Query in `buffer[start, end)`. */
  #run(plan: InnerPlan, text: string, buffer: Buffer, start: number, end: number): boolean {
    if (plan.kind === "prepare") return this.#prepare(plan);
    if (isLocal(plan)) return this.#local(plan);
    const destination = this.#session.destinations.ofText(plan);
    const warning = this.#session.effects.obstacles.check(plan, destination);
    if (destination === "all") return this.#everywhere(text, warning);
    const others = plan.kind === "set" && this.#session.transaction.current !== null;
    if (others) return this.#set(plan, destination);
    if (!this.#session.hearsFirst(plan, destination)) return false;
    const connection = this.#session.open(destination);
    if (connection === null) return false;
    if (warning !== null) this.#session.client.say(warning);
    this.#session.effects.note(plan, destination);
    this.#send(connection, buffer, start, end);
    return true;
  }

  #send(connection: ServerConnection, buffer: Buffer, start: number, end: number): void {
    connection.unnamedStatement = null;
    this.#session.expect(connection, RELAY);
    connection.outbox.pass(buffer, start, end);
  }

  /** Sends a query whose answer goes to the client without ReadyForQuery; resolves with whether it was an error. */
  #relayed(connection: ServerConnection, bytes: Buffer): Promise<boolean> {
    return new Promise((resolve) => {
      connection.unnamedStatement = null;
      this.#session.expect(connection, RELAY_WITHOUT_READY, resolve);
      connection.outbox.put(bytes);
      connection.flush();
    });
  }

  #local(plan: LocalPlan): boolean {
    const columns = localColumns(plan);
    const head = columns === null ? [] : [rowDescription(columns)];
    const atOnce = answerAtOnce(plan, this.#session.local);
    if (atOnce !== null) {
      this.#session.tell(plan, ...head, ...atOnce, readyForQuery(this.#session.transaction.status));
      return true;
    }
    this.#session.work(async () => {
      let messages: readonly Buffer[];
      try {
        messages = await this.#session.answer(plan);
      } catch (error) {
        this.#session.fail();
        messages = [refusalResponse(asRefusal(error))];
      }
      this.#session.tell(plan, ...head, ...messages, readyForQuery(this.#session.transaction.status));
    });
    return true;
  }

  #prepare(plan: PreparePlan): boolean {
    this.#session.work(async () => {
      try {
        const messages = await prepareSql(this.#session, plan);
        this.#session.client.say(...messages, readyForQuery(this.#session.transaction.status));
      } catch (error) {
        this.#refuse(asRefusal(error));
      }
    });
    return true;
  }

  /** SET within a transaction: on every branch, so that all stand alike. */
  #set(plan: Extract<Plan, { kind: "set" }>, shard: number): boolean {
    const bytes = query(plan.sql);
    this.#session.work(async () => {
      try {
        const connection = await this.#session.transaction.open(shard);
        await this.#session.transaction.runOnBranches(plan.sql, connection);
        this.#session.effects.note(plan, shard);
        this.#send(connection, bytes, 0, bytes.length);
        connection.flush();
      } catch (error) {
        this.#refuse(asRefusal(error));
      }
    });
    return true;
  }

  #everywhere(text: string, warning: Buffer | null): boolean {
    if (warning !== null) this.#session.client.say(warning);
    const isImplicit = this.#session.transaction.current === null;
    if (isImplicit) this.#session.transaction.begin("", true);
    this.#session.work(async () => {
      try {
        const bytes = query(text);
        const { transaction, parts } = this.#session;
        await runEverywhere(transaction, parts.pools.length, bytes, async (connection) => {
          if (await this.#relayed(connection, bytes)) this.#session.fail();
        });
      } catch (error) {
        this.#session.fail();
        this.#session.client.say(refusalResponse(asRefusal(error)));
      }
      if (isImplicit) await endImplicit(this.#session);
      this.#session.client.say(readyForQuery(this.#session.transaction.status));
    });
    return true;
  }

  #refuse(refusal: Refusal): void {
    this.#session.fail();
    this.#session.client.say(refusalResponse(refusal), readyForQuery(this.#session.transaction.status));
  }
}
