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
import { RELAY, RELAY_WITHOUT_READY } from "../pool/replyQueue.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { ShardIndex } from "../routing/plan.ts";
import * as write from "../wire/backendWriters.ts";
import { BindReader } from "../wire/bindReader.ts";
import { readPortalName, readStatementName } from "../wire/frontendReaders.ts";
import * as send from "../wire/frontendWriters.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import { WAIT_REPLY } from "./clientSide.ts";
import { runEverywhere, runUnnamed } from "./everywhere.ts";
import { isLocal, type LocalPlan, localColumns } from "./localStatements.ts";
import { type Portal, Portals } from "./portals.ts";
import { asRefusal, type Refusal, refusalResponse } from "./refusal.ts";
import type { ShardedSession } from "./shardedSession.ts";
import { CLOSE_NOTHING, ensureStatement, type Statement, sendParse } from "./statementStore.ts";

export class ExtendedProtocol {
  readonly #session: ShardedSession;
  readonly #bind = new BindReader();
  readonly #portals = new Portals();
  /** The connection that has had messages of this batch and no Sync yet. */
  #segment: { readonly shard: ShardIndex; readonly connection: ServerConnection } | null = null;
  #hasExecuted = false;
  /** Statements of Parse messages that no shard has seen yet. */
  #pending: Statement[] = [];
  /** Messages are passed over until Sync, as after an error. */
  isSkipping = false;

  constructor(session: ShardedSession) {
    this.#session = session;
  }

  get connection(): ServerConnection | null {
    return this.#segment?.connection ?? null;
  }

