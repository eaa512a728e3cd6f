/**
 * From an accepted connection to a client: TLS if it is asked for, startup packet, authentication, greeting.
 *
 *     startup (<-> securing) -> looking up -> authenticating -> greeting -> (a session takes the stream over)
 *         \__________________________\___________\______________\______-> over
 *
 * Invariants: a connection that is not a client yet costs one small buffer and ends when `startup_timeout` is up, or
 * sooner where there are too many (handshakeRoom.ts); it has one startup packet, and what comes after it are answers;
 * nothing is asked of a shard for somebody who has not proved who they are. Bytes a client sends ahead of the
 * greeting are kept for the session and never more than one read, since the stream is paused.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP
 */
import { detach } from "../base/detach.ts";
import type { Timer } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { ByteStream, StreamOwner } from "../pool/byteStream.ts";
import * as write from "../wire/backendWriters.ts";
import { MessageFeed } from "../wire/messageFeed.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import { PROTOCOL_MINOR_MAX, type StartupMessage, StartupReader } from "../wire/startup.ts";
import { violationFault } from "../wire/violationFault.ts";
import type { AcceptedLink } from "./acceptedLink.ts";
import type { Credentials } from "./auth/credentials.ts";
import type { Authentication, AuthenticationStep } from "./authentication.ts";
import type { ClientIdentity } from "./clientLimits.ts";
import { ClientParameters } from "./clientParameters.ts";
import type { ClientKey } from "./clientRegistry.ts";
import type { ClientTls, SecuredClient } from "./clientTls.ts";
import type { Gate, Place } from "./gate.ts";
import type { Greeting } from "./greeting.ts";
import type { Guest } from "./handshakeRoom.ts";
import { asRefusal, type Refusal, refusalFields } from "./refusal.ts";
import type { StartupPackets } from "./startupPackets.ts";

/** How long somebody waits for an answer who has failed too often, in ms. */
const TOO_OFTEN_MS = 1_000;

/** A password or SASL message has at most this many bytes. */
const ANSWER_BYTES_MAX = 16_384;
const NOTHING = Buffer.alloc(0);
const NO = Buffer.from("N");
const YES = Buffer.from("S");
/** The first byte of TLS; no startup packet is that long. */
const TLS_HANDSHAKE = 0x16;

/** What the handshake asks of the listener. */
export interface HandshakeHost {
  readonly gate: Gate;
  readonly tls: ClientTls;
  readonly packets: StartupPackets;
  newKey(minor: number): ClientKey;
  /** Throws a Fault if there is no room for one more such client. */
  checkRoom(client: ClientIdentity): void;
  /** The same; with several workers it may have to be looked again when it resolves, instead of null. Rejects with a Fault. */
  findRoom(client: ClientIdentity): Promise<void> | null;
  /** Throws, or rejects with, a Refusal. */
  greeting(
    parameters: ClientParameters,
    place: Place,
    credentials: Credentials,
  ): Greeting | Promise<Greeting>;
  onCancel(pid: number, secret: Buffer): void;
  /** It has proved who it is. */
  onProven(handshake: Handshake): void;
  /** The client is in; the session owns the stream from here. `rest`: what it sent ahead. */
  onClient(handshake: Handshake, client: NewClient, rest: Buffer): void;
  onOver(handshake: Handshake, reason: string): void;
}

export interface NewClient {
  readonly stream: ByteStream;
  readonly user: string;
  readonly credentials: Credentials;
  readonly key: ClientKey;
  readonly parameters: ClientParameters;
  readonly place: Place;
  readonly identity: ClientIdentity;
}

/** One who has proved who it is, on the way to a session. */
interface Entrant {
  readonly message: StartupMessage;
  readonly credentials: Credentials;
  readonly parameters: ClientParameters;
  readonly place: Place;
  readonly identity: ClientIdentity;
}

const NOTHING_OWED: readonly Buffer[] = [];

export class Handshake implements StreamOwner, Guest<Handshake> {
  berth: Guest<Handshake>["berth"] = null;
  readonly link: AcceptedLink;
  readonly #stream: ByteStream;
  readonly #host: HandshakeHost;
  readonly #timer: Timer;
  readonly #startup: StartupReader;
  /** What came after the startup packet; null: nothing yet, as of most who have nothing to prove. */
  #answers: MessageFeed | null = null;
  #message: StartupMessage | null = null;
  #authentication: Authentication | null = null;
  #penalty: Timer | null = null;
  /** Whether the client has said anything. */
  #hasBegun = false;
  #isSecuring = false;
  #isOver = false;
  /** For the client, with what comes next: each write costs as much as the rest of a login. */
  #owed: readonly Buffer[] = NOTHING_OWED;

