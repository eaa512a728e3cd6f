/**
 * The beginning of a connection to a shard: link, TLS, login. What comes out of it is a stream on which the shard is
 * ready for the first query, and what it said of itself.
 *
 * Invariant: an attempt that fails has closed its stream, and tells why it failed by one Fault (`pool.connect_failed`,
 * `pool.login_failed`, `pool.no_database`).
 */
import { type BackendPid, backendPid } from "../base/brands.ts";
import type { Environment } from "../base/environment.ts";
import type { Fault } from "../base/fault.ts";
import type { ShardConfig } from "../config/config.ts";
import { readBackendKeyData } from "../wire/backendReaders.ts";
import type { ByteStream, StreamOwner } from "./byteStream.ts";
import { type Attempt, connectFailed, openByAttempts, refusalKind } from "./connecting.ts";
import { LoginExchange, type ShardTls } from "./loginExchange.ts";
import { type Encryption, openLink } from "./shardLink.ts";

export interface OpeningOptions {
  readonly shard: ShardConfig;
  readonly environment: Environment;
  readonly connectTimeoutMs: number;
}

/** Who takes the stream over must become its owner before it returns to the event loop. */
export interface OpenedServer {
  readonly stream: ByteStream;
  /** What the shard reported by ParameterStatus. */
  readonly parameters: Map<string, string>;
  readonly pid: BackendPid;
  readonly secret: Buffer;
  readonly isEncrypted: boolean;
}

/** Reads of 64 KiB: results are large, and server connections few. */
const READ_BUFFER_BYTES = 64 * 1024;

/** Connects and logs in; rejects with a Fault. */
export function openServer(options: OpeningOptions): Promise<OpenedServer> {
  const { shard, environment, connectTimeoutMs } = options;
  return openByAttempts(shard, environment.clock, connectTimeoutMs, (encryption, timeoutMs) => {
    return new Promise((resolve) => {
      new ServerOpening(options, encryption, resolve).start(timeoutMs);
    });
  });
}

class ServerOpening implements StreamOwner {
  readonly #options: OpeningOptions;
  readonly #encryption: Encryption;
  readonly #resolve: (attempt: Attempt<OpenedServer>) => void;
  readonly #parameters = new Map<string, string>();
  #stream!: ByteStream;
  #login: LoginExchange | null = null;
  #pid: BackendPid = backendPid(0);
  #secret: Buffer = Buffer.alloc(0);
  #isOver = false;

  constructor(
    options: OpeningOptions,
    encryption: Encryption,
    resolve: (attempt: Attempt<OpenedServer>) => void,
  ) {
    this.#options = options;
    this.#encryption = encryption;
    this.#resolve = resolve;
  }

  start(timeoutMs: number): void {
    const { shard, environment, connectTimeoutMs } = this.#options;
    const timer = environment.clock.after(timeoutMs, () => {
      this.#end({
        kind: "failed",
        fault: connectFailed(shard, `no answer within ${connectTimeoutMs} ms`),
        why: "other",
      });
    });
    this.#cancelTimer = () => timer.cancel();
    this.#stream = openLink(shard, this.#encryption, this, READ_BUFFER_BYTES, {
      onOpen: (tls) => this.#logIn(tls),
      onFailed: (reason, isOfTls) =>
        this.#end({ kind: "failed", fault: connectFailed(shard, reason), why: isOfTls ? "tls" : "other" }),
    });
  }

  #cancelTimer = () => {};

  // --- StreamOwner ---

  onChunk(chunk: Buffer, end: number): void {
    this.#login?.read(chunk, end);
  }

  onDrain(): void {}

  onClosed(reason: string): void {
    this.#end({ kind: "failed", fault: connectFailed(this.#options.shard, reason), why: "other" });
  }

  // --- inside ---

  #logIn(tls: ShardTls | null): void {
    const { shard, environment } = this.#options;
    const handler = {
      write: (bytes: Buffer) => void this.#stream.write(bytes),
      onParameter: (name: string, value: string) => void this.#parameters.set(name, value),
      onKey: (buffer: Buffer, start: number, end: number) => {
        const key = readBackendKeyData(buffer, start, end);
        this.#pid = backendPid(key.pid);
        this.#secret = Buffer.from(key.secret);
      },
      onRefused: (fault: Fault, sqlstate: string | null) =>
        this.#end({ kind: "failed", fault, why: refusalKind(sqlstate, this.#encryption, tls !== null) }),
      onReady: () => this.#finish(tls !== null),
    };
    this.#login = new LoginExchange(shard, environment.random, handler, tls);
    this.#login.start();
  }

  #finish(isEncrypted: boolean): void {
    const opened = {
      stream: this.#stream,
      parameters: this.#parameters,
      pid: this.#pid,
      secret: this.#secret,
      isEncrypted,
    };
    this.#end({ kind: "open", opened });
  }

  #end(attempt: Attempt<OpenedServer>): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelTimer();
    if (attempt.kind === "failed") this.#stream.destroy();
    this.#resolve(attempt);
  }
}
