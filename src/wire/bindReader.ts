// Pure.
/**
 * Reads a Bind in place, so that its parameters can route it.
 *
 * One reader serves a client for all its Binds: `reset()` walks the message once, checks every length in it, and
 * notes where each parameter lies; the values are looked at only if they are asked for.
 *
 * https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-BIND
 */
import { Fault } from "../base/fault.ts";
import { invariant } from "../base/invariant.ts";
import { FieldReader } from "./fieldReader.ts";

/** Text or binary. */
export type Format = 0 | 1;

const NOTHING = Buffer.alloc(0);
const NO_PLACES = Int32Array.of();
/** Memory for more parameters than this is given back with the next Bind. */
const PARAMETERS_KEPT = 256;
const NULL_LENGTH = -1;

export class BindReader {
  /** Empty for the unnamed portal. */
  portal = "";
  /** Empty for the unnamed statement. */
  statement = "";
  /** 0 to 65535. */
  parameterCount = 0;

  readonly #fields = new FieldReader("client");
  #buffer: Buffer = NOTHING;
  /** Where parameter `i` begins, and its length or -1, at `2 * i` and `2 * i + 1`. */
  #places = NO_PLACES;
  #formatCount = 0;
  #formatsAt = 0;

  /**
   * Turns to the Bind that lies, header included, in `buffer[start, end)`. Throws `protocol.malformed`, or
   * `session.invalid_encoding` if a name in it is not UTF-8.
   */
  read(buffer: Buffer, start: number, end: number): void {
    this.#buffer = buffer;
    this.#fields.reset(buffer, start, end);
    this.parameterCount = 0;
    this.#read();
  }

  /** The same; false if the Bind is malformed. */
  reset(buffer: Buffer, start: number, end: number): boolean {
    try {
      this.read(buffer, start, end);
      return true;
    } catch (error) {
      if (error instanceof Fault && error.id === "protocol.malformed") return false;
      throw error;
    }
  }

  isNull(index: number): boolean {
    return this.#lengthOf(index) === NULL_LENGTH;
  }

  /** Throws `session.invalid_value` for a code that there is not: one that nobody asks for is left to the server. */
  format(index: number): Format {
    invariant(index >= 0 && index < this.parameterCount, "a parameter's index is below the parameter count");
    if (this.#formatCount === 0) return 0;
    const nth = this.#formatCount === 1 ? 0 : index;
    const code = this.#buffer.readInt16BE(this.#formatsAt + 2 * nth);
    if (code === 0 || code === 1) return code;
    throw new Fault("session.invalid_value", { message: `unsupported format code: ${code}` });
  }

  /** The value's bytes where they lie; empty for NULL. */
  parameter(index: number): Buffer {
    const byteCount = this.#lengthOf(index);
    const start = this.#places[2 * index]!;
    return byteCount === NULL_LENGTH ? NOTHING : this.#buffer.subarray(start, start + byteCount);
  }

  #lengthOf(index: number): number {
    invariant(index >= 0 && index < this.parameterCount, "a parameter's index is below the parameter count");
    return this.#places[2 * index + 1]!;
  }

  #read(): void {
    const fields = this.#fields;
    this.portal = fields.cstring();
    this.statement = fields.cstring();
    this.#formatCount = fields.uint16();
    this.#formatsAt = fields.skip(2 * this.#formatCount);
    const parameterCount = fields.uint16();
    if (this.#formatCount > 1 && this.#formatCount !== parameterCount) {
      throw fields.fault(
        `bind message has ${this.#formatCount} parameter formats but ${parameterCount} parameters`,
      );
    }
    this.#placeParameters(parameterCount);
    fields.skip(2 * fields.uint16());
    fields.finish();
    this.parameterCount = parameterCount;
  }

  #placeParameters(count: number): void {
    const fields = this.#fields;
    // Each takes four bytes at least: no room is made for parameters that are not there.
    if (4 * count > fields.remaining) throw fields.fault("insufficient data left in message");
    this.#makeRoom(count);
    for (let i = 0; i < count; i += 1) {
      const byteCount = fields.int32();
      if (byteCount < NULL_LENGTH) throw fields.fault("insufficient data left in message");
      this.#places[2 * i] = byteCount === NULL_LENGTH ? fields.at : fields.skip(byteCount);
      this.#places[2 * i + 1] = byteCount;
    }
  }

  #makeRoom(count: number): void {
    const needed = 2 * Math.max(count, PARAMETERS_KEPT);
    const kept = this.#places.length;
    if (kept < needed || kept > 2 * PARAMETERS_KEPT) this.#places = new Int32Array(needed);
  }
}
