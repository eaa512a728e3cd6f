/**
 * A session in front of several shards: each statement goes to the shard that owns the row.
 *
 * One statement at a time: the next message is looked at when the shard has answered the one before, since the next
 * may go to another shard and the answers must come in order. A batch goes ahead on one shard (extendedProtocol.ts).
 *
 * A message that cannot be handled yet (no lease, a reply to wait for) is presented again when it can; handlers
 * therefore change nothing before they know that they can go through.
 *
 * Invariant: bytes for the client come from one connection at a time, `#active`, until it owes nothing.
 */
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import { invariant } from "../base/invariant.ts";
import { type ClientGroup, RELAY_WITHOUT_READY } from "../pool/replyQueue.ts";
import type { ReadyStatus } from "../pool/replyReader.ts";
import type { LeaseHolder, ServerConnection } from "../pool/serverConnection.ts";
import type { Plan, StatementPlan } from "../routing/plan.ts";
import { faultResponse, readyForQuery } from "../wire/backendWriters.ts";
import type { ErrorFields } from "../wire/errorFields.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import type { Phase } from "./activity.ts";
import { type ChannelsHost, ClientChannels } from "./clientChannels.ts";
import type { ClientParameters } from "./clientParameters.ts";
import { type ClientMessages, ClientSide, WAIT_REPLY, WAIT_SERVER_DRAIN, WAIT_WORK } from "./clientSide.ts";
import { ClientTransaction } from "./clientTransaction.ts";
import { ClientWaits, type WaitingSession } from "./clientWaits.ts";
import { DestinationFinder, hasTextKey } from "./destination.ts";
import { ExtendedProtocol } from "./extendedProtocol.ts";
import { Hints } from "./hints.ts";
import { answerLocal, type LocalContext, type LocalPlan, throwIfFailed } from "./localStatements.ts";
import { askerOf } from "./longWait.ts";
import { asError, asRefusal, connectionLost, type Refusal } from "./refusal.ts";
import type { Entrant, PinnedConnection, Session, SessionParts } from "./session.ts";
import { ShardedEffects } from "./shardedEffects.ts";
import { SimpleProtocol } from "./simpleProtocol.ts";
import { StandbyAim } from "./standbyAim.ts";
import { StatementStore } from "./statementStore.ts";

type OnGroupEnd = (hadError: boolean) => void;

export class ShardedSession implements Session, ClientMessages, LeaseHolder, WaitingSession, ChannelsHost {
  readonly client: ClientSide;
  readonly transaction: ClientTransaction;
  readonly statements: StatementStore;
  readonly destinations: DestinationFinder;
  readonly hints = new Hints();
  readonly participant: ClientWaits;
  readonly parts: SessionParts;
  readonly parameters: ClientParameters;
  readonly local: LocalContext;
  readonly #channels: ClientChannels;
  readonly effects: ShardedEffects;
  readonly #simple: SimpleProtocol;
  readonly #extended: ExtendedProtocol;
  /** The connection whose bytes go to the client. */
  #active: ServerConnection | null = null;
  /** Who waits for the current group to end. */
  #onGroupEnd: OnGroupEnd | null = null;
  /** What a shard that was not asked has said meanwhile. */
  #unasked: Buffer[] = [];
  /** Why the message that is presented again cannot be served. */
  #refusal: Refusal | null = null;
  #isWorking = false;
  isCommitting = false;