  constructor(stream: ByteStream, link: AcceptedLink, host: HandshakeHost) {
    this.link = link;
    this.#stream = stream;
    this.#host = host;
    const { limits, clock } = host.gate;
    this.#startup = new StartupReader(limits.startupBytesMax, (packet) => host.packets.read(packet));
    this.#timer = clock.after(limits.startupTimeoutMs, () => this.refuse(new Fault("login.timeout")));
    stream.setOwner(this);
  }

  /** Ends the handshake with an error. */
  refuse(refusal: Refusal): void {
    if (this.#isOver) return;
    // While TLS is being agreed on there is nobody yet who could read it.
    if (!this.#isSecuring) {
      this.#say(write.errorResponse({ ...refusalFields(refusal), severity: "FATAL" }));
    }
    this.#end(refusal instanceof Fault ? refusal.id : refusal.fields.sqlstate);
  }

  // --- StreamOwner ---

  onChunk(chunk: Buffer, end: number): void {
    if (this.#isOver) return;
    const bytes = chunk.subarray(0, end);
    const isFirst = !this.#hasBegun;
    this.#hasBegun = true;
    if (isFirst && bytes[0] === TLS_HANDSHAKE) return this.#beginTls(bytes);
    if (this.#message === null) return this.#readStartup(bytes);
    this.#hear(bytes);
    this.#readAnswers();
  }

  onDrain(): void {}

  onClosed(reason: string): void {
    this.#end(this.#isSecuring ? `TLS: ${reason}` : "closed by the client");
  }

  // --- startup ---

  #readStartup(bytes: Buffer): void {
    const request = this.#startup.push(bytes);
    switch (request?.kind) {
      case undefined:
        return;
      case "ssl":
        return this.#answerTlsRequest();
      case "gss":
        this.#stream.write(NO);
        return;
      case "cancel":
        this.#host.onCancel(request.pid, request.secret);
        return this.#end("cancel request");
      case "terminate":
        return this.#end("closed by the client");
      case "violation":
        return this.refuse(request.fault);
      case "startup":
        return this.#begin(request);
    }
  }

  #answerTlsRequest(): void {
    if (!this.#host.tls.isOfferedTo(this.link)) return void this.#stream.write(NO);
    this.#stream.write(YES);
    this.#secure(null, () => {});
  }

  /** TLS unasked, in one round trip less; for it the protocol must be named (PostgreSQL 17). */
  #beginTls(received: Buffer): void {
    if (!this.#host.tls.isOfferedTo(this.link)) return this.#end("TLS, which is not offered");
    this.#secure(received, ({ hasNamedProtocol }) => {
      if (hasNamedProtocol) return;
      const message = "received direct SSL connection request without ALPN protocol negotiation extension";
      this.refuse(new Fault("protocol.violation", { message }));
    });
  }

