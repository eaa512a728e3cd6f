// Pure.
/**
 * The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS: a client proving to pgxa that it knows the password.
 *
 *     mechanisms -> the client chooses;  first(client-first, its choice) -> server-first;
 *     final(client-final) -> server-final or null
 *
 * A user who does not exist gets a salt like any other, always the same, and fails at the end: the exchange does not
 * tell who exists. With TLS the exchange can be bound to the certificate that the client was shown (PLUS), and a client
 * that says it could, but was not offered it, is refused: somebody in between has taken the offer away.
 *
 * Messages that break the exchange throw `protocol.violation`, in Postgres's words; a `ScramServer` that threw is
 * good for nothing more.
 * https://www.rfc-editor.org/rfc/rfc5802#section-5
 */
import type { Randomness } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import { invariant } from "../base/invariant.ts";
import {
  hash,
  hmac,
  isSame,
  SCRAM_BINDING,
  SCRAM_MECHANISM,
  SCRAM_PLUS_MECHANISM,
  type ScramKeys,
  xor,
} from "./scramKeys.ts";
import type { ScramSecret } from "./scramSecret.ts";

const NONCE_BYTES = 18;
const MOCK_ITERATIONS = 4_096;
const SALT_BYTES = 16;
const KEY_BYTES = 32;
/** Parts: channel binding flag (none for `p`), the kind of channel binding, authorization identity. */
const GS2_HEADER = /^(?:([ny])|p=([^,]*)),(a=[^,]*)?,/;
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
  /** The hash of the certificate that the client was shown; null without TLS. */
  readonly #endPointHash: Uint8Array | null;
  /** What `c=` in the client's final message has to be. */
  #binding = "";
  #isBound = false;
  #keys: ScramKeys | null = null;
  #clientFirstBare = "";
  #serverFirst = "";
  #combinedNonce = "";

  /**
   * `mockKey`: random, the same for the life of the process. `endPointHash`: that of the certificate shown to the client
   * (`tls-server-end-point`); null without TLS, where no channel binding is offered.
   */
  constructor(
    user: ScramUser,
    mockKey: Uint8Array,
    random: Randomness,
    endPointHash: Uint8Array | null = null,
  ) {
    this.#endPointHash = endPointHash;
    this.#secret = user.secret ?? mockSecret(user.name, mockKey);
    this.#isDoomed = user.secret === null;
    this.#nonce = Buffer.from(random.bytes(NONCE_BYTES)).toString("base64");
  }

  /** What to offer to the client, best first. */
  get mechanisms(): readonly string[] {
    return this.#endPointHash === null ? [SCRAM_MECHANISM] : [SCRAM_PLUS_MECHANISM, SCRAM_MECHANISM];
  }

  /** After a `final` that succeeded: with what pgxa can log in as this user where the secret is the same. */
  get keys(): ScramKeys | null {
    return this.#keys;
  }

  /** The server-first message; `mechanism` is what the client chose, one of `mechanisms`. */
  first(data: Uint8Array, mechanism: string = SCRAM_MECHANISM): Buffer {
    const message = Buffer.from(data).toString("utf8");
    const header = GS2_HEADER.exec(message);
    if (header === null) throw malformed("The message is not a client-first message.");
    invariant(this.mechanisms.includes(mechanism), "a client gets the mechanism that it was offered");
    this.#isBound = mechanism === SCRAM_PLUS_MECHANISM;
    this.#checkFlag(header[1], header[2]);
    if (header[3] !== undefined) throw refused("client uses authorization identity, but it is not supported");
    const bare = message.slice(header[0].length);
    if (bare.startsWith("m=")) throw refused("client requires an unsupported SCRAM extension");
    const nonce = CLIENT_FIRST_BARE.exec(bare)?.[1];
    if (nonce === undefined) throw malformed("The client's nonce is missing or not printable.");
    this.#binding = this.#bindingOf(header[0]);
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
    if (match[2] !== this.#binding) {
      if (this.#isBound) throw unbound("SCRAM channel binding check failed");
      throw malformed("The channel binding does not match.");
    }

    const authMessage = `${this.#clientFirstBare},${this.#serverFirst},${match[1]}`;
    const { storedKey, serverKey } = this.#secret;
    const clientKey = xor(Buffer.from(match[4]!, "base64"), hmac(storedKey, authMessage));
    if (!isSame(hash(clientKey), storedKey) || this.#isDoomed) return null;
    this.#keys = { clientKey, serverKey };
    return Buffer.from(`v=${hmac(serverKey, authMessage).toString("base64")}`);
  }

  /** `flag`: undefined for `p`, whose kind of binding is `kind` then. */
  #checkFlag(flag: string | undefined, kind: string | undefined): void {
    if (this.#isBound && flag !== undefined) {
      throw malformed(
        "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.",
      );
    }
    if (!this.#isBound && flag === undefined) {
      throw malformed(
        "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.",
      );
    }
    if (flag === "y" && this.#endPointHash !== null) {
      throw unbound(
        "SCRAM channel binding negotiation error",
        "The client supports SCRAM channel binding but thinks the server does not. However, this server does support channel binding.",
      );
    }
    if (this.#isBound && kind !== SCRAM_BINDING) {
      const message = "unsupported SCRAM channel-binding type";
      throw new Fault("protocol.violation", { message, detail: `pgxa has ${SCRAM_BINDING} only.` });
    }
  }

  #bindingOf(header: string): string {
    const data = Buffer.from(header);
    return (this.#isBound ? Buffer.concat([data, this.#endPointHash!]) : data).toString("base64");
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

/** The two ends do not see the same certificate, or not the same offer. */
const unbound = (message: string, detail?: string): Fault =>
  new Fault("login.channel_binding", { message, ...(detail === undefined ? {} : { detail }) });