  /** The connection whose answers are awaited is gone, and the client has been told. */
  lose(): void {
    // After its Sync the client is in step again; before it, the rest of the batch means nothing any more.
    if (this.#segment !== null) this.isSkipping = true;
    this.forget();
  }

  /** Nothing more goes to the segment's connection. */
  forget(): void {
    this.#segment = null;
    this.#hasExecuted = false;
  }

  /** Handles a message of the extended protocol; false: present it again. */
  onMessage(type: number, buffer: Buffer, start: number, end: number): boolean {
    try {
      if (type === CLIENT_MESSAGE.sync) return this.#sync(buffer, start, end);
      if (this.isSkipping) return true;
      this.#session.throwRefusal();
      return this.#handle(type, buffer, start, end);
    } catch (error) {
      this.#refuse(asRefusal(error));
      return type !== CLIENT_MESSAGE.sync;
    }
  }

  /** Makes sure that all answers of the batch so far have come; false: they are on the way. */
  closeSegment(): boolean {
    if (this.#pending.length > 0 && this.#turnTo(this.#anyShard()) === null) return false;
    if (this.#segment === null) return true;
    this.#endSegment(() => {});
    return this.#session.hold(WAIT_REPLY);
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
    if (name !== "" && statements.find(name) !== null) {
      throw new Fault("session.duplicate_statement", {
        message: `prepared statement "${name}" already exists`,
      });
    }
    if (statements.size >= parts.config.limits.statementsMax) {
      throw new Fault("session.too_many_statements");
    }
    if (isLocal(plan)) return this.#isQuietFor(plan) && this.#keepLocal(name, statement);
    statements.keep(name, statement);
    if (this.#segment === null) this.#pending.push(statement);
    else sendParse(this.#segment.connection, statement);
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
    if (!bind.reset(buffer, start, end)) throw new Fault("protocol.malformed");
    const statement = this.#statement(bind.statement);
    const plan = this.#session.destinations.plan(statement.text);
    this.#session.checkStatus(plan);
    if (isLocal(plan)) return this.#isQuietFor(plan) && this.#bindLocal(bind.portal, plan);
    this.#session.checkParameters(plan, buffer, start, end);
    const destination = this.#session.destinations.ofBind(plan, bind, statement.parameterTypes);
    const isEverywhere = destination === "all";
    if (isEverywhere && !this.#beginImplicit()) return false;
    const shard = isEverywhere ? this.#session.parts.pools.length - 1 : destination;
    const connection = this.#turnTo(shard);
    if (connection === null) return false;
    ensureStatement(connection, statement);
    if (statement.key === "") connection.outbox.pass(buffer, start, end);
    else connection.outbox.put(send.bindRenamed(buffer, start, end, statement.key));
    const everywhere = isEverywhere ? runUnnamed(statement, buffer, start, end) : null;
    this.#portals.set(bind.portal, { kind: "shard", shard, plan, everywhere, isElsewhereDone: false });
    return true;
  }

  #bindLocal(name: string, plan: LocalPlan): boolean {
    this.#portals.set(name, { kind: "local", plan });
    this.#session.client.say(write.bindComplete());
    return true;
  }

  #describe(buffer: Buffer, start: number, end: number): boolean {
    const name = readStatementName(buffer, start, end);
    if (name === null) return this.#describePortal(buffer, start, end);
    const statement = this.#statement(name);
    const plan = this.#session.destinations.plan(statement.text);
    this.#session.checkStatus(plan);
    if (isLocal(plan)) {
      return this.#isQuietFor(plan) && this.#say(write.parameterDescription([]), describeLocal(plan));
    }
    const connection =
      this.#segment?.connection ?? this.#turnTo(this.#session.destinations.forDescribe(plan));
    if (connection === null) return false;
    ensureStatement(connection, statement);
    if (statement.key === "") connection.outbox.pass(buffer, start, end);
    else connection.outbox.put(send.describeRenamed(buffer, start, end, statement.key));
    return true;
  }

  #describePortal(buffer: Buffer, start: number, end: number): boolean {
    const portal = this.#portals.get(readPortalName(buffer, start, end)!);
    if (portal.kind === "local")
      return this.#isQuietFor(portal.plan) && this.#say(describeLocal(portal.plan));
    const connection = this.#turnTo(portal.shard);
    connection?.outbox.pass(buffer, start, end);
    return connection !== null;
  }

  #execute(buffer: Buffer, start: number, end: number): boolean {
    const portal = this.#portals.get(readPortalName(buffer, start, end)!);
    this.#session.checkStatus(portal.plan);
    if (portal.kind === "local") return this.#isQuietFor(portal.plan) && this.#executeLocal(portal.plan);
    if (!this.#session.hearsFirst(portal.plan, portal.shard)) return false;
    const connection = this.#turnTo(portal.shard);
    if (connection === null) return false;
    if (!portal.isElsewhereDone && this.#startElsewhere(portal, connection)) return false;
    this.#session.note(portal.plan, portal.shard);
    this.#hasExecuted = true;
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

  #executeLocal(plan: LocalPlan): boolean {
    this.#session.work(async () => {
      try {
        this.#session.tell(plan, ...(await this.#session.answer(plan)));
      } catch (error) {
        this.#refuse(asRefusal(error));
      }
    });
    return true;
  }

  #close(buffer: Buffer, start: number, end: number): boolean {
    const name = readStatementName(buffer, start, end);
    if (name === null) return this.#closePortal(buffer, start, end);
    if (this.#segment === null) {
      if (!this.closeSegment()) return false;
      this.#session.statements.close(name);
      return this.#say(write.closeComplete());
    }
    this.#session.statements.close(name);
    const { connection } = this.#segment;
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
    const connection = this.#turnTo(portal.shard);
    if (connection === null) return false;
    this.#portals.delete(name);
    connection.replies.expectClose(true);
    connection.outbox.pass(buffer, start, end);
    return true;
  }

  #flush(buffer: Buffer, start: number, end: number): boolean {
    if (this.#pending.length > 0 && this.#turnTo(this.#anyShard()) === null) return false;
    this.#segment?.connection.outbox.pass(buffer, start, end);
    return true;
  }

  #sync(buffer: Buffer, start: number, end: number): boolean {
    const session = this.#session;
    if (this.isSkipping) this.#pending = [];
    else session.throwRefusal();
    if (this.#pending.length > 0 && this.#turnTo(this.#anyShard()) === null) return false;
    const isImplicit = session.transaction.current?.isImplicit ?? false;
    if (isImplicit && this.#segment !== null) return this.closeSegment();
    this.isSkipping = false;
    if (session.transaction.current === null || isImplicit) this.#portals.clear();
    if (isImplicit) session.work(() => this.#endImplicit());
    else if (this.#segment === null) session.client.say(write.readyForQuery(session.transaction.status));
    else {
      const { connection } = this.#segment;
      this.forget();
      session.expect(connection, RELAY);
      connection.outbox.pass(buffer, start, end);
    }
    return true;
  }

  async #endImplicit(): Promise<void> {
    await this.#session.endImplicit();
    this.#session.client.say(write.readyForQuery(this.#session.transaction.status));
  }

  // --- segments ---

  /** The connection to `shard` with this batch's segment open on it; null: present the message again. */
  #turnTo(shard: ShardIndex): ServerConnection | null {
    const session = this.#session;
    if (this.#segment !== null) {
      if (this.#segment.shard === shard) return this.#segment.connection;
      this.#refuseHalfBatch();
      this.closeSegment();
      return null;
    }
    const connection = session.open(shard);
    if (connection === null) return null;
    this.#segment = { shard, connection };
    connection.replies.isBatchOpen = true;
    this.#hasExecuted = false;
    for (const statement of this.#pending.splice(0)) sendParse(connection, statement);
    return connection;
  }

  #anyShard(): ShardIndex {
    return this.#session.destinations.any();
  }

  /** Whether everything before has been answered, so that pgxa may answer `plan` itself. */
  #isQuietFor(plan: LocalPlan): boolean {
    if (plan.kind !== "commit" && plan.kind !== "empty" && this.#segment !== null) this.#refuseHalfBatch();
    return this.closeSegment();
  }

  #refuseHalfBatch(): void {
    if (!this.#hasExecuted || this.#session.transaction.current !== null) return;
    throw new Fault("route.many_shards", {
      message: "the statements of this batch belong to several shards",
      detail:
        "Outside a transaction block all statements up to a Sync are one transaction, and a part has been executed.",
      hint: "Send BEGIN first, or a Sync after each statement.",
    });
  }

  #endSegment(then: () => void): void {
    const connection = this.#segment!.connection;
    this.forget();
    this.#session.expect(connection, RELAY_WITHOUT_READY, (hadError) => {
      if (hadError) this.isSkipping = true;
      then();
    });
    connection.outbox.put(send.sync());
    connection.flush();
  }

