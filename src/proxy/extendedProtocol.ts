/**
 * The extended protocol over several shards.
 *
 * A batch is what a client sends up to its Sync. Its messages are sent ahead to one connection, the *segment*; a
 * message for another shard first closes the segment there with a Sync of pgxa's own, whose ReadyForQuery the client
 * does not see, and goes on when all answers have come. Outside a transaction that would commit half a batch, so it
 * is done only while nothing was executed, and refused otherwise.
 *
 * A Parse says nothing about where its statement will go. It is kept until a Bind, a Describe or the end of the
 * batch chooses a connection, and sent there first; so a statement that never runs anywhere is still checked.
 *
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY
 */
import { Fault } from "../base/fault.ts";
import { RELAY } from "../pool/replyQueue.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { ExecutePlan, PreparePlan } from "../routing/preparedSql.ts";
import * as write from "../wire/backendWriters.ts";
import { BindReader } from "../wire/bindReader.ts";
import { FieldReader } from "../wire/fieldReader.ts";
import { readPortalName, readStatementName } from "../wire/frontendReaders.ts";
import * as send from "../wire/frontendWriters.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import { runEverywhere, runUnnamed } from "./everywhere.ts";
import { endImplicit } from "./implicitEnd.ts";
import { isLocal, type LocalPlan, localColumns } from "./localStatements.ts";
import { type Portal, Portals } from "./portals.ts";
import type { PrepareObstacles } from "./prepareObstacles.ts";
import { asRefusal, type Refusal, refusalResponse } from "./refusal.ts";
import { Segment } from "./segment.ts";
import type { ShardedSession } from "./shardedSession.ts";
import { ExecutedStatements, type InnerPlan, innerPlan, isToBeAsked, prepareSql } from "./sqlPrepare.ts";
import { missing, taken } from "./statementFaults.ts";
import { CLOSE_NOTHING, ensureStatement, passNamed, type Statement } from "./statementStore.ts";

/** What pgxa answers itself. */
type AnsweredPlan = LocalPlan | PreparePlan;

const isAnswered = (plan: InnerPlan): plan is AnsweredPlan => plan.kind === "prepare" || isLocal(plan);

export class ExtendedProtocol {
  readonly #session: ShardedSession;
  readonly #bind = new BindReader();
  readonly #portals = new Portals();
  readonly #executed: ExecutedStatements;
  readonly #segment: Segment;
  readonly #obstacles: PrepareObstacles;
  /** Messages are passed over until Sync, as after an error. */
  isSkipping = false;

