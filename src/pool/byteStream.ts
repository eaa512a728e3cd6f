/**
 * One stream, TCP or a Unix socket, that reads into one buffer, again and again.
 *
 * Node usually allocates for every read; here the kernel copies into a buffer that the stream owns (`onread`),
 * and the owner is shown `chunk[0, end)` and must be done with it when `onChunk` returns, with one exception: it
 * may call `pause()` and go on with the chunk later, because nothing is read while the stream is paused.
 *
 * Invariant: bytes of a chunk that were handed to another stream's `write()` stay untouched until that stream has
 * flushed them. `write()` returns false when it has not; the reader of the chunk must then be paused until
 * `onDrain`. This is the back-pressure rule and the buffer-reuse rule in one.
 *
 * A stream may turn to TLS (`secure`); what it reads then is decrypted into memory of its own, and the rules are the
 * same.
 */
import { connect, type Server, Socket, type TcpNetConnectOpts } from "node:net";
import type { TLSSocket } from "node:tls";

/** Where a stream leads: a host's port, or the path of a Unix socket. */
export type Address = { readonly host: string; readonly port: number } | { readonly path: string };

export interface StreamOwner {
  /** New bytes in `chunk[0, end)`; the memory is used again after the return, unless the stream was paused. */
  onChunk(chunk: Buffer, end: number): void;
  /** Everything written has left; called once after a `write()` that returned false. */
  onDrain(): void;
  /** The stream is gone, whoever ended it; called once. */
  onClosed(reason: string): void;
}

/** Node's own object for an open socket, as far as it is anybody's business: it can be passed on. */
export type StreamHandle = object;
const PLAIN_HANDLES: ReadonlySet<string> = new Set(["TCP", "Pipe"]);

export const handleOf = (owner: Socket | Server): StreamHandle | null =>
  (owner as unknown as { readonly _handle: StreamHandle | null })._handle;

const EMPTY = Buffer.alloc(0);
/** A stream whose reads fill its buffer moves to one of this size, in bytes. */
const BUFFER_BYTES_LARGE = 64 * 1024;

const NOBODY: StreamOwner = { onChunk() {}, onDrain() {}, onClosed() {} };

interface OnRead {
  readonly buffer: () => Buffer;
  readonly callback: (bytesRead: number, buffer: Buffer) => boolean;
}

export class ByteStream {
  #socket: Socket;
  #owner: StreamOwner;
  #buffer: Buffer;
  #isWatchingFlush = false;
  #isClosed = false;
  #isSecure = false;
  #paused = false;
  /** Whether the last chunk's memory is not read into any more. */
  #isApart = false;
  #error: Error | null = null;
  /** What is written while something else has to come first. */
  #kept: Buffer[] | null = null;
  /** Ends the wait for a slow reader. */
  #grace: NodeJS.Timeout | null = null;

