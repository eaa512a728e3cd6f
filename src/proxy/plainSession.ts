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
import type { ByteStream } from "../pool/byteStream.ts";
import type { Described } from "../pool/replyMarks.ts";
import { RELAY } from "../pool/replyQueue.ts";
import type { ReadyStatus } from "../pool/replyReader.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { Notification } from "../wire/backendReaders.ts";
import { errorResponse, faultResponse, readyForQuery } from "../wire/backendWriters.ts";
import type { ErrorFields } from "../wire/errorFields.ts";
import { CLIENT_MESSAGE, endsCopy, endsGroup } from "../wire/messageTypes.ts";
import { returnAbandoned, returnSession } from "./abandonedLease.ts";
import { type ChannelsHost, ClientChannels } from "./clientChannels.ts";
import type { ClientParameters } from "./clientParameters.ts";
import { type ClientMessages, ClientSide, WAIT_REPLY, WAIT_SERVER_DRAIN, WAIT_WORK } from "./clientSide.ts";
import { GiantMessage } from "./giantMessage.ts";
import { LeaseRequest, type LeaseSeeker } from "./leaseRequest.ts";
import type { ListenFirst, PlainEffects } from "./plainEffects.ts";
import { ASKED, PASS, PlainStatements, SENT, type Understood } from "./plainStatements.ts";
import { asRefusal, connectionLost, refusalResponse } from "./refusal.ts";
import type { PinnedConnection, Session, SessionParts } from "./session.ts";

export class PlainSession implements Session, ClientMessages, LeaseSeeker, ChannelsHost {
  readonly giant: GiantMessage;
  readonly #pid: number;
  readonly #channels: ClientChannels;
  readonly #parts: SessionParts;
  readonly #client: ClientSide;
  readonly #statements: PlainStatements;
  readonly #effects: PlainEffects;
  readonly parameters: ClientParameters;
  #lease: ServerConnection | null = null;
  readonly #request: LeaseRequest;
  /** Extended-protocol messages were sent and their Sync was not. */
  #isBatchOpen = false;
  /** Messages are passed over until Sync, as after an error. */
  #isSkipping = false;