  constructor({ pid, stream, parameters, share }: Entrant, parts: SessionParts) {
    invariant(parts.sharding !== null, "a sharded session has a router");
    const { router, commits, admission, detector } = parts.sharding;
    const { clock } = parts.environment;
    const waits = { clock, commits, watch: detector.watch, ...parts.config.deadlock };
    this.participant = new ClientWaits(pid, this, waits);
    this.parts = parts;
    this.parameters = parameters;
    this.statements = new StatementStore(parts.statementNames);
    this.transaction = new ClientTransaction({
      pools: parts.pools,
      isSessionMode: parts.mode === "session",
      admission,
      commits,
      parameters,
      aim: new StandbyAim(parts.mode === "session" ? null : parts.standbys, this.hints, parameters),
      holder: this,
      clock,
      owner: this.participant,
      asker: askerOf(this, share),
      translate: (refusal) => this.participant.translate(refusal),
      onCommitted: () => {
        this.statements.noteTransactionEnd();
        this.effects.settle(true);
        detector.noteCommitted(pid);
      },
      onDecided: () => this.participant.leaveWatch(),
      onLease: (connection) => this.client.take(connection, parameters.differences(connection)),
    });
    this.#channels = new ClientChannels(this, parts);
    this.effects = new ShardedEffects(pid, this, this.#channels, parts);
    const first = Math.floor(parts.environment.random.fraction() * parts.pools.length);
    this.destinations = new DestinationFinder(router, this.hints, this.transaction, first);
    const { transaction, hints, statements } = this;
    this.local = { router, transaction, hints, statements, allowsBlocks: parts.mode !== "statement" };
    this.#simple = new SimpleProtocol(this);
    this.#extended = new ExtendedProtocol(this);
    this.client = new ClientSide(stream, parts, this);
  }

  cancel(): void {
    if (this.isCommitting) return; // what is being committed is past recalling
    this.parts.sharding?.admission.refuse(this.participant, new Fault("session.canceled"));
    for (const connection of this.running) detach(connection.cancel(), "a cancel is a wish");
  }

  get running(): readonly ServerConnection[] {
    return this.transaction.connections.filter(
      (connection) => connection.replies.groups.length > 0 || connection === this.#extended.connection,
    );
  }

  endBatch(): void {
    if (this.#extended.connection !== null) this.#extended.closeSegment();
  }

  pins(): readonly PinnedConnection[] {
    return this.effects.pins();
  }

  terminate(fault: Fault): void {
    const speaker = this.#active ?? this.#extended.connection;
    this.client.refuseBetween(fault, speaker?.replies.isBetweenMessages ?? true);
  }

  get phase(): Phase {
    const { current, isQueued } = this.transaction;
    if (this.isCommitting) return "beyondRecall";
    if (isQueued) return current === null ? "waiting" : "waitingInTransaction";
    if (this.#active !== null || this.#isWorking || this.#extended.connection !== null) return "running";
    return current === null ? "idle" : "idleInTransaction";
  }

  timeOutStatement(): void {
    this.participant.timeOut();
  }

  // --- ClientMessages ---

  onMessage(type: number, buffer: Buffer, start: number, end: number): boolean {
    if (type === CLIENT_MESSAGE.copyDone || type === CLIENT_MESSAGE.copyFail) {
      for (const { replies } of this.running) replies.noteCopyEnd();
      return this.onCopyPiece(buffer, start, end);
    }
    if (type === CLIENT_MESSAGE.terminate && this.#active?.replies.isCopyingIn) return this.client.end();
    if (this.#active !== null) return this.hold(WAIT_REPLY);
    if (type === CLIENT_MESSAGE.terminate) return this.client.end(true);
    if (type === CLIENT_MESSAGE.password)
      throw new Fault("protocol.violation", { message: "unexpected password message" });
    if (type !== CLIENT_MESSAGE.query && type !== CLIENT_MESSAGE.functionCall)
      return this.#extended.onMessage(type, buffer, start, end);
    if (this.#extended.isSkipping) return true;
    return this.#extended.closeSegment() && this.#simple.onMessage(type, buffer, start, end);
  }

  onCopyPiece(chunk: Buffer, start: number, end: number): boolean {
    (this.#active ?? this.#extended.connection)?.outbox.pass(chunk, start, end);
    return true;
  }

  onPause(): void {
    const connection = this.#active ?? this.#extended.connection;
    // What was sent ahead of its Sync may run, and wait, already.
    if (connection !== this.#active) this.participant.begin(this.transaction.leases > 1);
    if (connection?.flush() === false) this.client.wait(WAIT_SERVER_DRAIN);
  }

  get isQuiet(): boolean {
    return this.phase === "idle";
  }

  notifierOf(shard: number, pid: number): number {
    return this.parts.pools[shard]!.notifierOf(pid) ?? pid;
  }

  onClientDrain(): void {
    this.#channels.onClientDrain();
    for (const connection of this.transaction.connections) connection.resumeReading();
  }

  onClientClosed(): void {
    this.#channels.close();
    this.parts.onEnd(this);
    if (this.#isWorking) this.cancel();
    else this.#abandon();
  }

  relay(connection: ServerConnection, chunk: Buffer, start: number, end: number): boolean {
    const bytes = chunk.subarray(start, end);
    const speaker = this.#active ?? this.#extended.connection;
    if (speaker === null || speaker === connection) return this.client.relay(bytes);
    this.#unasked.push(Buffer.from(bytes));
    connection.pauseReading();
    return true;
  }

  onClientGroup(connection: ServerConnection, status: ReadyStatus, hadError: boolean, isLast: boolean): void {
    if (!isLast || connection !== this.#active) return;
    this.statements.noteAnswered(hadError, isLast);
    this.participant.end();
    this.client.activity.answers += 1;
    this.#active = null;
    const onGroupEnd = this.#onGroupEnd;
    this.#onGroupEnd = null;
    this.#sayUnasked();
    if (status === "E" || !this.effects.mayHaveSet)
      this.#afterGroup(connection, status, hadError, onGroupEnd);
    else {
      this.effects.mayHaveSet = false;
      this.work(async () => {
        await this.transaction.capture(connection);
        this.#afterGroup(connection, status, hadError, onGroupEnd);
      });
    }
  }

  onParameter(connection: ServerConnection, name: string, value: string): void {
    if (connection !== this.#active || connection.replies.groups.current > RELAY_WITHOUT_READY) return;
    this.parameters.noteTold(name, value);
    this.effects.mayHaveSet = true; // by a function, perhaps, of which the text says nothing
  }

  onStatement(_connection: ServerConnection, key: string, stands: boolean): void {
    this.statements.settle(key, stands);
  }

  onServerDrain(): void {
    this.client.go(WAIT_SERVER_DRAIN);
  }

  onCopyIn(): void {
    this.client.go(WAIT_REPLY);
  }
  readonly ownChannels = (): ClientChannels => this.#channels;
  readonly outlives = (_connection: ServerConnection, error: ErrorFields): ErrorFields => asError(error);
  readonly ownConnection = () => null;
  onShape(): void {}
  readonly onNotification = () => null;

  onLost(connection: ServerConnection, reason: string): void {
    const { shard, pid, replies } = connection;
    this.parts.log.warn("server.lost", { shard, pid, reason });
    this.transaction.lose(connection, reason);
    if (connection !== this.#active && connection !== this.#extended.connection) return;
    const fault =
      this.participant.doomFault ??
      connectionLost(shard, reason, "Roll back, and repeat what was not committed.");
    this.participant.end();
    const onGroupEnd = this.#onGroupEnd;
    const isOwed = this.#active === connection;
    this.#active = null;
    this.#onGroupEnd = null;
    this.#extended.lose();
    if (!replies.isBetweenMessages) this.client.refuse(fault);
    else if (!replies.hasError) this.client.say(faultResponse(fault));
    this.transaction.noteLossTold();
    if (onGroupEnd !== null) onGroupEnd(true);
    else if (isOwed) this.client.say(readyForQuery(this.transaction.status));
    this.client.go(WAIT_REPLY);
    this.client.go(WAIT_SERVER_DRAIN);
  }

  // --- for the protocols ---

  /** Stops the client until `reason` is over; the message is presented again. */
  hold(reason: number): false {
    return this.client.hold(reason);
  }

  /** Does something that takes time while the client waits. A Refusal it throws meets the message presented next. */
  work(action: () => Promise<void>): void {
    invariant(!this.#isWorking, "one thing is worked on at a time");
    this.#isWorking = true;
    this.client.wait(WAIT_WORK);
    this.participant.begin(this.transaction.leases > 0);
    detach(this.#finish(action), "it ends in an answer to the client");
  }

  /** Throws a Fault if the parameters of a Bind cannot be read as the shard will read them, where the hash of a text depends on them. */
  checkParameters(plan: Plan, buffer: Buffer, start: number, end: number): void {
    if (hasTextKey(plan)) this.parameters.checkEncoding(buffer, start, end);
    this.effects.noteBind(plan, buffer, start, end);
  }

  /** Throws why the work for this message failed. */
  throwRefusal(): void {
    const refusal = this.#refusal;
    this.#refusal = null;
    if (refusal !== null) throw refusal;
  }

  /** The connection to `shard`; null: it is on the way, and the message is presented again. */
  open(shard: number): ServerConnection | null {
    const connection = this.transaction.tryOpen(shard);
    if (connection === null) this.work(() => this.client.meter.during(this.transaction.open(shard)));
    return connection;
  }

  /** Expects the rest of what `connection` owes; the next message waits for it, and `onEnd` comes before that. */
  expect(connection: ServerConnection, kind: ClientGroup, onEnd: OnGroupEnd | null = null): void {
    connection.replies.expectGroup(kind);
    this.participant.begin(this.transaction.leases > 1);
    this.#active = connection;
    this.#onGroupEnd = onEnd;
  }

  checkStatus(plan: Plan): void {
    throwIfFailed(plan, this.transaction);
    this.effects.throwIfRefused(plan);
  }

  /** Whether a LISTEN may be sent; if not, the channel comes first, and the message is presented again. */
  hearsFirst(plan: StatementPlan | Extract<Plan, { kind: "set" }>, shard: number): boolean {
    const channel = this.effects.missingChannel(plan, shard);
    if (channel !== null) this.work(() => this.#channels.listen(shard, channel));
    return channel === null;
  }

  /** The answer of a statement that pgxa answers itself, row description not included; rejects with a Refusal. */
  async answer(plan: LocalPlan): Promise<readonly Buffer[]> {
    const isCommit = plan.kind === "commit";
    this.isCommitting = isCommit;
    try {
      return await answerLocal(plan, this.local);
    } finally {
      this.isCommitting = false;
      if (isCommit) this.parts.faultPoint("client.before-told", 0);
    }
  }

  /** Tells the client the answer to a commit or anything else. */
  tell(plan: LocalPlan, ...messages: readonly Buffer[]): void {
    this.client.say(...messages);
    if (plan.kind === "commit") this.parts.faultPoint("client.after-told", 0);
  }

  /** An error within the transaction, if there is one. */
  fail(): void {
    this.transaction.current?.fail();
  }

  async #finish(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      this.#refusal = this.participant.translate(asRefusal(error));
    }
    // An open batch has to end first: the message that is refused ends it, and that clears away.
    if (this.participant.isDefeated && this.#extended.connection === null) await this.participant.clearAway();
    this.participant.end();
    this.client.activity.answers += 1;
    this.#isWorking = false;
    if (this.client.isOver) this.#abandon();
    if (this.transaction.current === null) this.effects.settle(false);
    this.client.go(WAIT_WORK);
    this.#channels.flush();
  }

  #afterGroup(
    connection: ServerConnection,
    status: ReadyStatus,
    hadError: boolean,
    onGroupEnd: OnGroupEnd | null,
  ): void {
    // What is sent now would be taken for the rest of half a message.
    if (this.client.isAmidPieces) this.transaction.drop(connection, "a COPY ended within a message");
    this.transaction.settle(connection, status);
    if (this.transaction.current === null) {
      this.client.activity.transactions += 1;
      this.statements.noteTransactionEnd();
      this.effects.settle(!hadError);
    }
    onGroupEnd?.(hadError);
    if (this.participant.isDefeated && !this.#isWorking) this.work(async () => {}); // which clears away
    this.client.waitIfBehind();
    this.client.go(WAIT_REPLY);
    this.#channels.flush();
  }

  #sayUnasked(): void {
    if (this.#unasked.length === 0) return;
    this.client.say(...this.#unasked.splice(0));
    for (const connection of this.transaction.connections) connection.resumeReading();
  }

  #abandon(): void {
    this.#active = null;
    this.participant.end();
    this.transaction.abandon(this.#extended.connection !== null);
  }
}
