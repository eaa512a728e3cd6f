/**
 * The client's side of a session: its stream, its messages, and the art of stopping in the middle.
 *
 * Messages are handed over one by one. Those that decide something are collected and whole; CopyData goes by in
 * pieces, and so does what follows the head of a message too long to be held, where the session takes such. When the
 * session cannot go on (no lease yet, a full socket, a reply to wait for) it says `false` and
 * names what it waits for; the message stays where it lies, the stream stops reading, and once nothing is waited
 * for any more the same message is presented again. So nothing is queued, and a client that sends ahead is held
 * back by TCP itself.
 */
import type { Environment } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { LimitsConfig } from "../config/config.ts";
import { ClientMeter } from "../observe/clientMeter.ts";
import type { UserTraffic } from "../observe/traffic.ts";
import type { ByteStream } from "../pool/byteStream.ts";
import { Outbox } from "../pool/outbox.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import { readSqlstate } from "../wire/backendReaders.ts";
import { faultResponse } from "../wire/backendWriters.ts";
import { FrameScanner } from "../wire/frameScanner.ts";
import { MessageCollector } from "../wire/messageCollector.ts";
import { MessageHead, mayBeGiant } from "../wire/messageHead.ts";
import { CLIENT_MESSAGE, isOutsideBatches, SERVER_MESSAGE } from "../wire/messageTypes.ts";
import { violationFault } from "../wire/violationFault.ts";
import { Activity } from "./activity.ts";

export interface ClientMessages {
  /** A whole message at `buffer[start, end)`; false: not now, present it again. */
  onMessage(type: number, buffer: Buffer, start: number, end: number): boolean;
  /** A piece of CopyData; false: not now. */
  onCopyPiece(chunk: Buffer, start: number, end: number): boolean;
  /** Takes messages that are too long to be held; without it they are refused. */
  readonly giant?: GiantMessages;
  /** All of a chunk has been presented, or the session stopped: what is ready should be written. */
  onPause(): void;
  onClientDrain(): void;
  onClientClosed(reason: string): void;
}

/** Takes messages that are too long to be held: the head (messageHead.ts) first, then the rest in pieces. */
export interface GiantMessages {
  /** `head` is in memory of its own; false: not now, present it again. */
  onHead(type: number, head: Buffer): boolean;
  /** A piece behind the head; with `isLast` the message ends. */
  onPiece(chunk: Buffer, start: number, end: number, isLast: boolean): void;
}

/** What a session can wait for; a bit each. */
export const WAIT_LEASE = 1;
export const WAIT_REPLY = 2;
export const WAIT_SERVER_DRAIN = 4;
export const WAIT_WORK = 8;
/** For a cancel request to have hit what it was meant for. */
export const WAIT_CANCEL = 16;
/** For the client to have read what it was sent. */
export const WAIT_CLIENT_DRAIN = 32;

const NOTHING: Buffer = Buffer.alloc(0);
const KEPT_BYTES_MAX = 2_048;

/** What it is made of. */
export interface ClientSideParts {
  readonly config: { readonly limits: Pick<LimitsConfig, "messageBytesMax" | "messageHeldMax"> };
  /** Where the client is counted. */
  readonly traffic: UserTraffic;
  readonly environment: Pick<Environment, "clock">;
}

export class ClientSide {
  readonly stream: ByteStream;
  /** What pgxa itself says to the client. */
  readonly outbox: Outbox;
  readonly activity = new Activity();
  readonly meter: ClientMeter;
  /** Where the register has it. */
  place = -1;
  readonly #messages: ClientMessages;
  readonly #scanner: FrameScanner;
  readonly #collector = new MessageCollector();
  readonly #messageHeldMax: number;
  readonly #head = new MessageHead();
  /** Whether the session has taken the head of the current message. */
  #isHeadTaken = false;
  /** Whether a message that goes by in pieces has not ended. */
  #isAmidPieces = false;
  #chunk: Buffer = NOTHING;
  #chunkEnd = 0;
  #carry: Buffer = NOTHING;
  /** Whether the chunk is in memory of its own, and the stream reads on. */
  #isKept = false;
  #waiting = 0;
  #isPumping = false;
  #isPending = false;
  #isOver = false;
  #isBehind = false;
  /** Messages of the extended protocol came, and their Sync did not. */
  #isBatchOpen = false;
  #isExpected = false;
  /** Why it is to be ended once it has arrived. */
  #farewell: Fault | null = null;

