// Pure.
/**
 * The server's side of SCRAM-SHA-256: a client proving to pgxa that it knows the password.
 *
 *     first(client-first) -> server-first;  final(client-final) -> server-final or null
 *
 * A user who does not exist gets a salt like any other, always the same, and fails at the end: the exchange does not
 * tell who exists. No channel binding is offered; a client that asks for it is refused.
 *
 * Messages that break the exchange throw `protocol.violation`, in Postgres's words; a `ScramServer` that threw is
 * good for nothing more.
 * https://www.rfc-editor.org/rfc/rfc5802#section-5
 */
import type { Randomness } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import { hash, hmac, isSame, xor } from "./scramKeys.ts";
import type { ScramSecret } from "./scramSecret.ts";

export const SCRAM_MECHANISM = "SCRAM-SHA-256";

const NONCE_BYTES = 18;
const MOCK_ITERATIONS = 4_096;
const SALT_BYTES = 16;
const KEY_BYTES = 32;
/** Parts: channel binding flag (none for `p`), authorization identity. */
const GS2_HEADER = /^(?:([ny])|p=[^,]*),(a=[^,]*)?,/;
/** The user's name is not looked at; the nonce is printable ASCII without a comma. */
const CLIENT_FIRST_BARE = /^n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,]+)*$/;
/** Parts: the message without its proof, the channel binding, the nonce, the proof. */
const CLIENT_FINAL = /^(c=([^,]+),r=([^,]+)(?:,[A-Za-z]=[^,]+)*),p=([A-Za-z0-9+/]{43}=)$/;

export interface ScramUser {
  readonly name: string;
  /** Null for a user who does not exist, or has no password. */
  readonly secret: ScramSecret | null;
}

export class ScramServer {
  readonly #secret: ScramSecret;
  readonly #isDoomed: boolean;
  readonly #nonce: string;
  #gs2Header = "";
  #clientFirstBare = "";
  #serverFirst = "";
  #combinedNonce = "";

  /** `mockKey`: random, the same for the life of the process. */
  constructor(user: ScramUser, mockKey: Uint8Array, random: Randomness) {
    this.#secret = user.secret ?? mockSecret(user.name, mockKey);
    this.#isDoomed = user.secret === null;
    this.#nonce = Buffer.from(random.bytes(NONCE_BYTES)).toString("base64");
  }

  /** The server-first message. */
  first(data: Uint8Array): Buffer {
    const message = Buffer.from(data).toString("utf8");
    const header = GS2_HEADER.exec(message);
    if (header === null) throw malformed("The message is not a client-first message.");
    if (header[1] === undefined)
      throw malformed("The client asks for channel binding, which was not offered.");
    if (header[2] !== undefined) throw refused("client uses authorization identity, but it is not supported");
    const bare = message.slice(header[0].length);
    if (bare.startsWith("m=")) throw refused("client requires an unsupported SCRAM extension");
    const nonce = CLIENT_FIRST_BARE.exec(bare)?.[1];
    if (nonce === undefined) throw malformed("The client's nonce is missing or not printable.");
    this.#gs2Header = header[0];
    this.#clientFirstBare = bare;
    this.#combinedNonce = nonce + this.#nonce;
    const { salt, iterations } = this.#secret;
    this.#serverFirst = `r=${this.#combinedNonce},s=${salt.toString("base64")},i=${iterations}`;
    return Buffer.from(this.#serverFirst);
  }

  /** The server-final message; null if the password was wrong. */
  final(data: Uint8Array): Buffer | null {
    const message = Buffer.from(data).toString("utf8");
    const match = this.#serverFirst === "" ? null : CLIENT_FINAL.exec(message);
    if (match === null) throw malformed("The message is not a client-final message.");
    if (match[3] !== this.#combinedNonce) throw malformed("Nonce does not match.");
    const binding = Buffer.from(this.#gs2Header).toString("base64");
    if (match[2] !== binding) throw malformed("The channel binding does not match.");

    const authMessage = `${this.#clientFirstBare},${this.#serverFirst},${match[1]}`;
    const { storedKey, serverKey } = this.#secret;
    const clientKey = xor(Buffer.from(match[4]!, "base64"), hmac(storedKey, authMessage));
    if (!isSame(hash(clientKey), storedKey) || this.#isDoomed) return null;
    return Buffer.from(`v=${hmac(serverKey, authMessage).toString("base64")}`);
  }
}

function mockSecret(name: string, mockKey: Uint8Array): ScramSecret {
  const salt = hmac(mockKey, name).subarray(0, SALT_BYTES);
  const nobody = Buffer.alloc(KEY_BYTES);
  return { iterations: MOCK_ITERATIONS, salt, storedKey: nobody, serverKey: nobody };
}

const malformed = (detail: string): Fault =>
  new Fault("protocol.violation", { message: "malformed SCRAM message", detail });

/** What SCRAM has and Postgres has not; like all that goes wrong in a login, it ends the connection. */
const refused = (message: string): Fault => new Fault("login.scram_unsupported", { message });
