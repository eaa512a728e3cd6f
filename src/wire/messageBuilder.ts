// Pure.
/**
 * Builds one message: begin with its type, append its fields, finish with the length filled in.
 *
 * For the control path, where messages are few and small. A builder is used once: `finish()` hands its memory
 * over. Strings end at their first NUL, as everywhere in the protocol, so that no text can forge a field.
 */

const CAPACITY = 128;
const LENGTH_BYTES = 4;

export class MessageBuilder {
  #buffer: Buffer = Buffer.allocUnsafe(CAPACITY);
  #filled: number;
  readonly #lengthAt: number;

  /** A message of `type`, or one without a type byte (the startup packets) if it is null. */
  constructor(type: number | null) {
    this.#lengthAt = type === null ? 0 : 1;
    this.#filled = this.#lengthAt + LENGTH_BYTES;
    if (type !== null) this.#buffer[0] = type;
  }

  uint8(value: number): this {
    this.#reserve(1);
    this.#filled = this.#buffer.writeUInt8(value, this.#filled);
    return this;
  }

  int16(value: number): this {
    this.#reserve(2);
    this.#filled = this.#buffer.writeInt16BE(value, this.#filled);
    return this;
  }

  /** For counts, which the protocol reads as unsigned: 0 to 65535. */
  uint16(value: number): this {
    this.#reserve(2);
    this.#filled = this.#buffer.writeUInt16BE(value, this.#filled);
    return this;
  }

  int32(value: number): this {
    this.#reserve(4);
    this.#filled = this.#buffer.writeInt32BE(value, this.#filled);
    return this;
  }

  /** For OIDs and process ids. */
  uint32(value: number): this {
    this.#reserve(4);
    this.#filled = this.#buffer.writeUInt32BE(value, this.#filled);
    return this;
  }

  bytes(value: Uint8Array): this {
    this.#reserve(value.length);
    this.#buffer.set(value, this.#filled);
    this.#filled += value.length;
    return this;
  }

  /** UTF-8 and a terminating NUL. */
  cstring(text: string): this {
    const nul = text.indexOf("\0");
    return this.bytes(Buffer.from(nul < 0 ? text : text.slice(0, nul))).uint8(0);
  }

  /** The whole message; the builder is used up. */
  finish(): Buffer {
    this.#buffer.writeInt32BE(this.#filled - this.#lengthAt, this.#lengthAt);
    return this.#buffer.subarray(0, this.#filled);
  }

  #reserve(count: number): void {
    const needed = this.#filled + count;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, 2 * this.#buffer.length));
    this.#buffer.copy(grown, 0, 0, this.#filled);
    this.#buffer = grown;
  }
}