  constructor(
    stream: ByteStream,
    { config: { limits }, traffic, environment }: ClientSideParts,
    messages: ClientMessages,
  ) {
    this.meter = new ClientMeter(traffic, environment.clock);
    this.stream = stream;
    this.outbox = new Outbox(stream);
    this.#messages = messages;
    this.#scanner = new FrameScanner("client", limits.messageBytesMax);
    this.#messageHeldMax = limits.messageHeldMax;
    stream.setOwner(this);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether half a message may have been passed on, of which the rest is still to come. */
  get isAmidPieces(): boolean {
    return this.#isAmidPieces;
  }

  get isWaiting(): boolean {
    return this.#waiting !== 0;
  }

  /**
   * Whether nothing of the client is under way here: what was read has been handled up to the last batch's end, and what
   * was written has left. What the session itself still waits for is not seen from here.
   */
  get isAtRest(): boolean {
    if (this.#isOver || this.#isPumping || this.#isPending || this.#waiting !== 0) return false;
    const scanner = this.#scanner;
    const isRead = scanner.isBetweenMessages && scanner.violation === null;
    const isHandled = scanner.end + this.#carry.length === this.#chunkEnd;
    return isRead && isHandled && !this.#isBatchOpen && !this.#isBehind && this.stream.isFlushed;
  }

  /** What was read of a message's head, and so is not handled. */
  get carry(): Buffer {
    return this.#carry;
  }

  /** The client is another process's until `arrive` is called; who has to end it has to wait for that. */
  expect(): void {
    this.#isExpected = true;
  }

  arrive(): void {
    this.#isExpected = false;
    if (this.#farewell !== null) this.refuse(this.#farewell);
  }

  isWaitingFor(reason: number): boolean {
    return (this.#waiting & reason) !== 0;
  }

  /** Stops presenting messages until `go` is called for the same reason. */
  wait(reason: number): void {
    this.#waiting |= reason;
  }

  /** The same for the message that is presented, which will be presented again. */
  hold(reason: number): false {
    this.wait(reason);
    return false;
  }

  go(reason: number): void {
    if ((this.#waiting & reason) === 0) return;
    this.#waiting &= ~reason;
    if (this.#waiting === 0 && !this.#isPumping) this.#pump();
  }

  /** Passes on what a shard says; false: the client has not taken it all. */
  relay(bytes: Buffer): boolean {
    this.meter.sent(bytes.length);
    if (this.stream.write(bytes)) return true;
    this.#isBehind = true;
    return false;
  }

  /** Presents nothing more until the client has taken what it was sent: it may have nobody else's connection meanwhile. */
  waitIfBehind(): void {
    if (this.#isBehind) this.wait(WAIT_CLIENT_DRAIN);
  }

  /** Writes pgxa's own messages. */
  say(...messages: readonly Buffer[]): void {
    for (const message of messages) {
      this.#count(message);
      this.outbox.put(message);
    }
    this.outbox.flush();
  }

  /** The session holds `lease` from now on; `told` is what the client has to know of it. */
  take(lease: ServerConnection, told: readonly Buffer[]): void {
    if (lease.replies.meter !== this.meter) this.meter.assigned();
    lease.replies.meter = this.meter;
    if (told.length > 0) this.say(...told);
  }

  /** Ends the session with a last error; nothing of the client is read any more. */
  refuse(fault: Fault): void {
    if (this.#isOver) return;
    if (this.#isExpected) {
      this.#farewell ??= fault;
      return;
    }
    this.say(faultResponse(fault));
    this.end();
  }

  /** The same while a shard's message may have been passed on in part: then there is no place for a last error. */
  refuseBetween(fault: Fault, isBetweenMessages: boolean): void {
    if (isBetweenMessages) this.refuse(fault);
    else this.end();
  }

  /** `hasLeft`: the client has said that it goes. */
  end(hasLeft = false): true {
    this.#isOver = true;
    if (hasLeft) this.stream.leave();
    else this.stream.end();
    return true;
  }

  // --- StreamOwner ---

  onChunk(chunk: Buffer, end: number): void {
    if (this.#isOver) return;
    this.activity.reads += 1;
    this.meter.received(end);
    if (this.#isKept) this.#carryKept();
    if (this.#carry.length > 0) {
      chunk = Buffer.concat([this.#carry, chunk.subarray(0, end)]);
      end = chunk.length;
      this.#carry = NOTHING;
    }
    this.#chunk = chunk;
    this.#chunkEnd = end;
    this.#scanner.begin(chunk, 0, end);
    // While the session waits, what comes is kept where it lies.
    if (this.#waiting === 0) this.#pump();
    else this.stream.pause();
  }

  /** What follows a message that waits goes before the chunk that comes; the message itself is where it can stay. */
  #carryKept(): void {
    this.#isKept = false;
    const { end } = this.#scanner;
    if (end < this.#chunkEnd) this.#carry = this.#chunk.subarray(end, this.#chunkEnd);
  }

  onDrain(): void {
    this.#isBehind = false;
    this.#messages.onClientDrain();
    this.go(WAIT_CLIENT_DRAIN);
  }

  onClosed(reason: string): void {
    this.#isOver = true;
    this.#messages.onClientClosed(reason);
  }

  // --- inside ---

  /** Counts one of pgxa's own messages. */
  #count(message: Buffer): void {
    this.meter.sent(message.length);
    if (message[0] === SERVER_MESSAGE.readyForQuery) this.meter.end(message[message.length - 1]!, true);
    else if (message[0] === SERVER_MESSAGE.errorResponse)
      this.meter.failed(readSqlstate(message, 0, message.length));
  }

  #pump(): void {
    this.#isPumping = true;
    const isDone = this.#presentAll();
    this.#isPumping = false;
    if (this.#isOver) return;
    this.#messages.onPause();
    if (this.#isOver) return;
    // A chunk from which a server's stream still sends must not be read over.
    if (isDone && (this.#waiting & WAIT_SERVER_DRAIN) === 0) this.stream.resume();
    else if (this.#waiting === 0) this.#pump();
    else if (!this.#keepRest()) this.stream.pause();
  }

  /**
   * Moves what is not handled yet out of the stream's memory, if it is little: to stop a stream and let it go on costs
   * more than that. False: it stays where it is.
   */
  #keepRest(): boolean {
    if (this.#isKept) return true;
    const scanner = this.#scanner;
    const from = this.#isPending ? scanner.start : scanner.end;
    const isPieces = scanner.type === CLIENT_MESSAGE.copyData || scanner.length > this.#messageHeldMax;
    const isSentFrom = (this.#waiting & WAIT_SERVER_DRAIN) !== 0;
    if (isPieces || isSentFrom || this.#chunkEnd - from > KEPT_BYTES_MAX) return false;
    const kept = Buffer.allocUnsafe(this.#chunkEnd - from);
    this.#chunk.copy(kept, 0, from, this.#chunkEnd);
    this.#collector.move(this.#chunk, from, kept);
    scanner.move(kept, from);
    this.#chunk = kept;
    this.#chunkEnd -= from;
    this.#isKept = true;
    return true;
  }

  /** Presents messages until the chunk is done (true) or the session has to wait before it is (false). */
  #presentAll(): boolean {
    while (!this.#isOver) {
      if (this.#waiting !== 0 && (this.#isPending || this.#scanner.end < this.#chunkEnd)) return false;
      if (!this.#isPending && !this.#scanner.next()) {
        this.#endChunk();
        return true;
      }
      this.#isPending = !this.#present();
    }
    return true;
  }

  #present(): boolean {
    try {
      return this.#presentPiece();
    } catch (error) {
      if (!(error instanceof Fault) || error.spec.scope !== "session") throw error;
      this.refuse(error);
      return true;
    }
  }

  #presentPiece(): boolean {
    const scanner = this.#scanner;
    if (scanner.type === CLIENT_MESSAGE.copyData) {
      this.#isAmidPieces = !scanner.isLast;
      return this.#messages.onCopyPiece(this.#chunk, scanner.start, scanner.end);
    }
    if (scanner.length > this.#messageHeldMax && mayBeGiant(scanner.type)) return this.#presentGiant();
    const collector = this.#collector;
    if (!this.#isPending && !collector.take(this.#chunk, scanner)) return true;
    this.meter.begin(scanner.type);
    if (!this.#messages.onMessage(scanner.type, collector.buffer, collector.start, collector.end))
      return false;
    this.meter.taken(scanner.type);
    this.#noteBatch(scanner.type);
    return true;
  }

  #noteBatch(type: number): void {
    if (!isOutsideBatches(type)) this.#isBatchOpen = type !== CLIENT_MESSAGE.sync;
  }

  /** A piece of a message that is too long to be held. */
  #presentGiant(): boolean {
    const scanner = this.#scanner;
    const { giant } = this.#messages;
    if (giant === undefined) throw tooLongToHold(scanner);
    if (scanner.isFirst && !this.#isPending) this.#isHeadTaken = false;
    let { start } = scanner;
    if (!this.#isHeadTaken) {
      const head = this.#head;
      if (!this.#isPending && !head.take(this.#chunk, scanner)) return true;
      this.meter.begin(scanner.type);
      if (!giant.onHead(scanner.type, head.buffer)) return false;
      this.meter.taken(scanner.type);
      this.#isHeadTaken = true;
      start = head.restStart;
      head.release();
    }
    this.#isAmidPieces = !scanner.isLast;
    giant.onPiece(this.#chunk, start, scanner.end, scanner.isLast);
    return true;
  }

  #endChunk(): void {
    const scanner = this.#scanner;
    if (scanner.violation !== null) {
      this.refuse(violationFault("client", scanner, scanner.violation));
      return;
    }
    if (scanner.tail > 0) this.#carry = Buffer.from(this.#chunk.subarray(scanner.end, this.#chunkEnd));
  }
}

const tooLongToHold = ({ type, length }: FrameScanner): Fault =>
  new Fault("protocol.message_not_held", {
    detail: `A message of type "${String.fromCharCode(type)}" announced ${length - 1} bytes.`,
  });
