/**
 * One connection to a shard: its stream, its state, what it owes, and what it carries from use to use.
 *
 * To the client session that holds the lease it is a place to put messages (`outbox`) and a source of replies
 * (`holder`). To pgxa it also answers questions of its own (`run`). What a connection remembers between leases is
 * which prepared statements and which settings it carries, so that the next holder knows what is missing.
 *
 * Invariant: a lease ends in `idle` only when the shard said ReadyForQuery with status I and nothing is owed. In
 * every other case the connection is closed; nobody is ever handed the rest of somebody else's conversation.
 */
import type { BackendPid, ShardId } from "../base/brands.ts";
import type { Environment } from "../base/environment.ts";
import { invariant } from "../base/invariant.ts";
import type { ShardConfig } from "../config/config.ts";
import type { Notification } from "../wire/backendReaders.ts";
import type { ErrorFields } from "../wire/errorFields.ts";
import * as send from "../wire/frontendWriters.ts";
import { batchOf, type KeptStatement } from "../wire/keptStatement.ts";
import type { ByteStream, StreamOwner } from "./byteStream.ts";
import { sendCancelRequest } from "./cancelRequest.ts";
import { BACKEND_START, connectFailed } from "./connecting.ts";
import { ControlQueue } from "./controlQueue.ts";
import type { ControlReply } from "./controlReply.ts";
import { Outbox } from "./outbox.ts";
import type { Described } from "./replyMarks.ts";
import { CONTROL } from "./replyQueue.ts";
import { type ReadyStatus, type ReplyHandler, ReplyReader } from "./replyReader.ts";
import { type OpenedServer, openServer } from "./serverOpening.ts";
import { type ServerEvent, type ServerState, serverStep } from "./serverState.ts";
import type { Share } from "./share.ts";

/** Who holds the lease. */
export interface LeaseHolder {
  /** Bytes for the client; false: it has not taken them all, and the connection must stop reading. */
  relay(connection: ServerConnection, chunk: Buffer, start: number, end: number): boolean;
  /** What the client is told of the FATAL `error` that ends the connection if it goes on all the same; null: it ends. */
  outlives(connection: ServerConnection, error: ErrorFields): ErrorFields | null;
  /** One group of replies ended; `isLast`: the shard owes nothing more. */
  onClientGroup(connection: ServerConnection, status: ReadyStatus, hadError: boolean, isLast: boolean): void;
  /** A ParameterStatus came, in whatever group. */
  onParameter(connection: ServerConnection, name: string, value: string): void;
  /** A notification came; what the client is told of it in its place, or null. */
  onNotification(connection: ServerConnection, notification: Notification): Buffer | null;
  /** The shard waits for rows of a COPY. */
  onCopyIn(connection: ServerConnection): void;
  /** A named statement that was sent with the key now stands, or never will. */
  onStatement(connection: ServerConnection, key: string, stands: boolean): void;
  /** What was written has left after `flush()` returned false. */
  /** The columns of a statement came, for the client too if `isTold`; null: an error came instead. */
  onShape(connection: ServerConnection, statement: Described, shape: string | null, isTold: boolean): void;
  onServerDrain(connection: ServerConnection): void;
  /** `error`: with which words the shard ended it, if it did so unasked. */
  onLost(connection: ServerConnection, reason: string, error: ErrorFields | null): void;
}

const CLOSED: ControlReply = { kind: "lost", reason: "connection closed" };
/** How many statements one server connection keeps prepared; the oldest goes first. */
export const STATEMENTS_MAX = 500;

export interface ConnectionOptions {
  readonly shard: ShardConfig;
  readonly environment: Environment;
  readonly connectTimeoutMs: number;
  /** Whether the backend's start time is asked for: the commit protocol fences by it. */
  readonly identify: boolean;
  onClosed(connection: ServerConnection, reason: string): void;
}

