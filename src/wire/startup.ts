// Pure.
/**
 * Reads what a client says before it is a client: the packets without a type byte.
 *
 * A connection begins with an SSLRequest or a GSSENCRequest (each at most once, both possible, each answered
 * with one byte), then a StartupMessage or, on a connection of its own, a CancelRequest. A packet is its length,
 * a 4-byte code and a body; the code of a StartupMessage is the protocol version.
 *
 * Invariants:
 * - The length is checked before anything is allocated for it; one packet's bytes are all the memory used, and none if
 *   they came in one piece.
 * - No byte after an SSLRequest or GSSENCRequest is taken for what follows it: a client waits for the answer, so
 *   such bytes were put there by somebody in the middle (CVE-2021-23222), and the connection is refused.
 *
 * The rules and texts are those of `ProcessStartupPacket` in Postgres's backend_startup.c.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import { Fault } from "../base/fault.ts";
import { invariant } from "../base/invariant.ts";

/** The newest minor version of protocol 3 that pgxa speaks. */
export const PROTOCOL_MINOR_MAX = 2;

const LENGTH_BYTES = 4;
const PACKET_BYTES_MIN = 8;
const MAJOR = 3;
const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
const CANCEL_REQUEST = 80877102;
const SECRET_BYTES_MAX = 256;
const NOTHING = Buffer.alloc(0);
/** The type of Terminate and the first bytes of its length, where the length of a startup packet is to be. */
const TERMINATE = Buffer.from([0x58, 0, 0, 0]);

export interface StartupMessage {
  readonly kind: "startup";
  readonly major: 3;
  /** As asked for; above `PROTOCOL_MINOR_MAX` the answer begins with NegotiateProtocolVersion. */
  readonly minor: number;
  /** `user` is there and not empty. `database` may be missing or empty: it is then the user's name. */
  readonly parameters: ReadonlyMap<string, string>;
  /** The names of `_pq_.` options, none of which pgxa knows: if any, NegotiateProtocolVersion lists them. */
  readonly unsupportedOptions: readonly string[];
}

export type StartupRequest =
  | { readonly kind: "ssl" }
  | { readonly kind: "gss" }
  | { readonly kind: "cancel"; readonly pid: number; readonly secret: Buffer }
  | StartupMessage
  /** A client that has nothing to say after all: Terminate, as if it were logged in. */
  | { readonly kind: "terminate" }
  | { readonly kind: "violation"; readonly fault: Fault };

export class StartupReader {
  readonly #bytesMax: number;
  readonly #readMessage: (packet: Buffer) => StartupMessage;
  #length: Buffer = NOTHING;
  /** The packet, once its length is known; its first four bytes are the length. */
  #packet: Buffer | null = null;
  #filled = 0;
  #rest: Buffer = NOTHING;
  /** What may still be asked for. */
  #sslAllowed = true;
  #gssAllowed = true;
  #isOver = false;

  /** A packet may have `bytesMax` bytes, its length included. `readMessage`: who reads that of a client. */
  constructor(bytesMax: number, readMessage: (packet: Buffer) => StartupMessage = readStartupMessage) {
    this.#bytesMax = bytesMax;
    this.#readMessage = readMessage;
  }

  /** The bytes that came after the last packet; they belong to whoever reads the connection next. */
  get rest(): Buffer {
    return this.#rest;
  }

  /** From here on all comes through TLS, within which nothing like it can be asked for. */
  encrypt(): void {
    this.#sslAllowed = false;
    this.#gssAllowed = false;
  }

