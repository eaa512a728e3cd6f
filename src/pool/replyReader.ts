/**
 * Reads what a shard sends, chunk by chunk, and sorts it: the client's bytes are passed on where they lie, pgxa's
 * own answers are taken out.
 *
 * The reply queue says whose answer the current messages belong to. In the client's own groups only a handful of
 * message types are looked at (`NOTABLE`); runs of all others are never touched, and leave in one piece. Two kinds
 * of message inside the client's groups may be pgxa's: the ParseComplete and CloseComplete of statements it made
 * ready behind the client's back; `marks` says which.
 *
 * Invariant: every byte is either passed on once, in order, or belongs to a message that is dropped whole.
 */
import type { ClientMeter } from "../observe/clientMeter.ts";
import {
  isFatalError,
  type Notification,
  readCommandTag,
  readErrorFields,
  readNotification,
  readParameterStatus,
  readShape,
  readSqlstate,
} from "../wire/backendReaders.ts";
import { errorResponse } from "../wire/backendWriters.ts";
import type { ErrorFields } from "../wire/errorFields.ts";
import { FrameScanner } from "../wire/frameScanner.ts";
import { MessageCollector } from "../wire/messageCollector.ts";
import { MESSAGE_BYTES_MAX, SERVER_MESSAGE } from "../wire/messageTypes.ts";
import { type ControlReply, ControlReplyBuilder } from "./controlReply.ts";
import { NOTABLE } from "./notableReplies.ts";
import { type Described, type Mark, ReplyMarks } from "./replyMarks.ts";
import { CONTROL, RELAY, RELAY_WITHOUT_READY, type ReplyKind, ReplyQueue } from "./replyQueue.ts";

export type ReadyStatus = "I" | "T" | "E";

export interface ReplyHandler {
  /** Bytes for the client. */
  relay(chunk: Buffer, start: number, end: number): void;
  /** A group of the client's ended with ReadyForQuery; `isLast`: nothing more is owed. */
  onClientGroup(status: ReadyStatus, hadError: boolean, isLast: boolean): void;
  onControlReply(reply: ControlReply): void;
  onParameter(name: string, value: string): void;
  /** What the client is told of a notification in its place, or null. */
  onNotification(notification: Notification): Buffer | null;
  /** The shard waits for rows of a COPY. */
  onCopyIn(): void;
  /** What the client is told of a FATAL error if it goes on all the same; null: it does not. */
  outlives(error: ErrorFields): ErrorFields | null;
  /** A statement that was sent with `expectParse` now stands, or never will. */
  onStatement(key: string, stands: boolean): void;
  /**
   * The columns of a statement that was described with `expectDescribe`; null: an error came instead. `isTold`: the
   * client has them too.
   */
  onShape(statement: Described, shape: string | null, isTold: boolean): void;
  /** An error that answers pgxa itself, or that ends the connection. */
  onSwallowedError(error: ErrorFields): void;
  onViolation(what: string): void;
}

const NOTHING = Buffer.alloc(0);
const STATUS_BYTES: Readonly<Record<number, ReadyStatus>> = { 73: "I", 84: "T", 69: "E" };

export class ReplyReader {
  readonly groups = new ReplyQueue();
  /**
   * Whether messages of an extended-protocol batch were sent whose Sync was not. An error that comes while there is
   * none, and no group, answers nobody: the shard is ending the connection.
   */
  isBatchOpen = false;
  /** The transaction status of the last ReadyForQuery. */
  status: ReadyStatus = "I";
  /** Whether the shard waits for rows of a COPY, and their end was not sent. */
  isCopyingIn = false;
  /** How many ends of rows were sent before the shard said that it waits for them. */
  #copyEnds = 0;
  /** Whether `transactionEnd` is wanted, which costs a look at every command's tag. */
  watchesEnd = false;
  /** How a transaction ended last: COMMIT or ROLLBACK. */
  transactionEnd = "";
  /** What the client is told instead of an error of the current group; null leaves it as it is. */
  replaceError: ((error: ErrorFields) => Buffer | null) | null = null;

  /** Where what the client is told is counted; null while no client has the connection. */
  meter: ClientMeter | null = null;

