/**
 * A session in front of one shard: a pooler's session, at a pooler's speed.
 *
 * No statement is parsed. Messages are passed on where they lie; the shard's own ReadyForQuery says when the
 * transaction is over and the lease can go back. A client may send ahead as far as it likes: answers come from one
 * connection, in order.
 *
 * What a pooler must know of a statement (plainStatements.ts): whether it may have changed settings, which are then
 * asked of the shard before the lease goes back, or made state that cannot be carried, which pins the connection to the
 * client.
 */
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { Described } from "../pool/replyMarks.ts";
import { RELAY } from "../pool/replyQueue.ts";
import type { ReadyStatus } from "../pool/replyReader.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { Notification } from "../wire/backendReaders.ts";
import { errorResponse, faultFields, readyForQuery } from "../wire/backendWriters.ts";
import type { ErrorFields } from "../wire/errorFields.ts";
import { CLIENT_MESSAGE, endsCopy, endsGroup } from "../wire/messageTypes.ts";
import { returnAbandoned, returnSession } from "./abandonedLease.ts";
import type { Phase } from "./activity.ts";
import { type ChannelsHost, ClientChannels } from "./clientChannels.ts";
import type { ClientParameters } from "./clientParameters.ts";
import { type ClientMessages, ClientSide, WAIT_REPLY, WAIT_SERVER_DRAIN, WAIT_WORK } from "./clientSide.ts";
import { GiantMessage } from "./giantMessage.ts";
import { LeaseRequest, type LeaseSeeker } from "./leaseRequest.ts";
import { outcomeUnknown } from "./lostTransaction.ts";
import type { PlainEffects } from "./plainEffects.ts";
import { ASKED, type First, PASS, PlainStatements, SENT, type Understood } from "./plainStatements.ts";
import { asError, connectionLost, sayRefused } from "./refusal.ts";
import type { Entrant, PinnedConnection, Session, SessionParts } from "./session.ts";
import { waitsForStandby } from "./standbyLease.ts";
import { cancelForTime } from "./statementTimeout.ts";
import { UnleasedTransaction } from "./unleasedTransaction.ts";

export class PlainSession implements Session, ClientMessages, LeaseSeeker, ChannelsHost {
  readonly giant: GiantMessage;
  readonly #pid: number;
  readonly #channels: ClientChannels;
  readonly #parts: SessionParts;
  readonly client: ClientSide;
  readonly participant = null;
  readonly #statements: PlainStatements;
  readonly #effects: PlainEffects;
  readonly parameters: ClientParameters;
  #lease: ServerConnection | null = null;
  readonly #request: LeaseRequest;
  readonly #unleased: UnleasedTransaction;
  /** Extended-protocol messages were sent and their Sync was not. */
  #isBatchOpen = false;
  /** Messages are passed over until Sync, as after an error. */
  #isSkipping = false;