  /** `pid` is the process id that the client was given. */
  constructor(pid: number, stream: ByteStream, parameters: ClientParameters, parts: SessionParts) {
    this.#pid = pid;
    this.#channels = new ClientChannels(this, parts.hubs);
    this.#parts = parts;
    this.#request = new LeaseRequest(this, parts.pools[0]!);
    this.parameters = parameters;
    const isSession = parts.mode === "session";
    this.#statements = new PlainStatements(pid, isSession, parts, this.#channels, parameters);
    this.#effects = this.#statements.effects;
    this.giant = new GiantMessage(this.#statements, this.onMessage.bind(this));
    this.#client = new ClientSide(stream, parts.config.limits, this);
  }

  get participant(): null {
    return null;
  }

  get client(): ClientSide {
    return this.#client;
  }

  cancel(): void {
    const lease = this.#lease;
    if (lease === null) this.#request.cancel();
    else if (lease.replies.groups.length > 0 || this.#isBatchOpen)
      detach(lease.cancel(), "a cancel is a wish");
  }

  pins(): readonly PinnedConnection[] {
    return this.#effects.pins.on(this.#lease);
  }

  /** What goes with the client when it is handed over to another process. */
  get belongings() {
    const isFree = this.#lease === null && !this.#isBatchOpen && !this.#isSkipping;
    return { isFree, ...this.#statements.stores, channels: this.#channels };
  }

  terminate(fault: Fault): void {
    this.#client.refuse(fault);
  }

  // --- ClientMessages ---

  /** With `isGiant` it is the head of a message that is too long to be held. */
  onMessage(type: number, buffer: Buffer, start: number, end: number, isGiant = false): boolean {
    if (type === CLIENT_MESSAGE.terminate) return this.#terminate();
    if (this.#isSkipping && this.#skip(type)) return true;
    if (this.#lease === null && endsCopy(type)) return true; // the COPY failed, and the client was told
    if (this.#lease === null && !this.#request.ask()) return this.#takeRefusal(type);
    const lease = this.#lease!;
    if (lease.replies.groups.isFull) return this.#client.hold(WAIT_REPLY);
    if (type === CLIENT_MESSAGE.password) {
      throw new Fault("protocol.violation", { message: "unexpected password message" });
    }
    if (endsCopy(type)) lease.replies.noteCopyEnd();
    const understood = isGiant
      ? this.giant.understood(lease, type, buffer)
      : this.#understood(lease, type, buffer, start, end);
    if (understood === ASKED) return this.#client.hold(WAIT_WORK);
    if (typeof understood === "object") return this.#listenFirst(understood);
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
    if (this.#lease !== null && !this.#lease.flush()) this.#client.wait(WAIT_SERVER_DRAIN);
  }

  get isQuiet(): boolean {
    return this.#lease === null || (this.#lease.isClean && !this.#isBatchOpen);
  }

  notifierOf(_shard: number, pid: number): number {
    return this.#parts.pools[0]!.notifierOf(pid) ?? pid;
  }

  hearsItself(_shard: number, pid: number, channel: string): boolean {
    return this.#parts.pools[0]!.hearsItself(pid, this.#pid, channel);
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
    const isAmid = this.#isBatchOpen || this.#client.isAmidPieces;
    if (this.#parts.mode === "session") returnSession(pool, lease, isAmid);
    else returnAbandoned(pool, lease, isAmid || this.#effects.isPinned);
  }

  // --- LeaseHolder ---

  relay(_connection: ServerConnection, chunk: Buffer, start: number, end: number): boolean {
    return this.#client.relay(chunk.subarray(start, end));
  }

  onClientGroup(connection: ServerConnection, status: ReadyStatus, hadError: boolean, isLast: boolean): void {
    this.#statements.noteAnswered(hadError, isLast);
    if (status === "I") this.#effects.noteIdle(connection, hadError);
    this.#client.go(WAIT_REPLY);
    if (!isLast || connection !== this.#lease) return;
    if (status !== "I" && this.#parts.mode === "statement") {
      return this.#client.refuse(new Fault("session.no_blocks"));
    }
    if (connection.replies.groups.length > 0 || status !== "I" || this.#isBatchOpen) return;
    this.#statements.noteTransactionEnd();
    const { isPinned, mayHaveSet, pins } = this.#effects;
    // A COPY failed: what is sent now would be taken for the rest of half a message.
    if (this.#client.isAmidPieces) {
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

  outlives(connection: ServerConnection): boolean {
    return connection.replies.status === "I" && !this.#effects.isPinned;
  }

  onNotification(connection: ServerConnection, { pid, channel, payload }: Notification): Buffer | null {
    if (connection !== this.#lease || pid !== connection.pid) return null;
    return this.#channels.ownNotification(0, this.#pid, channel, payload);
  }

  onCopyIn(): void {
    this.#client.go(WAIT_REPLY);
  }

  onStatement(_connection: ServerConnection, key: string, stands: boolean): void {
    this.#statements.settle(key, stands);
  }

  onShape(_connection: ServerConnection, described: Described, shape: string | null, isTold: boolean): void {
    if (isTold) this.#statements.noteShape(described, shape);
    else this.#client.go(WAIT_WORK);
  }

  onServerDrain(): void {
    this.#client.go(WAIT_SERVER_DRAIN);
  }

  onLost(connection: ServerConnection, reason: string, error: ErrorFields | null): void {
    if (connection !== this.#lease) return;
    const { shard, pid, replies } = connection;
    this.#lease = null;
    this.#parts.log.warn("server.lost", { shard, pid, reason });
    const fault = connectionLost(shard, reason, "Repeat what was not committed.");
    // A transaction block or state of the session went with it, or half a message: only a new session is sound.
    const isBeyondRepair = replies.status !== "I" || this.#effects.isPinned || !replies.isBetweenMessages;
    if (!isBeyondRepair) return this.#answerLost(replies, fault);
    if (error !== null && error.severity === "FATAL") this.#client.say(errorResponse(error));
    else if (!replies.hasError || !replies.isBetweenMessages) return this.#client.refuse(fault);
    this.#client.end();
  }

  /** Every answer that was owed is the loss of the connection. */
  #answerLost(replies: ServerConnection["replies"], fault: Fault): void {
    const owed = replies.groups.count(RELAY);
    this.#effects.noteLost();
    for (let i = 0; i < owed; i += 1) {
      const isTold = i === 0 && replies.hasError;
      this.#client.say(...(isTold ? [] : [faultResponse(fault)]), readyForQuery("I"));
    }
    if (this.#isBatchOpen) {
      this.#isBatchOpen = false;
      this.#isSkipping = true;
      if (owed > 0 || !replies.hasError) this.#client.say(faultResponse(fault));
    }
    this.#client.go(WAIT_REPLY);
    this.#client.go(WAIT_SERVER_DRAIN);
    this.#client.go(WAIT_WORK); // for columns that nobody will tell
  }

  // --- leases ---

  onLease(lease: ServerConnection): void {
    this.#lease = lease;
    const told = this.parameters.differences(lease);
    if (told.length > 0) this.#client.say(...told);
  }

  #return(lease: ServerConnection): void {
    this.#lease = null;
    this.#client.waitIfBehind();
    this.#parts.pools[0]!.checkIn(lease);
  }

  /** Asks the shard what the client has set, and whether it has state that only this connection has. */
  #lookThenReturn(lease: ServerConnection): void {
    this.#client.wait(WAIT_WORK);
    const work = this.#look(lease).then((isKnown) => {
      if (lease === this.#lease) {
        if (!isKnown) this.#lose(lease);
        else if (!this.#effects.isPinned) this.#return(lease);
      }
      this.#client.go(WAIT_WORK);
      this.#channels.flush();
    });
    detach(work, "the client waits for it");
  }

  async #look(lease: ServerConnection): Promise<boolean> {
    const { pins, mayHaveSet } = this.#effects;
    this.#effects.mayHaveSet = false;
    if (mayHaveSet && !(await this.parameters.capture(lease))) return false;
    if (pins.mayHaveChanged && !(await pins.look(lease))) return false;
    if (!this.#effects.isPinned || this.parameters.isInForceOn(lease)) return true;
    // A RESET went to the shard's own value, and the client's is that of its startup packet.
    return this.parameters.apply(lease).then(
      () => {
        this.#client.say(...this.parameters.differences(lease));
        return true;
      },
      () => false,
    );
  }

  #discard(lease: ServerConnection): void {
    this.#lease = null;
    this.#parts.pools[0]!.discard(lease);
    this.#client.go(WAIT_SERVER_DRAIN);
  }

  #lose(lease: ServerConnection): void {
    this.#discard(lease);
    this.#client.refuse(new Fault("pool.connection_lost"));
  }

  // --- messages ---

  /**
   * Does what a message needs beyond being passed on. What is malformed is
   * passed on as it is: the shard says what is wrong with it, in its place among the answers.
   */
  #understood(lease: ServerConnection, type: number, buffer: Buffer, start: number, end: number): Understood {
    try {
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

  /** The LISTEN is presented again, and sent, when the client hears what is notified on `channel`. */
  #listenFirst({ channel }: ListenFirst): false {
    this.#client.wait(WAIT_WORK);
    const listening = this.#channels.listen(0, channel).catch((error: unknown) => {
      const refusal = asRefusal(error);
      if (refusal instanceof Fault) this.#client.refuse(refusal);
    });
    detach(
      listening.then(() => this.#client.go(WAIT_WORK)),
      "the client waits for it",
    );
    return false;
  }

  /** Whether the message is passed over after an error that pgxa told of; Sync ends that. */
  #skip(type: number): boolean {
    if (type !== CLIENT_MESSAGE.sync) return true;
    if (this.#lease !== null) return false;
    this.#isSkipping = false;
    this.#client.say(readyForQuery("I"));
    return true;
  }

  #openBatch(lease: ServerConnection): void {
    this.#isBatchOpen = true;
    lease.replies.isBatchOpen = true;
  }

  #terminate(): boolean {
    const lease = this.#lease;
    const mustWait = lease !== null && lease.replies.groups.length > 0 && !lease.replies.isCopyingIn;
    if (mustWait) return this.#client.hold(WAIT_REPLY);
    return this.#client.end();
  }

  /** Answers a message for which there is no lease. */
  #takeRefusal(type: number): boolean {
    const refusal = this.#request.takeRefusal();
    if (refusal === null) return false;
    if (type === CLIENT_MESSAGE.sync) {
      this.#isSkipping = false;
      this.#client.say(readyForQuery("I"));
    } else if (type === CLIENT_MESSAGE.query || type === CLIENT_MESSAGE.functionCall) {
      this.#client.say(refusalResponse(refusal), readyForQuery("I"));
    } else {
      this.#isSkipping = true;
      this.#client.say(refusalResponse(refusal));
    }
    return true;
  }
}