  readonly #handler: ReplyHandler;
  readonly #scanner = new FrameScanner("server", MESSAGE_BYTES_MAX);
  readonly #collector = new MessageCollector();
  readonly #control = new ControlReplyBuilder();
  readonly #marks = new ReplyMarks();
  /** The Describe whose row description comes next. */
  #describing: Mark | null = null;
  readonly #openings: { readonly group: number; readonly statements: number }[] = [];
  /** How many statements in front of the current group have not been answered. */
  #openingLeft = 0;
  #groupsPushed = 0;
  #groupsEnded = 0;
  #hadError = false;
  #isReplacing = false;
  #carry = NOTHING;
  #runStart = 0;

  constructor(handler: ReplyHandler) {
    this.#handler = handler;
  }

  /** Whether nothing of a message was passed on of which the rest is still to come. */
  get isBetweenMessages(): boolean {
    return this.#scanner.isBetweenMessages;
  }

  /** Whether the client has been told of an error in the current group. */
  get hasError(): boolean {
    return this.#hadError;
  }

  /** Announces that something was sent that ends with a ReadyForQuery. */
  expectGroup(kind: ReplyKind): void {
    this.#groupsPushed += 1;
    this.isBatchOpen = false;
    this.groups.push(kind);
  }

  /** Announces that `statements` of pgxa's own stand in front of the group to come; their answers are dropped. */
  expectOpening(statements: number): void {
    this.#openings.push({ group: this.#groupsPushed, statements });
    this.#turnToOpening();
  }

  /** Announces a Parse within the batch being sent; `key` names the statement if it stays. */
  expectParse(isRelayed: boolean, key: string | null): void {
    this.meter?.parsed();
    this.#mark(SERVER_MESSAGE.parseComplete, isRelayed, key, false, null);
  }

  expectClose(isRelayed: boolean): void {
    this.#mark(SERVER_MESSAGE.closeComplete, isRelayed, null, false, null);
  }

  /** Announces a Describe of a statement within the batch being sent. */
  expectDescribe(isRelayed: boolean, described: Described): void {
    this.#mark(SERVER_MESSAGE.parameterDescription, isRelayed, null, false, described);
  }

  /** Announces a Close that stands for the Parse of a statement that is there already. */
  expectCloseForParse(): void {
    this.#mark(SERVER_MESSAGE.closeComplete, true, null, true, null);
  }

  /**
   * Announces that something was sent, within the group to come, of which the shard will say in an error that it does
   * not understand `token`; the client is told `message` instead, in its place among the answers.
   */
  expectRefusal(token: string, message: Buffer): void {
    this.#marks.refuse({ token, message, group: this.#groupsPushed });
  }

  /** CopyDone or CopyFail was sent. */
  noteCopyEnd(): void {
    if (this.isCopyingIn) this.isCopyingIn = false;
    else this.#copyEnds += 1;
  }

  /** Takes `chunk[0, end)`. */
  read(chunk: Buffer, end: number): void {
    if (this.#carry.length > 0) {
      chunk = Buffer.concat([this.#carry, chunk.subarray(0, end)]);
      end = chunk.length;
      this.#carry = NOTHING;
    }
    const scanner = this.#scanner;
    scanner.begin(chunk, 0, end);
    this.#runStart = 0;
    while (scanner.next()) {
      if (
        NOTABLE[scanner.type] === 1 ||
        this.groups.current === CONTROL ||
        this.#openingLeft > 0 ||
        this.watchesEnd ||
        this.#describing !== null
      )
        this.#take(chunk);
    }
    this.#passRun(chunk, scanner.end);
    if (scanner.tail > 0) this.#carry = Buffer.from(chunk.subarray(scanner.end, end));
    if (scanner.violation !== null) {
      this.#handler.onViolation(`invalid message ${scanner.violation} from the shard`);
    }
  }

  #mark(
    type: number,
    isRelayed: boolean,
    key: string | null,
    isForParse: boolean,
    described: Described | null,
  ): void {
    this.#marks.push({ type, isRelayed, isForParse, described, key, group: this.#groupsPushed, next: null });
  }

  #passRun(chunk: Buffer, upTo: number): void {
    if (upTo > this.#runStart) this.#handler.relay(chunk, this.#runStart, upTo);
    this.#runStart = upTo;
  }

  /** Leaves the current piece out of what is passed on. */
  #drop(chunk: Buffer): void {
    this.#passRun(chunk, this.#scanner.start);
    this.#runStart = this.#scanner.end;
  }