  private constructor(owner: StreamOwner, bufferBytes: number, open: (onread: OnRead) => Socket) {
    this.#owner = owner;
    this.#buffer = Buffer.allocUnsafeSlow(bufferBytes);
    this.#socket = open({
      buffer: () => this.#buffer,
      callback: (bytesRead, buffer) => {
        this.#onRead(buffer, bytesRead);
        return true;
      },
    });
    this.#socket.setNoDelay(true);
    this.#listen();
  }

  /** Takes over a connection that was accepted, and reads (accepting.ts). */
  static accept(handle: StreamHandle, owner: StreamOwner, bufferBytes: number): ByteStream {
    return new ByteStream(owner, bufferBytes, (onread) => {
      const options = { handle, onread, allowHalfOpen: false };
      return new Socket(options as unknown as ConstructorParameters<typeof Socket>[0]);
    });
  }

  /** Takes over a connection that another process accepted and passed on; it is paused. */
  static adopt(handle: StreamHandle, owner: StreamOwner, bufferBytes: number): ByteStream {
    const stream = new ByteStream(owner, bufferBytes, (onread) => {
      const options = { handle, onread, allowHalfOpen: false, pauseOnCreate: true };
      return new Socket(options as unknown as ConstructorParameters<typeof Socket>[0]);
    });
    stream.#paused = true;
    return stream;
  }

  /**
   * What can be passed on to another process; null if the connection is more than a socket, as with TLS, or gone. The
   * stream must be paused, and is still this process's until it is destroyed.
   */
  get handle(): StreamHandle | null {
    const handle = handleOf(this.#socket);
    return !this.#isClosed && handle !== null && PLAIN_HANDLES.has(handle.constructor.name) ? handle : null;
  }

  /** Whether everything written has left. */
  get isFlushed(): boolean {
    return this.#socket.writableLength === 0 && this.#kept === null;
  }

  /** Opens a connection; `onConnected` is called once when it stands, `owner.onClosed` when it does not. */
  static connect(
    address: Address,
    owner: StreamOwner,
    bufferBytes: number,
    onConnected: () => void,
  ): ByteStream {
    return new ByteStream(owner, bufferBytes, (onread) => {
      const socket = connect({
        ...(address as TcpNetConnectOpts),
        onread: onread as unknown as {
          buffer: () => Uint8Array;
          callback: (n: number, b: Uint8Array) => boolean;
        },
        keepAlive: true,
        keepAliveInitialDelay: 60_000,
      });
      socket.once("connect", onConnected);
      return socket;
    });
  }

  /** Who is told from now on. */
  setOwner(owner: StreamOwner): void {
    this.#owner = owner;
  }

  /** Both ends, for display; empty and 0 where there is none any more. */
  get endpoint() {
    const { remoteAddress, remotePort, localAddress, localPort } = this.#socket;
    return {
      address: remoteAddress ?? "",
      port: remotePort ?? 0,
      localAddress: localAddress ?? "",
      localPort: localPort ?? 0,
    };
  }

  get remoteAddress(): string {
    return this.#socket.remoteAddress ?? "";
  }

  /** What went wrong with it last. */
  get error(): Error | null {
    return this.#error;
  }

  /** The operating system's number of the stream; null when it is gone. Only good until the caller returns. */
  get descriptor(): number | null {
    const handle = (this.#socket as unknown as { _handle: { fd?: number } | null })._handle;
    const fd = handle?.fd ?? -1;
    return fd < 0 ? null : fd;
  }

  /**
   * Speaks TLS from here on, over what was plain until now; `wrap` makes the secure socket. `received`: what came of TLS
   * already. A handshake that fails ends the stream.
   */
  secure(wrap: (plain: Socket) => TLSSocket, received: Buffer | null = null): TLSSocket {
    const plain = this.#socket;
    plain.pause();
    plain.removeListener("end", this.#onEnd);
    plain.removeListener("close", this.#onClose);
    if (received !== null) plain.unshift(Buffer.from(received));
    const secure = wrap(plain);
    this.#socket = secure;
    this.#isSecure = true;
    this.#listen();
    // Before the handshake is done, a server's errors are told by this event alone.
    secure.on("_tlsError", (error: Error) => this.#note(error));
    secure.on("data", (chunk: Buffer) => this.#owner.onChunk(chunk, chunk.length));
    return secure;
  }

  /** Writes; false: not all has left yet, `onDrain` will follow. */
  write(bytes: Uint8Array): boolean {
    const socket = this.#socket;
    if (this.#isClosed || socket.destroyed) return true;
    if (this.#kept !== null) {
      this.#kept.push(Buffer.from(bytes));
      return false;
    }
    // TLS encrypts at once what need not queue, and the memory is free again.
    const isTaken = this.#isSecure && socket.writableLength === 0;
    socket.write(bytes);
    if (isTaken || socket.writableLength === 0) return true;
    this.#watchFlush();
    return false;
  }

  /** Keeps `bytes`, which nobody changes, and what is written behind them, until `release`. */
  keep(bytes: Buffer): void {
    this.#kept ??= [];
    this.#kept.push(bytes);
  }

  /** Writes `first`, and then what is kept before `next`; null is all of it, of which `onDrain` tells. */
  release(first: readonly Buffer[], next: Buffer | null): void {
    const kept = this.#kept ?? [];
    const released = kept.splice(0, next === null ? kept.length : kept.indexOf(next));
    if (kept.length === 0) this.#kept = null;
    if (this.#isClosed || this.#socket.destroyed) return;
    this.#socket.write(Buffer.concat([...first, ...released]));
    if (this.#kept === null) this.#watchFlush();
  }

  pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  /**
   * Pauses, called from within `onChunk`, and leaves the chunk's memory to whoever still writes it: what is read next
   * goes elsewhere, so that `resume` need not wait for that.
   */
  pauseApart(): void {
    if (!this.#isApart) this.#buffer = Buffer.allocUnsafeSlow(this.#buffer.length);
    this.#isApart = true;
    this.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#isApart = false;
    this.#socket.resume();
  }

  /** Sends what is written, then closes; at the latest after `graceMs`, however slow the reader is. */
  end(graceMs = 1_000): void {
    if (this.#isClosed) return;
    if (this.#kept !== null) this.release([], null);
    this.#socket.end();
    // Without the timer's end whatever hangs on this stream would stay in memory so much longer.
    this.#grace ??= setTimeout(() => this.#socket.destroy(), graceMs).unref();
    this.#socket.once("finish", () => this.#socket.destroySoon());
  }

  /** The same after the other end's last word: it reads no more, and if everything has left there is no long goodbye. */
  leave(): void {
    if (this.#isSecure || !this.isFlushed) this.end();
    else this.#socket.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #listen(): void {
    this.#socket.on("error", (error) => this.#note(error));
    this.#socket.on("end", this.#onEnd);
    this.#socket.on("close", this.#onClose);
  }

  #note(error: Error): void {
    this.#error = error;
  }

  readonly #onEnd = (): void => void this.#socket.destroy();

  readonly #onClose = (): void => {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#grace !== null) clearTimeout(this.#grace);
    const owner = this.#owner;
    // Sockets that are gone may stay in memory until the next full collection; what hangs on them need not.
    this.#owner = NOBODY;
    this.#buffer = EMPTY;
    owner.onClosed(this.#error?.message ?? "connection closed");
  };

  #onRead(buffer: Buffer, bytesRead: number): void {
    if (bytesRead === buffer.length && buffer.length < BUFFER_BYTES_LARGE) {
      this.#buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES_LARGE);
    }
    this.#owner.onChunk(buffer, bytesRead);
  }

  /** An empty write queues behind what is pending; its callback says that all of that has left. */
  #watchFlush(): void {
    if (this.#isWatchingFlush) return;
    this.#isWatchingFlush = true;
    this.#socket.write(EMPTY, () => {
      this.#isWatchingFlush = false;
      if (this.#isClosed || this.#kept !== null) return;
      if (this.#socket.writableLength > 0) this.#watchFlush();
      else this.#owner.onDrain();
    });
  }
}