  #secure(received: Buffer | null, onSecure: (client: SecuredClient) => void): void {
    this.#isSecuring = true;
    this.#startup.encrypt();
    this.#host.tls.secure(this.#stream, received, (client) => {
      this.#isSecuring = false;
      this.link.tls = client.facts;
      if (!this.#isOver) onSecure(client);
    });
  }

  #begin(message: StartupMessage): void {
    this.#message = message;
    if (this.#startup.rest.length > 0) this.#hear(this.#startup.rest);
    try {
      this.#host.tls.permit(this.link, message.parameters.get("user") ?? "");
      const authentication = this.#host.gate.open(message.parameters, this.link);
      if (!(authentication instanceof Promise)) return this.#open(message, authentication);
      this.#stream.pause(); // what the client sends ahead stays where it is
      detach(this.#openLater(message, authentication), "it ends in a question or an error to the client");
    } catch (error) {
      this.#refuseSlowly(asRefusal(error));
    }
  }

  #open(message: StartupMessage, authentication: Authentication): void {
    this.#authentication = authentication;
    this.#negotiate(message);
    this.#take(authentication.begin());
    this.#readAnswers();
  }

  async #openLater(message: StartupMessage, opening: Promise<Authentication>): Promise<void> {
    try {
      const authentication = await opening;
      if (this.#isOver) return;
      this.#open(message, authentication);
      if (this.#authentication !== null && !this.#isOver) this.#stream.resume();
    } catch (error) {
      this.#refuseSlowly(asRefusal(error));
    }
  }

  /** Who is refused for having failed too often waits for it. */
  #refuseSlowly(refusal: Refusal): void {
    const isTooOften = refusal instanceof Fault && refusal.id === "login.too_many_failures";
    if (!isTooOften || this.#isOver) return this.refuse(refusal);
    this.#authentication = null;
    this.#stream.pause();
    this.#penalty ??= this.#host.gate.clock.after(TOO_OFTEN_MS, () => this.refuse(refusal));
  }

  #negotiate(message: StartupMessage): void {
    if (message.minor <= PROTOCOL_MINOR_MAX && message.unsupportedOptions.length === 0) return;
    const minor = Math.min(message.minor, PROTOCOL_MINOR_MAX);
    this.#stream.write(write.negotiateProtocolVersion(minor, message.unsupportedOptions));
  }

  // --- authentication ---

  #hear(bytes: Buffer): void {
    this.#answers ??= new MessageFeed("client", ANSWER_BYTES_MAX);
    this.#answers.push(bytes);
  }

  #readAnswers(): void {
    const answers = this.#answers;
    if (answers === null) return;
    while (this.#authentication !== null && !this.#isOver && answers.next()) {
      if (answers.type !== CLIENT_MESSAGE.password) return this.refuse(unexpected(answers.type));
      this.#answer(this.#authentication, answers);
    }
    if (this.#authentication === null || this.#isOver || answers.violation === null) return;
    this.refuse(violationFault("client", answers.scanner, answers.violation));
  }

  #answer(authentication: Authentication, { buffer, start, end }: MessageFeed): void {
    try {
      this.#take(authentication.answer(buffer, start, end));
    } catch (error) {
      this.#refuseSlowly(asRefusal(error));
    }
  }

  #take(step: AuthenticationStep): void {
    if (step.kind === "refused") return this.refuse(step.fault);
    const message = step.message === null ? [] : [step.message];
    if (step.kind === "ask") {
      if (step.message !== null) this.#say(step.message);
      return;
    }
    this.#authentication = null;
    this.#host.onProven(this);
    this.#owed = [...message, write.authenticationOk()];
    this.#greet(this.#message!, step.credentials);
  }

  // --- greeting ---

  /** At once, unless somebody has to be asked. */
  #greet(message: StartupMessage, credentials: Credentials): void {
    const host = this.#host;
    try {
      const place = host.gate.admit(message.parameters);
      const parameters = new ClientParameters(message.parameters, host.packets.settingsOf(message));
      const identity = this.#identity(message, place);
      const entrant: Entrant = { message, credentials, parameters, place, identity };
      host.checkRoom(identity);
      const greeting = host.greeting(parameters, place, credentials);
      const asked = greeting instanceof Promise ? null : host.findRoom(identity);
      if (!(greeting instanceof Promise) && asked === null) return this.#finish(entrant, greeting);
      this.#stream.pause();
      detach(this.#greetLater(entrant, greeting, asked), "it ends in a session or an error to the client");
    } catch (error) {
      this.refuse(asRefusal(error));
    }
  }

  async #greetLater(
    entrant: Entrant,
    asking: Greeting | Promise<Greeting>,
    first: Promise<void> | null,
  ): Promise<void> {
    try {
      const greeting = await asking;
      // Others may have come in meanwhile.
      const { identity } = entrant;
      for (let asked = first ?? this.#host.findRoom(identity); asked !== null; ) {
        await asked;
        asked = this.#host.findRoom(identity);
      }
      if (!this.#isOver) this.#finish(entrant, greeting);
    } catch (error) {
      this.refuse(asRefusal(error));
    }
  }

  #identity(message: StartupMessage, place: Place): ClientIdentity {
    const user = message.parameters.get("user") ?? "";
    const database = place.kind === "console" ? null : place.name;
    return { user, database, address: this.#stream.remoteAddress };
  }

  #finish({ message, credentials, parameters, place, identity }: Entrant, greeting: Greeting): void {
    const key = this.#host.newKey(Math.min(message.minor, PROTOCOL_MINOR_MAX));
    parameters.noteGreeting(greeting);
    this.#say(greeting.messages, write.backendKeyData(key.pid, key.secret), write.readyForQuery("I"));
    this.#isOver = true;
    this.#timer.cancel();
    const { user } = credentials;
    const client = { stream: this.#stream, user, credentials, key, parameters, place, identity };
    this.#host.onClient(this, client, this.#answers?.rest ?? NOTHING);
  }

  /** Writes what is owed, and `messages`. */
  #say(...messages: readonly Buffer[]): void {
    this.#stream.write(Buffer.concat([...this.#owed, ...messages]));
    this.#owed = NOTHING_OWED;
  }

  #end(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer.cancel();
    this.#penalty?.cancel();
    if (this.#isSecuring) this.#stream.destroy();
    else this.#stream.end();
    this.#host.onOver(this, reason);
  }
}

function unexpected(type: number): Fault {
  return new Fault("protocol.violation", { message: `expected password response, got message type ${type}` });
}