  #take(chunk: Buffer): void {
    const kind = this.groups.current;
    if (this.#openingLeft > 0) this.#takeOpening(chunk);
    else if (kind === CONTROL) this.#takeControl(chunk);
    else this.#takeRelayed(chunk, kind);
  }

  #takeControl(chunk: Buffer): void {
    this.#drop(chunk);
    const { type } = this.#scanner;
    if (!this.#collector.take(chunk, this.#scanner)) return;
    const { buffer, start, end } = this.#collector;
    if (type === SERVER_MESSAGE.readyForQuery) {
      this.#endGroup(buffer[end - 1]!);
      this.#handler.onControlReply(this.#control.finish(this.status));
    } else if (type === SERVER_MESSAGE.parameterStatus) this.#noteParameter();
    else if (type === SERVER_MESSAGE.parseComplete) {
      const key = this.#marks.take(type)?.key ?? null;
      if (key !== null) this.#handler.onStatement(key, true);
    } else this.#control.add(type, buffer, start, end);
  }

  /** A message that answers what pgxa put in front of the group. */
  #takeOpening(chunk: Buffer): void {
    this.#drop(chunk);
    const { type, isLast } = this.#scanner;
    if (type === SERVER_MESSAGE.commandComplete && isLast) this.#openingLeft -= 1;
    else if (type === SERVER_MESSAGE.errorResponse) this.#takeUnasked(chunk);
    else if (type === SERVER_MESSAGE.parameterStatus) {
      if (this.#collector.take(chunk, this.#scanner)) this.#noteParameter();
    }
  }

  /** An error that is none of the client's. */
  #takeUnasked(chunk: Buffer): void {
    if (!this.#collector.take(chunk, this.#scanner)) return;
    const { buffer, start, end } = this.#collector;
    this.#handler.onSwallowedError(readErrorFields(buffer, start, end));
  }

  #takeRelayed(chunk: Buffer, kind: ReplyKind): void {
    const scanner = this.#scanner;
    if (scanner.type === SERVER_MESSAGE.readyForQuery) {
      if (kind === RELAY_WITHOUT_READY) this.#drop(chunk);
      if (scanner.isLast) this.#endClientGroup(chunk, kind);
    } else if (scanner.type === SERVER_MESSAGE.errorResponse) {
      if (this.groups.length > 0 || this.isBatchOpen) {
        this.#hadError = true;
        this.isCopyingIn = false;
        if (scanner.isFirst) this.#endDescribes();
        if (scanner.isFirst || this.#isReplacing) this.#takeReplaced(chunk);
      } else {
        this.#drop(chunk);
        this.#takeUnasked(chunk);
      }
    } else if (scanner.type === SERVER_MESSAGE.parameterStatus) {
      if (this.#collector.take(chunk, scanner)) this.#noteParameter();
    } else if (scanner.type === SERVER_MESSAGE.notificationResponse) {
      this.#takeNotification(chunk);
    } else if (scanner.type === SERVER_MESSAGE.copyInResponse) {
      if (scanner.isLast) this.#noteCopyIn();
    } else if (this.#describing !== null) this.#takeShape(chunk, this.#describing);
    else if (scanner.type === SERVER_MESSAGE.commandComplete) this.#noteEnd(chunk);
    else if (scanner.type === SERVER_MESSAGE.parameterDescription) this.#takeParameters(chunk);
    else this.#takeMarked(chunk);
  }

  /** Clients have theirs from the hub (notificationHub.ts), but for what they notify themselves. */
  #takeNotification(chunk: Buffer): void {
    this.#drop(chunk);
    if (!this.#collector.take(chunk, this.#scanner)) return;
    const { buffer, start, end } = this.#collector;
    const own = this.#handler.onNotification(readNotification(buffer, start, end));
    if (own !== null) this.#handler.relay(own, 0, own.length);
  }

  #noteCopyIn(): void {
    if (this.#copyEnds > 0) this.#copyEnds -= 1;
    else {
      this.isCopyingIn = true;
      this.#handler.onCopyIn();
    }
  }

  /** Passed on as it is; a tag that spans chunks is none of those. */
  #noteEnd(chunk: Buffer): void {
    const { start, end, isFirst, isLast } = this.#scanner;
    if (!isFirst || !isLast) return;
    const tag = readCommandTag(chunk, start, end);
    if (tag === "COMMIT" || tag === "ROLLBACK") this.transactionEnd = tag;
  }

  #takeReplaced(chunk: Buffer): void {
    this.#drop(chunk);
    this.#isReplacing = !this.#scanner.isLast;
    if (!this.#collector.take(chunk, this.#scanner)) return;
    const { buffer, start, end } = this.#collector;
    const error = this.#otherError(buffer, start, end) ?? buffer.subarray(start, end);
    this.meter?.failed(readSqlstate(error, 0, error.length));
    this.#handler.relay(error, 0, error.length);
  }

  #otherError(buffer: Buffer, start: number, end: number): Buffer | null {
    if (isFatalError(buffer, start, end)) {
      const told = this.#handler.outlives(readErrorFields(buffer, start, end));
      if (told !== null) return errorResponse(told);
    }
    if (this.replaceError === null && !this.#marks.hasRefusals) return null;
    const error = readErrorFields(buffer, start, end);
    return this.#marks.refusalOf(error.message) ?? this.replaceError?.(error) ?? null;
  }

  /** Behind an error the shard passes over what was asked for in the same batch. */
  #endDescribes(): void {
    for (const described of this.#marks.asked(this.#groupsEnded))
      this.#handler.onShape(described, null, false);
  }

  #takeParameters(chunk: Buffer): void {
    const { isLast } = this.#scanner;
    const mark = this.#marks.peek(SERVER_MESSAGE.parameterDescription);
    if (mark === null) return;
    if (!mark.isRelayed) this.#drop(chunk);
    if (isLast) this.#describing = this.#marks.take(SERVER_MESSAGE.parameterDescription);
  }