  constructor(session: ShardedSession) {
    this.#session = session;
    this.#obstacles = session.effects.obstacles;
    this.#executed = new ExecutedStatements(session);
    this.#segment = new Segment(session, () => {
      this.isSkipping = true;
    });
  }

  get connection(): ServerConnection | null {
    return this.#segment.connection;
  }

  /** The connection whose answers are awaited is gone, and the client has been told. */
  lose(): void {
    // After its Sync the client is in step again; before it, the rest of the batch means nothing any more.
    if (this.connection !== null) this.isSkipping = true;
    this.#segment.forget();
  }

  /** Handles a message of the extended protocol; false: present it again. */
  onMessage(type: number, buffer: Buffer, start: number, end: number): boolean {
    try {
      if (type !== CLIENT_MESSAGE.sync && this.isSkipping) return true;
      if (!this.isSkipping) this.#session.throwRefusal();
    } catch (error) {
      // It may be why the Parse messages before this one cannot be sent.
      this.#segment.forgetPending();
      this.#refuse(asRefusal(error));
      return type !== CLIENT_MESSAGE.sync;
    }
    try {
      return this.#handle(type, buffer, start, end);
    } catch (error) {
      return this.#refuseInPlace(asRefusal(error)) && type !== CLIENT_MESSAGE.sync;
    }
  }

  /** Makes sure that all answers of the batch so far have come; false: they are on the way. */
  closeSegment(): boolean {
    return this.#segment.close();
  }

  #handle(type: number, buffer: Buffer, start: number, end: number): boolean {
    switch (type) {
      case CLIENT_MESSAGE.parse:
        return this.#parse(buffer, start, end);
      case CLIENT_MESSAGE.bind:
        return this.#bindPortal(buffer, start, end);
      case CLIENT_MESSAGE.describe:
        return this.#describe(buffer, start, end);
      case CLIENT_MESSAGE.execute:
        return this.#execute(buffer, start, end);
      case CLIENT_MESSAGE.close:
        return this.#close(buffer, start, end);
      case CLIENT_MESSAGE.sync:
        return this.#sync(buffer, start, end);
      default:
        return this.#flush(buffer, start, end);
    }
  }

  // --- messages ---

  #parse(buffer: Buffer, start: number, end: number): boolean {
    this.#session.parameters.checkText(buffer, start, end);
    const { statements, parts, destinations } = this.#session;
    const { name, statement } = statements.read(buffer, start, end, this.#session.transaction.mayShare);
    const plan = destinations.plan(statement.text);
    this.#session.checkStatus(plan);
    if (name !== "" && statements.find(name) !== null) throw taken(name);
    if (statements.size >= parts.config.limits.statementsMax) {
      throw new Fault("session.too_many_statements");
    }
    if (plan.kind !== "statement" && plan.kind !== "set")
      return this.#isQuietFor(plan) && this.#keepLocal(name, statement);
    this.#obstacles.checkParse(plan, destinations.ordered(plan));
    statements.keep(name, statement);
    this.#segment.parse(statement);
    return true;
  }

  #keepLocal(name: string, statement: Statement): boolean {
    this.#session.statements.keep(name, statement);
    statement.isConfirmed = true;
    this.#session.client.say(write.parseComplete());
    return true;
  }

  #bindPortal(buffer: Buffer, start: number, end: number): boolean {
    const bind = this.#bind;
    bind.read(buffer, start, end);
    const found = this.#find(bind.statement);
    if (found === null) return false;
    const { statement, plan } = found;
    if (isAnswered(plan)) return this.#isQuietFor(plan) && this.#bindLocal(bind.portal, plan);
    this.#session.checkParameters(plan, buffer, start, end);
    const destination = this.#session.destinations.ofBind(plan, bind, statement.parameterTypes);
    const isEverywhere = destination === "all";
    if (isEverywhere && !this.#beginImplicit()) return false;
    const shard = isEverywhere ? this.#session.parts.pools.length - 1 : destination;
    this.#obstacles.checkParse(plan, shard);
    const connection = this.#segment.turnTo(shard);
    if (connection === null) return false;
    ensureStatement(connection, statement);
    passNamed(connection, statement, buffer, start, end);
    const everywhere = isEverywhere ? runUnnamed(statement, buffer, start, end) : null;
    this.#portals.set(bind.portal, { kind: "shard", shard, plan, everywhere, isElsewhereDone: false });
    return true;
  }

  #bindLocal(name: string, plan: AnsweredPlan): boolean {
    this.#portals.set(name, { kind: "local", plan });
    this.#session.client.say(write.bindComplete());
    return true;
  }

  #describe(buffer: Buffer, start: number, end: number): boolean {
    const name = readStatementName(buffer, start, end);
    if (name === null) return this.#describePortal(buffer, start, end);
    const found = this.#find(name);
    if (found === null) return false;
    const { statement, plan } = found;
    if (isAnswered(plan)) {
      return this.#isQuietFor(plan) && this.#say(write.parameterDescription([]), describeLocal(plan));
    }
    this.#obstacles.checkParse(plan, this.#session.destinations.ordered(plan));
    const connection = this.connection ?? this.#segment.turnTo(this.#session.destinations.forDescribe(plan));
    if (connection === null) return false;
    ensureStatement(connection, statement);
    passNamed(connection, statement, buffer, start, end);
    return true;
  }

  #describePortal(buffer: Buffer, start: number, end: number): boolean {
    const portal = this.#portals.get(readPortalName(buffer, start, end)!);
    if (portal.kind === "local")
      return this.#isQuietFor(portal.plan) && this.#say(describeLocal(portal.plan));
    const connection = this.#segment.turnTo(portal.shard);
    connection?.outbox.pass(buffer, start, end);
    return connection !== null;
  }

  #execute(buffer: Buffer, start: number, end: number): boolean {
    const portal = this.#portals.get(readPortalName(buffer, start, end)!);
    this.#session.checkStatus(portal.plan);
    if (portal.kind === "local") return this.#isQuietFor(portal.plan) && this.#executeLocal(portal.plan);
    const warning = this.#obstacles.check(portal.plan, portal.everywhere === null ? portal.shard : "all");
    if (warning !== null && !this.closeSegment()) return false;
    if (!this.#session.hearsFirst(portal.plan, portal.shard)) return false;
    const connection = this.#segment.turnTo(portal.shard);
    if (connection === null) return false;
    if (warning !== null) this.#say(warning);
    if (!portal.isElsewhereDone && this.#startElsewhere(portal, connection)) return false;
    this.#session.effects.note(portal.plan, portal.shard);
    this.#segment.hasExecuted = true;
    connection.outbox.pass(buffer, start, end);
    return true;
  }

  /** Runs the statement on the other shards or branches that must have it too; false: there are none. */
  #startElsewhere(portal: Extract<Portal, { kind: "shard" }>, connection: ServerConnection): boolean {
    const session = this.#session;
    const { everywhere, plan } = portal;
    portal.isElsewhereDone = true;
    if (everywhere !== null) {
      session.work(() =>
        runEverywhere(session.transaction, session.parts.pools.length, everywhere, async () => {}),
      );
      return true;
    }
    if (plan.kind !== "set" || session.transaction.current === null) return false;
    session.work(() => session.transaction.runOnBranches(plan.sql, connection));
    return true;
  }

  #executeLocal(plan: AnsweredPlan): boolean {
    this.#session.work(async () => {
      try {
        if (isLocal(plan)) this.#session.tell(plan, ...(await this.#session.answer(plan)));
        else this.#session.client.say(...(await prepareSql(this.#session, plan)));
      } catch (error) {
        this.#refuse(asRefusal(error));
      }
    });
    return true;
  }

  #close(buffer: Buffer, start: number, end: number): boolean {
    const name = readStatementName(buffer, start, end);
    if (name === null) return this.#closePortal(buffer, start, end);
    const { connection } = this;
    if (connection === null) {
      if (!this.closeSegment()) return false;
      this.#session.statements.close(name);
      return this.#say(write.closeComplete());
    }
    this.#session.statements.close(name);
    connection.replies.expectClose(true);
    // The statement stays there for others; closing one that does not exist is answered alike.
    connection.outbox.put(name === "" ? send.closeStatement("") : CLOSE_NOTHING);
    if (name === "") connection.unnamedStatement = null;
    return true;
  }

  #closePortal(buffer: Buffer, start: number, end: number): boolean {
    const name = readPortalName(buffer, start, end)!;
    const portal = this.#portals.find(name);
    if (portal?.kind !== "shard") {
      if (!this.closeSegment()) return false;
      this.#portals.delete(name);
      return this.#say(write.closeComplete());
    }
    const connection = this.#segment.turnTo(portal.shard);
    if (connection === null) return false;
    this.#portals.delete(name);
    connection.replies.expectClose(true);
    connection.outbox.pass(buffer, start, end);
    return true;
  }

  #flush(buffer: Buffer, start: number, end: number): boolean {
    if (!this.#segment.sendPending()) return false;
    this.connection?.outbox.pass(buffer, start, end);
    return true;
  }

  #sync(buffer: Buffer, start: number, end: number): boolean {
    const session = this.#session;
    if (this.isSkipping) this.#segment.forgetPending();
    if (!this.#segment.sendPending()) return false;
    const { connection } = this;
    const isImplicit = session.transaction.current?.isImplicit ?? false;
    // One that is passed on is checked by the shard.
    if (!this.isSkipping && (isImplicit || connection === null)) checkSync(buffer, start, end);
    if (isImplicit && connection !== null) return this.closeSegment();
    this.isSkipping = false;
    if (session.transaction.current === null || isImplicit) this.#portals.clear();
    if (isImplicit) session.work(() => this.#endImplicit());
    else if (connection === null) session.client.say(write.readyForQuery(session.transaction.status));
    else {
      this.#segment.forget();
      session.expect(connection, RELAY);
      connection.outbox.pass(buffer, start, end);
    }
    return true;
  }

  async #endImplicit(): Promise<void> {
    await endImplicit(this.#session);
    this.#session.client.say(write.readyForQuery(this.#session.transaction.status));
  }

  // --- segments ---

  /** Whether everything before has been answered, so that pgxa may answer `plan` itself. */
  #isQuietFor(plan: AnsweredPlan | ExecutePlan): boolean {
    if (plan.kind !== "commit" && plan.kind !== "empty" && this.connection !== null)
      this.#segment.refuseHalfBatch();
    return this.closeSegment();
  }

  /** Begins a transaction of pgxa's own for a statement on all shards; false: present the message again. */
  #beginImplicit(): boolean {
    if (this.#session.transaction.current !== null) return true;
    if (this.connection !== null) {
      this.#segment.refuseHalfBatch();
      return this.closeSegment();
    }
    this.#session.transaction.begin("", true);
    return true;
  }

  // --- errors ---

  /**
   * Refuses a message once a shard has been sent the Parse messages before it, whose answers come first; false: present
   * the message again.
   */
  #refuseInPlace(refusal: Refusal): boolean {
    if (this.#session.transaction.current?.status === "E") this.#segment.forgetPending();
    if (!this.#segment.sendPending()) return false;
    this.#refuse(refusal);
    return true;
  }

  /** Tells the client an error of pgxa's own, after the answers to what came before it. */
  #refuse(refusal: Refusal): void {
    const { connection } = this;
    if (connection === null) return this.#sayRefusal(refusal);
    const isHalfDone = this.#segment.hasExecuted && this.#session.transaction.current === null;
    if (!isHalfDone) return this.#segment.end(() => this.#sayRefusal(refusal));
    if (refusal instanceof Fault && refusal.id === "protocol.malformed") {
      this.#segment.fail(); // with the same error
      this.isSkipping = true;
      return;
    }
    // One transaction for the shard, half of it executed: only with its connection does it surely not commit.
    const isCut = !connection.replies.isBetweenMessages;
    this.#segment.forget();
    this.#session.transaction.discardSingle();
    if (isCut) this.#session.client.refuse(new Fault("pool.connection_lost"));
    else this.#sayRefusal(refusal);
  }

  #sayRefusal(refusal: Refusal): void {
    if (this.isSkipping) return; // the shard found an error before this one
    this.isSkipping = true;
    this.#session.fail();
    this.#session.client.say(refusalResponse(refusal));
  }

  // --- names ---

  /** The statement that `name` runs, and its plan; null: present the message again. Throws a Fault. */
  #find(name: string): { readonly statement: Statement; readonly plan: InnerPlan } | null {
    const statement = this.#statement(name);
    const plan = this.#session.destinations.plan(statement.text);
    this.#session.checkStatus(plan);
    if (plan.kind !== "execute") return { statement, plan };
    if (isToBeAsked(this.#session, plan) && !this.#isQuietFor(plan)) return null;
    const executed = this.#executed.of(statement, plan);
    return executed && { statement: executed, plan: innerPlan(this.#session, executed.text) };
  }

  #statement(name: string): Statement {
    const statement = this.#session.statements.find(name);
    if (statement !== null) return statement;
    throw missing(name);
  }

  #say(...messages: readonly Buffer[]): true {
    this.#session.client.say(...messages);
    return true;
  }
}

/** Throws a Fault for a Sync that is not empty. */
function checkSync(buffer: Buffer, start: number, end: number): void {
  new FieldReader("client").reset(buffer, start, end).finish();
}

function describeLocal(plan: AnsweredPlan): Buffer {
  const columns = isLocal(plan) ? localColumns(plan) : null;
  return columns === null ? write.noData() : write.rowDescription(columns);
}