  /**
   * Takes the next bytes; null if they don't complete a packet. After `ssl` and `gss` more is to be pushed, after
   * anything else nothing.
   */
  push(chunk: Buffer): StartupRequest | null {
    invariant(!this.#isOver, "nothing is pushed once the startup is over");
    try {
      return this.#read(chunk);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.#isOver = true;
      return { kind: "violation", fault: error };
    }
  }

  #read(chunk: Buffer): StartupRequest | null {
    if (this.#filled === 0 && chunk.length >= PACKET_BYTES_MIN) {
      const length = chunk.readUInt32BE(0);
      // The usual case, for which no memory is needed.
      if (length >= PACKET_BYTES_MIN && length <= Math.min(chunk.length, this.#bytesMax)) {
        this.#rest = chunk.length === length ? NOTHING : chunk.subarray(length);
        return this.#interpret(chunk.subarray(0, length));
      }
    }
    let taken = 0;
    if (this.#packet === null) {
      if (this.#filled === 0) this.#length = Buffer.alloc(LENGTH_BYTES);
      taken = this.#fill(this.#length, chunk, 0);
      if (this.#filled < LENGTH_BYTES) return null;
      if (this.#length.equals(TERMINATE)) {
        this.#isOver = true;
        return { kind: "terminate" };
      }
      this.#packet = this.#allocate();
    }
    taken += this.#fill(this.#packet, chunk, taken);
    if (this.#filled < this.#packet.length) return null;

    const packet = this.#packet;
    this.#packet = null;
    this.#filled = 0;
    this.#rest = chunk.subarray(taken);
    return this.#interpret(packet);
  }

  #fill(target: Buffer, chunk: Buffer, from: number): number {
    const copied = chunk.copy(target, this.#filled, from);
    this.#filled += copied;
    return copied;
  }

  #allocate(): Buffer {
    const length = this.#length.readUInt32BE(0);
    if (length < PACKET_BYTES_MIN || length > this.#bytesMax)
      throw violation("invalid length of startup packet");
    const packet = Buffer.allocUnsafe(length);
    this.#length.copy(packet);
    return packet;
  }

  #interpret(packet: Buffer): StartupRequest {
    const code = packet.readUInt32BE(4);
    if (code === SSL_REQUEST && this.#sslAllowed) {
      this.#sslAllowed = false;
      this.#refuseRest("received unencrypted data after SSL request");
      return { kind: "ssl" };
    }
    if (code === GSS_REQUEST && this.#gssAllowed) {
      this.#gssAllowed = false;
      this.#refuseRest("received unencrypted data after GSSAPI encryption request");
      return { kind: "gss" };
    }
    this.#isOver = true;
    return code === CANCEL_REQUEST ? readCancel(packet) : this.#readMessage(packet);
  }

  #refuseRest(message: string): void {
    if (this.#rest.length === 0) return;
    const detail =
      "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.";
    throw violation(message, detail);
  }
}

function readCancel(packet: Buffer): StartupRequest {
  if (packet.length < 12) throw violation("invalid length of query cancel packet");
  const secret = Buffer.from(packet.subarray(12));
  if (secret.length === 0 || secret.length > SECRET_BYTES_MAX) {
    throw violation("invalid length of query cancel key");
  }
  return { kind: "cancel", pid: packet.readUInt32BE(8), secret };
}

/** What a whole startup packet says; throws a Fault for one that is none. */
export function readStartupMessage(packet: Buffer): StartupMessage {
  const major = packet.readUInt16BE(4);
  const minor = packet.readUInt16BE(6);
  if (major !== MAJOR) throw unsupportedVersion(major, minor);
  const { parameters, unsupportedOptions } = readParameters(packet);
  if (!parameters.get("user")) throw new Fault("login.no_user");
  return { kind: "startup", major: MAJOR, minor, parameters, unsupportedOptions };
}

/** Pairs of strings up to an empty name, which must be the packet's last byte. */
function readParameters(packet: Buffer): Pick<StartupMessage, "parameters" | "unsupportedOptions"> {
  const parameters = new Map<string, string>();
  const unsupportedOptions: string[] = [];
  let at = 8;
  while (at < packet.length && packet[at] !== 0) {
    const nameEnd = packet.indexOf(0, at);
    const valueEnd = nameEnd < 0 ? -1 : packet.indexOf(0, nameEnd + 1);
    if (valueEnd < 0) break;
    const name = packet.toString("utf8", at, nameEnd);
    if (name.startsWith("_pq_.")) unsupportedOptions.push(name);
    else parameters.set(name, packet.toString("utf8", nameEnd + 1, valueEnd));
    at = valueEnd + 1;
  }
  if (at !== packet.length - 1) {
    throw violation("invalid startup packet layout: expected terminator as last byte");
  }
  return { parameters, unsupportedOptions };
}

function unsupportedVersion(major: number, minor: number): Fault {
  const message = `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.${PROTOCOL_MINOR_MAX}`;
  return new Fault("protocol.unsupported_version", { message });
}

function violation(message: string, detail?: string): Fault {
  return new Fault("protocol.violation", detail === undefined ? { message } : { message, detail });
}
