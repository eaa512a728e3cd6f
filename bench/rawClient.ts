/**
 * A client that costs next to nothing: it reads only the headers of what it is sent, into one buffer for all of them.
 *
 * For the cases in which thousands of clients do nothing, or one receives more than a driver could bear. Nobody has to
 * prove anything to whom it connects.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { FrameScanner } from "../src/wire/frameScanner.ts";
import * as send from "../src/wire/frontendWriters.ts";
import { CLIENT_MESSAGE, MESSAGE_BYTES_MAX, SERVER_MESSAGE } from "../src/wire/messageTypes.ts";
import type { Endpoint } from "./endpoint.ts";

const BUFFER_BYTES = 256 * 1024;
const HEADER_BYTES = 5;

interface Waiter {
  readonly type: number;
  resolve(): void;
  reject(error: Error): void;
}

/** Makes clients that share one buffer: a chunk is done with before the next is read. */
export class RawClients {
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);

  /** Resolves when it is logged in. */
  async open({ host, port, user, database }: Endpoint): Promise<RawClient> {
    let client: RawClient | null = null;
    const socket = connect({
      host,
      port,
      noDelay: true,
      onread: {
        buffer: this.#buffer,
        callback: (length) => {
          client!.onChunk(this.#buffer, length);
          return true;
        },
      },
    });
    client = new RawClient(socket);
    const settings = Object.entries({ user, database });
    await client.ask(send.startup(settings, 0), SERVER_MESSAGE.readyForQuery);
    return client;
  }
}

export class RawClient {
  /** Bytes received so far. */
  received = 0;
  readonly #socket: Socket;
  readonly #scanner = new FrameScanner("server", MESSAGE_BYTES_MAX);
  #carry: Buffer | null = null;
  #waiter: Waiter | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the connection was closed")));
  }

  /** Sends `bytes`; resolves when a message of the given type has come, and rejects if that is an error. */
  ask(bytes: Buffer, type: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiter = { type, resolve, reject };
      this.#socket.write(bytes);
    });
  }

  /** Resolves when all of the answer has come; rejects if there was an error in it. */
  query(sql: string): Promise<void> {
    return this.ask(send.query(sql), SERVER_MESSAGE.readyForQuery);
  }

  /** COPY FROM STDIN of `rows`, so many times; no faster than it is taken. */
  async copyIn(sql: string, rows: Buffer, times: number): Promise<void> {
    await this.ask(send.query(sql), SERVER_MESSAGE.copyInResponse);
    const message = copyData(rows);
    for (let sent = 0; sent < times; sent++) {
      if (!this.#socket.write(message)) await once(this.#socket, "drain");
    }
    await this.ask(Buffer.from([CLIENT_MESSAGE.copyDone, 0, 0, 0, 4]), SERVER_MESSAGE.readyForQuery);
  }

  /** Resolves when the connection is closed. */
  async close(): Promise<void> {
    this.#waiter = null;
    if (this.#socket.closed) return;
    const closed = once(this.#socket, "close");
    this.#socket.end(send.terminate());
    await closed;
  }

  /** Takes `chunk[0, end)`. */
  onChunk(chunk: Buffer, end: number): void {
    this.received += end;
    if (this.#carry !== null) {
      chunk = Buffer.concat([this.#carry, chunk.subarray(0, end)]);
      end = chunk.length;
      this.#carry = null;
    }
    const scanner = this.#scanner;
    scanner.begin(chunk, 0, end);
    while (scanner.next()) {
      if (!scanner.isLast) continue;
      if (scanner.type === SERVER_MESSAGE.errorResponse)
        this.#fail(new Error(errorWords(chunk, scanner.start, scanner.end)));
      else if (scanner.type === this.#waiter?.type) this.#done();
    }
    if (scanner.tail > 0) this.#carry = Buffer.from(chunk.subarray(scanner.end, end));
  }

  #done(): void {
    const waiter = this.#waiter;
    this.#waiter = null;
    waiter?.resolve();
  }

  #fail(error: Error): void {
    const waiter = this.#waiter;
    this.#waiter = null;
    waiter?.reject(error);
  }
}

/** The fields of an ErrorResponse, one after the other. */
const errorWords = (chunk: Buffer, start: number, end: number): string =>
  chunk
    .toString("utf8", start + HEADER_BYTES, end)
    .replaceAll("\0", " ")
    .trim();

function copyData(rows: Buffer): Buffer {
  const message = Buffer.alloc(HEADER_BYTES + rows.length);
  message[0] = CLIENT_MESSAGE.copyData;
  message.writeUInt32BE(message.length - 1, 1);
  rows.copy(message, HEADER_BYTES);
  return message;
}