export class ServerConnection implements StreamOwner, ReplyHandler {
  readonly shard: ShardId;
  readonly outbox: Outbox;
  readonly replies: ReplyReader;
  /** What the shard reported by ParameterStatus. */
  readonly parameters: Map<string, string>;
  /** One text for all of `parameters`, made when asked for; equal text means equal parameters. */
  parametersVersion: string | null = null;
  /** The keys of the statements sent to this connection, least recently used first, and whether the shard has accepted them. */
  readonly statements = new Map<string, boolean>();
  /** The columns that statements standing here are known to have, by their key. */
  readonly shapes = new Map<string, string>();
  /** The statement that was prepared here for a look at its columns, just now. */
  freshStatement: object | null = null;
  /** Whose unnamed statement stands here; null when unknown. */
  unnamedStatement: object | null = null;
  /** The names that statements of SQL's PREPARE may stand under here, and the text of each; "" if that is not known. */
  readonly sqlStatements = new Map<string, string>();
  /** The settings in force beyond the login's, in canonical form; null when unknown. */
  settings: string | null = "";
  readonly pid: BackendPid;
  /** Whether it speaks TLS with the shard. */
  readonly isEncrypted: boolean;
  /** Whether it leads to a standby. */
  readonly isStandby: boolean;
  backendStart = "";
  timeline = "";
  holder: LeaseHolder | null = null;
  /** Whose seat in the pool it takes while it is lent. */
  seatOf: Share | null = null;
  /** Whether LISTEN was sent to it since it was last made quiet. */
  listens = false;
  /** The channels to which it surely listens itself, and not the client's hub alone. */
  readonly listening = new Set<string>();
  /** The client that last notified on it, as clients know it; null if none has. */
  notifier: number | null = null;
  /** Whether a client has had it since it was last made as it was after the login. */
  isUsed = false;
  createdAtMs = 0;
  idleSinceMs = 0;

  readonly #options: ConnectionOptions;
  readonly #controls: ControlQueue;
  readonly #stream: ByteStream;
  readonly #secret: Buffer;
  /** The names of pgxa's own statements that were made here. */
  readonly #kept = new Set<string>();
  #state: ServerState = "connecting";
  #cancelsInFlight = 0;
  #afterCancels: (() => void)[] = [];
  #lastError: ErrorFields | null = null;

