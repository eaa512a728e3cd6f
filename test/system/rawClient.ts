/**
 * A client that speaks the protocol by hand, so that tests can say what no driver would say.
 *
 * It shares no code with pgxa's own codec.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { connect, type Socket } from "node:net";

export const PROTOCOL_3_0 = 3 << 16;
export const SSL_REQUEST = 80877103;
export const GSSENC_REQUEST = 80877104;
const CANCEL_REQUEST = 80877102;

export interface Message {
  readonly type: string;
  readonly body: Buffer;
}

export class RawClient {
  readonly socket: Socket;
  /** What has come and was not taken; put together only when enough of it is there. */
  #chunks: Buffer[] = [];
  #length = 0;
  #isEnded = false;
  #wake = () => {};

  constructor(port: number) {
    this.socket = connect({ host: "127.0.0.1", port, noDelay: true });
    this.socket.on("data", (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#length += chunk.length;
      this.#wake();
    });
    this.socket.on("error", () => {});
    this.socket.on("close", () => {
      this.#isEnded = true;
      this.#wake();
    });
  }

  /** Connects and logs in. */
  static async login(port: number, parameters: Readonly<Record<string, string>> = {}): Promise<RawClient> {
    const client = new RawClient(port);
    client.send(startup({ user: "postgres", database: "bank", ...parameters }));
    await client.until("Z");
    return client;
  }

  send(...parts: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** Exactly `count` bytes. */
  async bytes(count: number): Promise<Buffer> {
    while (this.#length < count) {
      if (this.#isEnded) throw new Error(`closed after ${this.#length} of ${count} bytes`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const [first] = this.#chunks;
    const all = first !== undefined && first.length >= count ? this.#chunks.shift()! : this.#takeAll();
    if (all.length > count) this.#chunks.unshift(all.subarray(count));
    this.#length -= count;
    return all.subarray(0, count);
  }

  #takeAll(): Buffer {
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [];
    return all;
  }

  async next(): Promise<Message> {
    const header = await this.bytes(5);
    const body = await this.bytes(header.readInt32BE(1) - 4);
    return { type: String.fromCharCode(header[0]!), body };
  }

  /** The messages up to and with the first of `type`. */
  async until(type: string): Promise<Message[]> {
    const messages: Message[] = [];
    for (;;) {
      const message = await this.next();
      messages.push(message);
      if (message.type === type) return messages;
      if (message.type === "E" && type === "Z" && isFatal(message)) throw new Error(errorField(message, "M"));
    }
  }

  /** The messages until the other side closes the connection. */
  async untilClosed(): Promise<Message[]> {
    const messages: Message[] = [];
    while (!this.#isEnded || this.#length > 0) {
      if (this.#length > 0) messages.push(await this.next());
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return messages;
  }

  close(): void {
    this.socket.destroy();
  }
}

export const typesOf = (messages: readonly Message[]): string =>
  messages.map((message) => message.type).join("");

/** What the ReadyForQuery at their end says. */
export const statusOf = (messages: readonly Message[]): string => messages.at(-1)!.body.toString();

export function errorField(message: Message, field: string): string | undefined {
  const fields = message.body.toString("utf8").split("\0");
  return fields.find((text) => text.startsWith(field))?.slice(1);
}

const isFatal = (message: Message): boolean => errorField(message, "V") === "FATAL";

export function message(type: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body]);
}

/** A message whose length field lies. */
export const messageOfLength = (type: string, length: number): Buffer =>
  Buffer.concat([Buffer.from(type), int32(length)]);

export function startup(parameters: Readonly<Record<string, string>>, version = PROTOCOL_3_0): Buffer {
  const fields = Object.entries(parameters).flatMap(([name, value]) => [text(name), text(value)]);
  const body = Buffer.concat([int32(version), ...fields, Buffer.from([0])]);
  return Buffer.concat([int32(body.length + 4), body]);
}

/** SSLRequest and GSSENCRequest. */
export const request = (code: number): Buffer => Buffer.concat([int32(8), int32(code)]);

export const cancelRequest = (pid: number, secret: Buffer): Buffer =>
  Buffer.concat([int32(12 + secret.length), int32(CANCEL_REQUEST), int32(pid), secret]);

export const query = (sql: string): Buffer => message("Q", text(sql));

export const parse = (name: string, sql: string): Buffer => message("P", text(name), text(sql), int16(0));

/** Binds text parameters to a portal, the unnamed one by default; results come as text. */
export function bind(statement: string, values: readonly string[] = [], portal = ""): Buffer {
  const parameters = values.flatMap((value) => [int32(Buffer.byteLength(value)), Buffer.from(value)]);
  return message("B", text(portal), text(statement), int16(0), int16(values.length), ...parameters, int16(0));
}

export const describeStatement = (name: string): Buffer => message("D", Buffer.from("S"), text(name));
export const execute = (portal = "", rowsMax = 0): Buffer => message("E", text(portal), int32(rowsMax));
export const sync = (): Buffer => message("S");
export const terminate = (): Buffer => message("X");

export const text = (value: string): Buffer => Buffer.from(`${value}\0`);

export function int32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32BE(value);
  return buffer;
}

export function int16(value: number): Buffer {
  const buffer = Buffer.alloc(2);
  buffer.writeInt16BE(value);
  return buffer;
}