  #takeShape(chunk: Buffer, mark: Mark): void {
    if (!mark.isRelayed) this.#drop(chunk);
    if (!this.#collector.take(chunk, this.#scanner)) return;
    this.#describing = null;
    const { buffer, start, end } = this.#collector;
    this.#handler.onShape(mark.described!, readShape(buffer, start, end), mark.isRelayed);
  }

  /** ParseComplete or CloseComplete: five bytes, so never cut. */
  #takeMarked(chunk: Buffer): void {
    const mark = this.#marks.take(this.#scanner.type);
    if (mark === null) return;
    if (!mark.isRelayed) this.#drop(chunk);
    else if (mark.isForParse) chunk[this.#scanner.start] = SERVER_MESSAGE.parseComplete;
    if (mark.key !== null) this.#handler.onStatement(mark.key, true);
  }

  #endClientGroup(chunk: Buffer, kind: ReplyKind): void {
    const hadError = this.#hadError;
    this.#endGroup(chunk[this.#scanner.end - 1]!);
    const isLast = this.groups.length === 0;
    if (kind === RELAY) this.meter?.end(chunk[this.#scanner.end - 1]!, isLast);
    if (isLast || hadError) this.#passRun(chunk, this.#scanner.end);
    this.#handler.onClientGroup(this.status, hadError, isLast);
  }

  #endGroup(statusByte: number): void {
    this.groups.shift();
    if (this.groups.length === 0) this.#copyEnds = 0; // one that no COPY wanted was passed over by the shard
    this.#hadError = false;
    this.#describing = null;
    this.isCopyingIn = false;
    this.replaceError = null;
    this.status = STATUS_BYTES[statusByte] ?? "E";
    if (!this.#marks.isEmpty) {
      for (const key of this.#marks.endGroup(this.#groupsEnded)) this.#handler.onStatement(key, false);
    }
    this.#groupsEnded += 1;
    this.#turnToOpening();
  }

  /** Begins to pass over the answers to an opening, if the group that comes now has one. */
  #turnToOpening(): void {
    const opening = this.#openings[0];
    if (opening === undefined || opening.group !== this.#groupsEnded) return;
    this.#openings.shift();
    this.#openingLeft = opening.statements;
  }

  #noteParameter(): void {
    const { buffer, start, end } = this.#collector;
    const { name, value } = readParameterStatus(buffer, start, end);
    this.#handler.onParameter(name, value);
  }
}