  constructor({ pid, stream, parameters, share }: Entrant, parts: SessionParts) {
    this.#pid = pid;
    this.#channels = new ClientChannels(this, parts);
    this.#parts = parts;
    this.#request = new LeaseRequest(this, parts.pools[0]!, share);
    this.parameters = parameters;
    const isSession = parts.mode === "session";
    this.#statements = new PlainStatements(pid, isSession, parts, this.#channels, parameters);
    this.#effects = this.#statements.effects;
    this.giant = new GiantMessage(this.#statements, this.onMessage.bind(this));
    this.client = new ClientSide(stream, parts, this);
    this.#unleased = new UnleasedTransaction(this.client, this.#statements, parts, this.#channels);
  }

  cancel(): void {
    const lease = this.#lease;
    if (lease === null) this.#request.cancel();
    else if (lease.replies.groups.length > 0 || this.#isBatchOpen)
      detach(lease.cancel(), "a cancel is a wish");
  }

  /** How many prepared statements the client has. */
  get statementCount(): number {
    return this.#statements.count;
  }

  pins(): readonly PinnedConnection[] {
    return this.#effects.pins.on(this.#lease);
  }

  /** What goes with the client when it is handed over to another process. */
  get belongings() {
    const isFree = this.#lease === null && !this.#unleased.isOpen && !this.#isBatchOpen && !this.#isSkipping;
    return { isFree, ...this.#statements.stores, channels: this.#channels };
  }

  terminate(fault: Fault): void {
    this.client.refuseBetween(fault, this.#lease?.replies.isBetweenMessages ?? true);
  }

  get phase(): Phase {
    const lease = this.#lease;
    if (lease === null) return this.#unleased.phase;
    if (this.#isBatchOpen || lease.replies.groups.length > 0) return "running";
    return lease.replies.status === "I" ? "idle" : "idleInTransaction";
  }

  timeOutStatement(): void {
    if (this.#lease !== null) cancelForTime(this.client, [this.#lease]);
  }

  // --- ClientMessages ---

  /** With `isGiant` it is the head of a message that is too long to be held. */
  onMessage(type: number, buffer: Buffer, start: number, end: number, isGiant = false): boolean {
    if (type === CLIENT_MESSAGE.terminate) return this.#terminate();
    if (this.#isSkipping && this.#skip(type)) return true;
    if (this.#lease === null && endsCopy(type)) return true; // the COPY failed, and the client was told
    if (this.#lease === null && !isGiant) {
      const answer = this.#unleased.answer(type, buffer, start, end);
      this.#isSkipping = answer === "skip";
      if (answer !== "no") return true;
    }
    if (this.#lease === null) {
      const wantsStandby = !isGiant && this.#statements.wantsStandby(type, buffer, start, end);
      if (!this.#request.ask(wantsStandby)) return this.#takeRefusal(type);
    }
    const lease = this.#lease!;
    if (this.#unleased.isOpen && !this.#unleased.enter(lease)) return false;
    if (lease.replies.groups.isFull || waitsForStandby(lease, this.#isBatchOpen, type))
      return this.client.hold(WAIT_REPLY);
    if (type === CLIENT_MESSAGE.password) {
      throw new Fault("protocol.violation", { message: "unexpected password message" });
    }
    if (endsCopy(type)) lease.replies.noteCopyEnd();
    const understood = isGiant
      ? this.giant.understood(lease, type, buffer)
      : this.#understood(lease, type, buffer, start, end);
    if (understood === ASKED) return this.client.hold(WAIT_WORK);
    if (typeof understood === "object") return this.#doFirst(understood);
    if (endsGroup(type)) {
      this.#isBatchOpen = false;
      this.#isSkipping = false;
      this.#effects.noteGroup();
      lease.replies.expectGroup(RELAY);
    } else if (isGiant) this.#openBatch(lease);
    if (understood === PASS) lease.outbox.pass(buffer, start, end);
    return true;
  }

  onCopyPiece(chunk: Buffer, start: number, end: number): boolean {
    this.#lease?.outbox.pass(chunk, start, end);
    return true;
  }

  onPause(): void {
    if (this.#lease !== null && !this.#lease.flush()) this.client.wait(WAIT_SERVER_DRAIN);
  }

  get isQuiet(): boolean {
    if (this.#unleased.isOpen) return false;
    return this.#lease === null || (this.#lease.isClean && !this.#isBatchOpen);
  }

  notifierOf(_shard: number, pid: number): number {
    return this.#parts.pools[0]!.notifierOf(pid) ?? pid;
  }

  ownConnection(pid: number): ServerConnection | null {
    return this.#lease?.pid === pid ? this.#lease : null;
  }

  onClientDrain(): void {
    this.#channels.onClientDrain();
    this.#lease?.resumeReading();
  }

  onClientClosed(): void {
    const lease = this.#lease;
    this.#lease = null;
    this.#channels.close();
    this.#parts.onEnd(this);
    if (lease === null) return;
    lease.resumeReading();
    const pool = this.#parts.pools[0]!;
    const isAmid = this.#isBatchOpen || this.client.isAmidPieces;
    if (this.#parts.mode === "session") returnSession(pool, lease, isAmid);
    else returnAbandoned(pool, lease, isAmid || this.#effects.isPinned);
  }

  // --- LeaseHolder ---

  relay(_connection: ServerConnection, chunk: Buffer, start: number, end: number): boolean {
    return this.client.relay(chunk.subarray(start, end));
  }

  onClientGroup(connection: ServerConnection, status: ReadyStatus, hadError: boolean, isLast: boolean): void {
    this.#statements.noteAnswered(hadError, isLast);
    this.client.activity.answers += 1;
    if (status === "I") {
      this.client.activity.transactions += 1;
      this.#unleased.end();
      this.#effects.noteIdle(connection, hadError);
    }
    if (!connection.isStandby) this.client.go(WAIT_REPLY);
    if (isLast && connection === this.#lease) this.#settle(connection, status);
    this.client.go(WAIT_REPLY);
  }

  /** All that was asked on the lease has been answered. */
  #settle(connection: ServerConnection, status: ReadyStatus): void {
    if (status !== "I" && this.#parts.mode === "statement") {
      return this.client.refuse(new Fault("session.no_blocks"));
    }
    if (connection.replies.groups.length > 0 || status !== "I" || this.#isBatchOpen) return;
    this.#statements.noteTransactionEnd();
    const { isPinned, mayHaveSet, pins } = this.#effects;
    // A COPY failed: what is sent now would be taken for the rest of half a message.
    if (this.client.isAmidPieces) {
      if (!isPinned) this.#discard(connection);
    } else if (mayHaveSet || pins.mayHaveChanged) this.#lookThenReturn(connection);
    else if (!isPinned) this.#return(connection);
    this.#channels.flush();
  }

  onParameter(connection: ServerConnection, name: string, value: string): void {
    if (connection !== this.#lease || connection.replies.groups.current > RELAY) return;
    this.parameters.noteTold(name, value);
    this.#effects.mayHaveSet = true; // by a function, perhaps, of which the text says nothing
  }

  outlives({ shard }: ServerConnection, error: ErrorFields): ErrorFields | null {
    if (this.#effects.isPinned) return null;
    return this.#statements.isCommitting ? outcomeUnknown(shard, error.message) : asError(error);
  }

  onNotification(connection: ServerConnection, notification: Notification): Buffer | null {
    if (connection !== this.#lease || notification.pid !== connection.pid) return null;
    return this.#channels.ownNotification(0, this.#pid, notification);
  }

  onCopyIn(): void {
    this.client.go(WAIT_REPLY);
  }

  onStatement(_connection: ServerConnection, key: string, stands: boolean): void {
    this.#statements.settle(key, stands);
  }

  onShape(_connection: ServerConnection, described: Described, shape: string | null, isTold: boolean): void {
    if (isTold) this.#statements.noteShape(described, shape);
    else this.client.go(WAIT_WORK);
  }

  onServerDrain(): void {
    this.client.go(WAIT_SERVER_DRAIN);
  }

  onLost(connection: ServerConnection, reason: string, error: ErrorFields | null): void {
    if (connection !== this.#lease) return;
    const { shard, pid, replies } = connection;
    this.#lease = null;
    this.#parts.log.warn("server.lost", { shard, pid, reason });
    const fault = connectionLost(shard, reason, "Repeat what was not committed.");
    // State of the session went with it, or half a message, or the session was meant: only a new one is sound.
    const isEnded = replies.status !== "I" && error !== null && /^25P0/.test(error.sqlstate);
    if (this.#effects.isPinned || !replies.isBetweenMessages || isEnded) {
      if (error !== null && error.severity === "FATAL") this.client.say(errorResponse(error));
      else if (!replies.hasError || !replies.isBetweenMessages) return this.client.refuse(fault);
      this.client.end();
      return;
    }
    const { isCommitting } = this.#statements;
    const words = error === null ? faultFields(fault) : asError(error);
    this.#answerLost(replies, isCommitting ? outcomeUnknown(shard, reason) : words);
  }

  /** Every answer that was owed is the loss of the connection. */
  #answerLost(replies: ServerConnection["replies"], error: ErrorFields): void {
    this.#effects.noteLost();
    this.#unleased.lose(replies, error);
    if (this.#isBatchOpen) this.#isSkipping = true;
    this.#isBatchOpen = false;
    this.client.go(WAIT_REPLY);
    this.client.go(WAIT_SERVER_DRAIN);
    this.client.go(WAIT_WORK); // for columns that nobody will tell
  }

  // --- leases ---

  onLease(lease: ServerConnection): void {
    this.#lease = lease;
    this.client.take(lease, this.parameters.differences(lease));
  }

  #return(lease: ServerConnection): void {
    this.#lease = null;
    this.client.waitIfBehind();
    this.#parts.pools[0]!.checkIn(lease);
  }

  /** Asks the shard what the client has set, and whether it has state that only this connection has. */
  #lookThenReturn(lease: ServerConnection): void {
    this.client.wait(WAIT_WORK);
    const work = this.#effects
      .look(lease, (...told) => this.client.say(...told))
      .then((isKnown) => {
        if (lease === this.#lease) {
          if (!isKnown) this.#lose(lease);
          else if (!this.#effects.isPinned) this.#return(lease);
        }
        this.client.go(WAIT_WORK);
        this.#channels.flush();
      });
    detach(work, "the client waits for it");
  }

  #discard(lease: ServerConnection): void {
    this.#lease = null;
    this.#parts.pools[0]!.discard(lease);
    this.client.go(WAIT_SERVER_DRAIN);
  }

  #lose(lease: ServerConnection): void {
    this.#discard(lease);
    this.client.refuse(new Fault("pool.connection_lost"));
  }

  // --- messages ---

  /**
   * Does what a message needs beyond being passed on. What is malformed is
   * passed on as it is: the shard says what is wrong with it, in its place among the answers.
   */
  #understood(lease: ServerConnection, type: number, buffer: Buffer, start: number, end: number): Understood {
    try {
      if (this.#unleased.isLost && this.#statements.refuseChain(lease, type, buffer, start, end)) {
        if (type !== CLIENT_MESSAGE.query) this.#openBatch(lease);
        return SENT;
      }
      switch (type) {
        case CLIENT_MESSAGE.query:
          return this.#statements.query(lease, buffer, start, end);
        case CLIENT_MESSAGE.parse:
          this.#statements.parse(lease, buffer, start, end);
          this.#openBatch(lease);
          return SENT;
        case CLIENT_MESSAGE.bind:
        case CLIENT_MESSAGE.describe:
        case CLIENT_MESSAGE.close: {
          const understood = this.#statements.named(lease, type, buffer, start, end);
          if (typeof understood !== "object") this.#openBatch(lease);
          return understood;
        }
        case CLIENT_MESSAGE.execute:
        case CLIENT_MESSAGE.flush:
          this.#openBatch(lease);
      }
    } catch (error) {
      if (!(error instanceof Fault) || error.id !== "protocol.malformed") throw error;
      if (type !== CLIENT_MESSAGE.query) this.#openBatch(lease);
    }
    return PASS;
  }

  /** The message is presented again, and a LISTEN sent when the client hears what is notified on the channel. */
  #doFirst(first: First): false {
    const done = "channel" in first ? this.#channels.listenOrRefuse(0, first.channel) : first.asked;
    detach(
      done.then(() => this.client.go(WAIT_WORK)),
      "the client waits for it",
    );
    return this.client.hold(WAIT_WORK);
  }

  /** Whether the message is passed over after an error that pgxa told of; Sync ends that. */
  #skip(type: number): boolean {
    if (type !== CLIENT_MESSAGE.sync) return true;
    if (this.#lease !== null) return false;
    this.#isSkipping = false;
    this.client.say(readyForQuery(this.#unleased.statusAfterError));
    return true;
  }

  #openBatch(lease: ServerConnection): void {
    this.#isBatchOpen = true;
    lease.replies.isBatchOpen = true;
  }

  #terminate(): boolean {
    const replies = this.#lease?.replies;
    if (replies && replies.groups.length > 0 && !replies.isCopyingIn) return this.client.hold(WAIT_REPLY);
    return this.client.end(true);
  }

  /** Answers a message for which there is no lease. */
  #takeRefusal(type: number): boolean {
    const refusal = this.#request.takeRefusal();
    if (refusal === null) return false;
    this.#unleased.noteRefused(refusal);
    this.#isSkipping = sayRefused(this.client, type, refusal, this.#unleased.statusAfterError);
    return true;
  }
}