  /** Begins a transaction of pgxa's own for a statement on all shards; false: present the message again. */
  #beginImplicit(): boolean {
    if (this.#session.transaction.current !== null) return true;
    if (this.#segment !== null) {
      this.#refuseHalfBatch();
      return this.closeSegment();
    }
    this.#session.transaction.begin("", true);
    return true;
  }

  // --- errors ---

  /** Tells the client an error of pgxa's own, after the answers to what came before it. */
  #refuse(refusal: Refusal): void {
    this.#pending = [];
    if (this.#segment === null) return this.#sayRefusal(refusal);
    const isHalfDone = this.#hasExecuted && this.#session.transaction.current === null;
    if (!isHalfDone) return this.#endSegment(() => this.#sayRefusal(refusal));
    // One transaction for the shard, half of it executed: only with its connection does it surely not commit.
    const { connection } = this.#segment;
    const isCut = !connection.replies.isBetweenMessages;
    this.forget();
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

  #statement(name: string): Statement {
    const statement = this.#session.statements.find(name);
    if (statement !== null) return statement;
    const message =
      name === ""
        ? "unnamed prepared statement does not exist"
        : `prepared statement "${name}" does not exist`;
    throw new Fault("session.no_statement", { message });
  }

  #say(...messages: readonly Buffer[]): true {
    this.#session.client.say(...messages);
    return true;
  }
}

function describeLocal(plan: LocalPlan): Buffer {
  const columns = localColumns(plan);
  return columns === null ? write.noData() : write.rowDescription(columns);
}
