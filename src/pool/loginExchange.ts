/**
 * The login of pgxa at a shard, from the startup message to the first ReadyForQuery: trust, password, md5 and
 * SCRAM-SHA-256, whatever the shard asks for; SCRAM with channel binding where the shard offers it.
 *
 * A clear-text password is given only to who asks for it on the configured address; who that is, is a matter of TLS and
 * settled before (shardLink.ts). With keys in a password's place nothing but SCRAM can be answered.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP
 */
import type { Randomness } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { ShardConfig } from "../config/config.ts";
import { readAuthentication, readErrorFields, readParameterStatus } from "../wire/backendReaders.ts";
import * as send from "../wire/frontendWriters.ts";
import { md5Password } from "../wire/md5Password.ts";
import { MessageFeed } from "../wire/messageFeed.ts";
import { SERVER_MESSAGE } from "../wire/messageTypes.ts";
import { type ClientBinding, ScramClient } from "../wire/scramClient.ts";
import { SCRAM_MECHANISM, SCRAM_PLUS_MECHANISM, type ScramKeys } from "../wire/scramKeys.ts";
import { ShardError } from "./shardError.ts";
import { placeOf } from "./shardLink.ts";

/** What a shard may send before login is done, in bytes. */
const LOGIN_MESSAGE_BYTES_MAX = 65_536;

/** What TLS knows of the shard. */
export interface ShardTls {
  /** Its certificate, in DER. */
  readonly certificate: Buffer;
  /** The hash of its certificate for channel binding (RFC 5929); null for one that has none defined. */
  readonly endPointHash: Buffer | null;
}

export interface LoginHandler {
  write(bytes: Buffer): void;
  onParameter(name: string, value: string): void;
  onKey(buffer: Buffer, start: number, end: number): void;
  /** `sqlstate`: that of the shard's error; null if it is pgxa that does not go on. */
  onRefused(fault: Fault, sqlstate: string | null): void;
  onReady(): void;
}

/** The client may have named it. */
const NO_DATABASE = "3D000";

export class LoginExchange {
  readonly #shard: ShardConfig;
  readonly #random: Randomness;
  readonly #handler: LoginHandler;
  readonly #tls: ShardTls | null;
  readonly #messages = new MessageFeed("server", LOGIN_MESSAGE_BYTES_MAX);
  #scram: ScramClient | null = null;
  /** Whether the shard has proved by SCRAM that it knows the secret. */
  #isProven = false;
  #isOver = false;

  /** `tls`: null on a connection that is not encrypted. */
  constructor(shard: ShardConfig, random: Randomness, handler: LoginHandler, tls: ShardTls | null = null) {
    this.#tls = tls;
    this.#shard = shard;
    this.#random = random;
    this.#handler = handler;
  }

  start(): void {
    const parameters = new Map([
      ["user", this.#shard.user],
      ["database", this.#shard.database],
    ]);
    if (this.#shard.isReadOnly) parameters.set("default_transaction_read_only", "on");
    this.#handler.write(send.startup(parameters, 0));
  }

  read(chunk: Buffer, end: number): void {
    const messages = this.#messages;
    messages.push(chunk.subarray(0, end));
    while (!this.#isOver && messages.next()) this.#takeSafely(messages.type);
    if (!this.#isOver && messages.violation !== null) this.#refuse("it does not speak the Postgres protocol");
  }

  #takeSafely(type: number): void {
    try {
      this.#take(type);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.#refuse(error.message, error);
    }
  }

  #take(type: number): void {
    const { buffer, start, end } = this.#messages;
    if (type === SERVER_MESSAGE.authentication) this.#authenticate(buffer, start, end);
    else if (type === SERVER_MESSAGE.backendKeyData) this.#handler.onKey(buffer, start, end);
    else if (type === SERVER_MESSAGE.parameterStatus) {
      const { name, value } = readParameterStatus(buffer, start, end);
      this.#handler.onParameter(name, value);
    } else if (type === SERVER_MESSAGE.readyForQuery) {
      this.#isOver = true;
      this.#handler.onReady();
    } else if (type === SERVER_MESSAGE.errorResponse) {
      const error = readErrorFields(buffer, start, end);
      const { message, sqlstate } = error;
      if (sqlstate !== NO_DATABASE)
        return this.#refuse(`${message} (${sqlstate})`, new ShardError(error), sqlstate);
      this.#isOver = true;
      this.#handler.onRefused(new Fault("pool.no_database", { message }), sqlstate);
    }
  }

  #authenticate(buffer: Buffer, start: number, end: number): void {
    const request = readAuthentication(buffer, start, end);
    const { user } = this.#shard;
    switch (request.kind) {
      case "ok":
        // A shard that began a proof of its own and did not finish it may be somebody else.
        if (this.#scram !== null && !this.#isProven)
          this.#refuse("it did not prove that it knows the password");
        return;
      case "cleartext":
        return this.#handler.write(send.password(this.#password()));
      case "md5":
        return this.#handler.write(send.password(md5Password(user, this.#password(), request.salt)));
      case "sasl":
        return this.#beginScram(request.mechanisms);
      case "saslContinue":
        return this.#handler.write(send.saslResponse(this.#scramStep().respond(request.data)));
      case "saslFinal":
        this.#scramStep().verify(request.data);
        this.#isProven = true;
        return;
      default:
        return this.#refuse("it asks for an authentication method that pgxa does not have");
    }
  }

  #beginScram(offered: readonly string[]): void {
    const endPointHash = this.#tls?.endPointHash ?? null;
    const isBound = endPointHash !== null && offered.includes(SCRAM_PLUS_MECHANISM);
    if (!isBound && !offered.includes(SCRAM_MECHANISM)) return this.#refuse("it offers no SCRAM-SHA-256");
    const mechanism = isBound ? SCRAM_PLUS_MECHANISM : SCRAM_MECHANISM;
    const binding: ClientBinding = isBound ? endPointHash : endPointHash === null ? "none" : "unoffered";
    this.#scram = new ScramClient(this.#credential(), this.#random, binding);
    this.#handler.write(send.saslInitialResponse(mechanism, this.#scram.first()));
  }

  #scramStep(): ScramClient {
    if (this.#scram === null) throw new Fault("protocol.server_violation");
    return this.#scram;
  }

  #credential(): string | ScramKeys {
    return this.#shard.scramKeys ?? this.#password();
  }

  #password(): string {
    if (this.#shard.scramKeys !== undefined) {
      const message = "it asks for the password itself, and pgxa has the keys of SCRAM-SHA-256 only";
      throw new Fault("pool.login_failed", { message });
    }
    if (this.#shard.password === undefined) {
      throw new Fault("pool.login_failed", { message: "it asks for a password and none is configured" });
    }
    return this.#shard.password;
  }

  #refuse(reason: string, cause?: unknown, sqlstate: string | null = null): void {
    this.#isOver = true;
    const { id, user, database } = this.#shard;
    this.#handler.onRefused(
      new Fault("pool.login_failed", {
        message: `could not log in to shard "${id}"`,
        detail: `${placeOf(this.#shard)}, user "${user}", database "${database}": ${reason}.`,
        ...(cause === undefined ? {} : { cause }),
      }),
      sqlstate,
    );
  }
}
