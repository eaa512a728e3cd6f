/**
 * A stream to a shard in the shape that `pg` expects of a socket, so that its clients go the same way as all others: the
 * same TLS, the same certificates, the same Unix sockets.
 *
 * It carries pgxa's own questions, a few at a time; what comes is copied.
 */
import { Duplex } from "node:stream";
import type { ShardConfig } from "../config/config.ts";
import type { ByteStream, StreamOwner } from "./byteStream.ts";
import type { ShardTls } from "./loginExchange.ts";
import { attempts, type Encryption, openLink } from "./shardLink.ts";

const BUFFER_BYTES = 8 * 1024;

/** What `pg` calls of a socket beyond a Duplex. */
export interface SocketLike extends Duplex {
  connect(): this;
  /** For channel binding. */
  getPeerCertificate(): { readonly raw: Buffer | undefined };
  setNoDelay(): this;
  setKeepAlive(): this;
  ref(): this;
  unref(): this;
}

/**
 * Not connected yet: `connect()` does that, wherever it is told to go. `onOpen` is called, and `connect` emitted, when the
 * login may begin.
 */
export function shardDuplex(shard: ShardConfig, onOpen: (tls: ShardTls | null) => void): SocketLike {
  const wire = new Wire(shard, onOpen);
  const duplex: SocketLike = Object.assign(
    new Duplex({
      read: () => wire.stream?.resume(),
      write: (chunk: Buffer, _encoding, done) => wire.write(chunk, done),
      // `pg` corks the four messages of a question with parameters: one write instead of four.
      writev: (parts, done) => wire.write(Buffer.concat(parts.map(({ chunk }) => chunk)), done),
      final: (done) => wire.end(done),
      destroy: (error, done) => wire.destroy(error, done),
    }),
    {
      connect: () => wire.open(duplex, attempts(shard)),
      getPeerCertificate: () => ({ raw: wire.tls?.certificate }),
      setNoDelay: () => duplex,
      setKeepAlive: () => duplex,
      ref: () => duplex,
      unref: () => duplex,
    },
  );
  return duplex;
}

class Wire implements StreamOwner {
  stream: ByteStream | null = null;
  tls: ShardTls | null = null;
  readonly #shard: ShardConfig;
  readonly #onOpen: (tls: ShardTls | null) => void;
  #duplex: Duplex | null = null;
  #onDrained: (() => void) | null = null;

  constructor(shard: ShardConfig, onOpen: (tls: ShardTls | null) => void) {
    this.#shard = shard;
    this.#onOpen = onOpen;
  }

  /** Goes by the TLS mode; but for a shard that has TLS and does not let this role in with it, that is the login's. */
  open(duplex: SocketLike, [first, ...others]: readonly Encryption[]): SocketLike {
    this.#duplex = duplex;
    this.stream = openLink(this.#shard, first!, this, BUFFER_BYTES, {
      onOpen: (tls) => {
        this.tls = tls;
        this.#onOpen(tls);
        duplex.emit("connect");
      },
      onFailed: (reason, isOfTls, cause) => {
        if (duplex.destroyed) return;
        if (isOfTls && others.length > 0) this.open(duplex, others);
        else duplex.destroy(isOfTls || cause === null ? new Error(reason, { cause }) : cause);
      },
    });
    return duplex;
  }

  write(chunk: Buffer, done: () => void): void {
    if (this.stream === null || this.stream.write(chunk)) done();
    else this.#onDrained = done;
  }

  end(done: () => void): void {
    this.stream?.end();
    done();
  }

  destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.stream?.destroy();
    this.#onDrained = null;
    done(error);
  }

  // --- StreamOwner ---

  onChunk(chunk: Buffer, end: number): void {
    if (this.#duplex?.push(Buffer.from(chunk.subarray(0, end))) === false) this.stream?.pause();
  }

  onDrain(): void {
    const done = this.#onDrained;
    this.#onDrained = null;
    done?.();
  }

  onClosed(): void {
    if (this.#duplex === null || this.#duplex.destroyed) return;
    this.#duplex.push(null);
    this.#duplex.destroy(this.stream?.error ?? undefined);
  }
}