  private constructor(options: ConnectionOptions, opened: OpenedServer) {
    this.#options = options;
    this.shard = options.shard.id;
    this.isStandby = options.shard.isReadOnly === true;
    this.parameters = opened.parameters;
    this.pid = opened.pid;
    this.isEncrypted = opened.isEncrypted;
    this.#secret = opened.secret;
    this.#stream = opened.stream;
    this.replies = new ReplyReader(this);
    this.outbox = new Outbox(this.#stream);
    const { clock } = options.environment;
    this.createdAtMs = clock.monotonicMs();
    this.#controls = new ControlQueue(clock, (ms) => this.#lose(`no answer within ${ms} ms`));
    this.#stream.setOwner(this);
    this.#step("connected");
  }

  /** Connects and logs in, unless that is done; rejects with a Fault (`pool.connect_failed`, `pool.login_failed`). */
  static async open(options: ConnectionOptions, opened?: OpenedServer): Promise<ServerConnection> {
    const connection = new ServerConnection(options, opened ?? (await openServer(options)));
    if (options.identify) await connection.#identify();
    connection.#step("loggedIn");
    return connection;
  }

  readonly endpoint = () => this.#stream.endpoint;
  /** The role it logged in as. */
  get user(): string {
    return this.#options.shard.user;
  }

  get state(): ServerState {
    return this.#state;
  }

  get isUsable(): boolean {
    return this.#state === "idle";
  }

  /** All reported parameters as one text, for a cheap comparison. */
  get parametersKey(): string {
    this.parametersVersion ??= [...this.parameters].sort().join("\n");
    return this.parametersVersion;
  }

  /** Whether it could be returned to the pool as it is. */
  get isClean(): boolean {
    return this.#state === "leased" && this.replies.status === "I" && this.replies.groups.length === 0;
  }

  get isInTransaction(): boolean {
    return this.replies.status === "T";
  }

  get isCancelInFlight(): boolean {
    return this.#cancelsInFlight > 0;
  }

  checkOut(holder: LeaseHolder): void {
    this.#step("checkedOut");
    this.isUsed = true;
    this.holder = holder;
  }

  checkIn(): void {
    invariant(this.isClean, "a lease is returned clean or not at all");
    this.#step("checkedIn");
    this.resumeReading();
    this.holder = null;
    this.replies.meter = null;
    this.#lastError = null;
    this.idleSinceMs = this.#options.environment.clock.monotonicMs();
  }

  /** Hands the lease from one holder to another without a return in between. */
  passTo(holder: LeaseHolder): void {
    invariant(this.#state === "leased", "only a leased connection is passed on");
    this.resumeReading();
    this.holder = holder;
  }

  /** Writes what the outbox holds; false: stop feeding until `onServerDrain`. */
  flush(): boolean {
    return this.outbox.flush();
  }

  pauseReading(): void {
    this.#stream.pause();
  }

  resumeReading(): void {
    this.#stream.resume();
  }

  /**
   * Runs `sql` as one simple query and resolves with the answer; never rejects. When `timeoutMs` is up the answer
   * counts as lost and the connection is closed: whoever waited no longer knows what the shard did.
   */
  run(sql: string, timeoutMs: number): Promise<ControlReply> {
    if (this.#state === "closed") return Promise.resolve(CLOSED);
    this.outbox.query(sql);
    return this.#answer(timeoutMs);
  }

  /** The same for messages that end with exactly one Query or Sync. */
  runBytes(bytes: Buffer, timeoutMs: number): Promise<ControlReply> {
    if (this.#state === "closed") return Promise.resolve(CLOSED);
    this.outbox.put(bytes);
    return this.#answer(timeoutMs);
  }

  /** Runs `first`, and behind it `sql` if that succeeded, as one batch; else as `run`. */
  runBehind(first: KeptStatement, values: readonly string[], sql: string, timeoutMs: number) {
    if (this.#state === "closed") return Promise.resolve<ControlReply>(CLOSED);
    this.outbox.put(batchOf(first, this.statements.has(first.name), values, sql));
    this.unnamedStatement = null;
    this.statements.set(first.name, true);
    this.#kept.add(first.name);
    return this.#answer(timeoutMs, true);
  }

  /** Asks the shard to cancel what runs here. Resolves when the request has been taken. */
  async cancel(): Promise<void> {
    if (this.#state !== "leased") return;
    this.#cancelsInFlight += 1;
    const { shard, environment, connectTimeoutMs } = this.#options;
    const target = { shard, isEncrypted: this.isEncrypted, pid: this.pid, secret: this.#secret };
    await sendCancelRequest(target, environment.clock, connectTimeoutMs);
    this.#cancelsInFlight -= 1;
    if (this.#cancelsInFlight > 0) return;
    const waiting = this.#afterCancels;
    this.#afterCancels = [];
    for (const callback of waiting) callback();
  }

  /** Calls back once no cancel request is on its way, so that none can hit the next holder. */
  afterCancels(callback: () => void): void {
    if (this.#cancelsInFlight === 0) callback();
    else this.#afterCancels.push(callback);
  }

  /** Ends the connection in an orderly way where there is still a conversation to end. */
  close(reason = "closed by pgxa"): void {
    if (this.#state === "closed") return;
    if (this.#state === "idle") {
      this.#stream.write(send.terminate());
      this.#stream.end();
    } else this.#stream.destroy();
    this.#lose(reason);
  }

  // --- StreamOwner ---

  onChunk(chunk: Buffer, end: number): void {
    this.replies.read(chunk, end);
  }

  onDrain(): void {
    this.holder?.onServerDrain(this);
  }

  onClosed(reason: string): void {
    const error = this.#lastError;
    this.#lose(error === null ? reason : `${error.message} (${error.sqlstate})`);
  }

  // --- ReplyHandler ---

  relay(chunk: Buffer, start: number, end: number): void {
    if (this.holder !== null && !this.holder.relay(this, chunk, start, end)) this.#stream.pauseApart();
  }

  onClientGroup(status: ReadyStatus, hadError: boolean, isLast: boolean): void {
    if (hadError) this.unnamedStatement = null;
    this.holder?.onClientGroup(this, status, hadError, isLast);
  }

  onControlReply(reply: ControlReply): void {
    this.#controls.answer(reply);
  }

  onParameter(name: string, value: string): void {
    this.parameters.set(name, value);
    this.parametersVersion = null;
    this.holder?.onParameter(this, name, value);
  }

  outlives(error: ErrorFields): ErrorFields | null {
    return this.holder?.outlives(this, error) ?? null;
  }

  onNotification(notification: Notification): Buffer | null {
    return this.holder?.onNotification(this, notification) ?? null;
  }

  onCopyIn(): void {
    this.holder?.onCopyIn(this);
  }

  onShape(statement: Described, shape: string | null, isTold: boolean): void {
    if (shape !== null) this.shapes.set(statement.key, shape);
    this.holder?.onShape(this, statement, shape, isTold);
  }

  onStatement(key: string, stands: boolean): void {
    if (!stands) this.statements.delete(key);
    else if (this.statements.has(key)) this.statements.set(key, true);
    this.holder?.onStatement(this, key, stands);
  }

  onSwallowedError(error: ErrorFields): void {
    // Something pgxa put in front of a client's statement was refused. The statement behind it must not be
    // taken for having run in the transaction it belongs to.
    this.#lastError = error;
    this.#stream.destroy();
    this.#lose(`${error.message} (${error.sqlstate})`);
  }

  onViolation(what: string): void {
    this.#stream.destroy();
    this.#lose(what);
  }

  // --- inside ---

  /** Sends what was put into the outbox, and waits for the answer. */
  #answer(timeoutMs: number, isBehindKept = false): Promise<ControlReply> {
    return new Promise((resolve) => {
      const hear = (reply: ControlReply): void => {
        if (reply.kind !== "complete") this.#forgetKept();
        resolve(reply);
      };
      this.#controls.add(isBehindKept ? hear : resolve, timeoutMs);
      this.replies.expectGroup(CONTROL);
      this.outbox.flush();
    });
  }

  /** Behind an error nobody knows which of them stand. */
  #forgetKept(): void {
    for (const name of this.#kept) this.statements.delete(name);
    this.#kept.clear();
  }

  async #identify(): Promise<void> {
    const reply = await this.run(BACKEND_START, this.#options.connectTimeoutMs);
    const [start, timeline] = (reply.kind === "complete" ? reply.rows[0] : undefined) ?? [];
    if (start !== undefined && start !== null) {
      this.backendStart = start;
      this.timeline = timeline ?? "";
      return;
    }
    this.close();
    const reason = reply.kind === "lost" ? reply.reason : "the backend's start time could not be read";
    throw connectFailed(this.#options.shard, reason);
  }

  #step(event: ServerEvent): void {
    this.#state = serverStep(this.#state, event);
  }

  #lose(reason: string): void {
    if (this.#state === "closed") return;
    const wasOpening = this.#state === "connecting" || this.#state === "authenticating";
    this.#step("lost");
    this.#stream.destroy();
    this.#controls.close({ kind: "lost", reason });
    const holder = this.holder;
    this.holder = null;
    if (wasOpening) return; // `open` tells
    holder?.onLost(this, reason, this.#lastError);
    this.#options.onClosed(this, reason);
  }
}
