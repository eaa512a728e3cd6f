// Pure.
/**
 * The client's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS: pgxa proving to a shard that it knows the password, or the
 * keys made of it, and the shard that it knows the secret. The user's name is the one of the startup message, as in
 * Postgres.
 *
 *     first() -> respond(server-first) -> verify(server-final)
 *
 * All throw `protocol.server_violation` for a shard that does not keep to the exchange.
 * https://www.rfc-editor.org/rfc/rfc5802#section-5
 */
import type { Randomness } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import {
  clientKeyOf,
  hash,
  hmac,
  isSame,
  SCRAM_BINDING,
  type ScramKeys,
  saltedPassword,
  serverKeyOf,
  xor,
} from "./scramKeys.ts";

/**
 * What the exchange is bound to: `none` without TLS; `unoffered` with TLS to a server that offers no PLUS, which finds
 * out by it if it did and somebody in between took that out; or the hash of the server's certificate, for PLUS.
 */
export type ClientBinding = "none" | "unoffered" | Uint8Array;

const NONCE_BYTES = 18;
/** More would let a shard burn the processor: Postgres's default is 4096. */
const ITERATIONS_MAX = 1_000_000;
/** Extensions may follow; a mandatory one (`m=`) would stand in front, and is refused with the form. */
const SERVER_FIRST =
  /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9]\d{0,9})(?:,[A-Za-z]=[^,]+)*$/;
const SERVER_FINAL = /^v=([A-Za-z0-9+/]{43}=)(?:,[A-Za-z]=[^,]+)*$/;

export class ScramClient {
  readonly #credential: string | ScramKeys;
  readonly #binding: ClientBinding;
  readonly #nonce: string;
  #expectedSignature: Buffer | null = null;

  /** `credential`: the password, or its keys, which fit only the salt and iterations that they were made with. */
  constructor(credential: string | ScramKeys, random: Randomness, binding: ClientBinding = "none") {
    this.#credential = credential;
    this.#binding = binding;
    this.#nonce = Buffer.from(random.bytes(NONCE_BYTES)).toString("base64");
  }

  /** The client-first message. */
  first(): string {
    return `${this.#header()}${this.#firstBare()}`;
  }

  /** The client-final message in answer to the server-first one. */
  respond(data: Uint8Array): string {
    const serverFirst = Buffer.from(data).toString("utf8");
    const match = SERVER_FIRST.exec(serverFirst);
    if (match === null) throw broken("the server's first message is malformed");
    const nonce = match[1]!;
    const salt = Buffer.from(match[2]!, "base64");
    const iterations = Number(match[3]);
    if (!nonce.startsWith(this.#nonce) || nonce === this.#nonce)
      throw broken("the server's nonce is not right");
    if (iterations > ITERATIONS_MAX) throw broken(`the server asks for ${iterations} iterations`);

    const { clientKey, serverKey } = this.#keys(salt, iterations);
    const finalBare = `c=${this.#bindingData().toString("base64")},r=${nonce}`;
    const authMessage = `${this.#firstBare()},${serverFirst},${finalBare}`;
    const proof = xor(clientKey, hmac(hash(clientKey), authMessage));
    this.#expectedSignature = hmac(serverKey, authMessage);
    return `${finalBare},p=${proof.toString("base64")}`;
  }

  /** Checks the server-final message: that the server knows the secret too. */
  verify(data: Uint8Array): void {
    const match = SERVER_FINAL.exec(Buffer.from(data).toString("utf8"));
    if (match === null) throw broken("the server's final message is malformed");
    const signature = Buffer.from(match[1]!, "base64");
    if (this.#expectedSignature === null || !isSame(signature, this.#expectedSignature)) {
      throw broken("the server's signature is not right");
    }
  }

  #keys(salt: Buffer, iterations: number): ScramKeys {
    if (typeof this.#credential !== "string") return this.#credential;
    const salted = saltedPassword(this.#credential, salt, iterations);
    return { clientKey: clientKeyOf(salted), serverKey: serverKeyOf(salted) };
  }

  #header(): string {
    if (this.#binding === "none") return "n,,";
    return this.#binding === "unoffered" ? "y,," : `p=${SCRAM_BINDING},,`;
  }

  #bindingData(): Buffer {
    const header = Buffer.from(this.#header());
    return typeof this.#binding === "string" ? header : Buffer.concat([header, this.#binding]);
  }

  #firstBare(): string {
    return `n=,r=${this.#nonce}`;
  }
}

const broken = (what: string): Fault =>
  new Fault("protocol.server_violation", { message: `SCRAM authentication failed: ${what}` });
