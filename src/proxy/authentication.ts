/**
 * How a client proves who it is, step by step: nothing to prove, SCRAM-SHA-256, md5, or the password itself.
 *
 * A user who does not exist, or has no password that counts, goes through the same exchange as one with a wrong one and
 * is refused with the same words; only the log tells why.
 */
import type { Randomness } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import {
  authenticationCleartext,
  authenticationMd5,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
} from "../wire/backendWriters.ts";
import { readPassword, readSaslInitialResponse, readSaslResponse } from "../wire/frontendReaders.ts";
import { isSame } from "../wire/scramKeys.ts";
import { ScramServer } from "../wire/scramServer.ts";
import { Credentials, type Proof } from "./auth/credentials.ts";
import { isPassword, md5Answer, md5Of, type Secret, scramOf } from "./auth/secret.ts";

export type AuthenticationStep =
  | { readonly kind: "ask"; readonly message: Buffer }
  /** `message` goes in front of AuthenticationOk. */
  | { readonly kind: "accepted"; readonly message: Buffer | null; readonly credentials: Credentials }
  | { readonly kind: "refused"; readonly fault: Fault };

export interface Authentication {
  begin(): AuthenticationStep;
  /** Takes a password message at `buffer[start, end)`. Throws a Fault for one that breaks the exchange. */
  answer(buffer: Buffer, start: number, end: number): AuthenticationStep;
}

/** Whoever tries to log in. */
export interface Claimant {
  readonly user: string;
  /** Null for a user who does not exist, or has no password that counts. */
  readonly secret: Secret | null;
}

const MD5_SALT_BYTES = 4;
const MD5_HEX_DIGITS = 32;

/** Somebody about whom there is nothing left to prove. */
export class TrustedAuthentication implements Authentication {
  readonly #user: string;

  constructor(user: string) {
    this.#user = user;
  }

  begin(): AuthenticationStep {
    return accepted(null, this.#user, { kind: "none" });
  }

  answer(): AuthenticationStep {
    throw new Fault("protocol.violation");
  }
}

export class ScramAuthentication implements Authentication {
  readonly #claimant: Claimant;
  readonly #scram: ScramServer;
  #hasBegun = false;

  /** `mockKey`: see ScramServer. `endPointHash`: null without TLS, where no channel binding can be offered. */
  constructor(claimant: Claimant, mockKey: Uint8Array, random: Randomness, endPointHash: Uint8Array | null) {
    this.#claimant = claimant;
    const user = { name: claimant.user, secret: scramOf(claimant.secret) };
    this.#scram = new ScramServer(user, mockKey, random, endPointHash);
  }

  begin(): AuthenticationStep {
    return { kind: "ask", message: authenticationSasl(this.#scram.mechanisms) };
  }

  answer(buffer: Buffer, start: number, end: number): AuthenticationStep {
    if (!this.#hasBegun) return this.#first(buffer, start, end);
    const final = this.#scram.final(readSaslResponse(buffer, start, end));
    if (final === null) return refused(this.#claimant.user);
    return accepted(authenticationSaslFinal(final), this.#claimant.user, this.#proof());
  }

  /** The keys are those of the secret that was used: of one made here of a password they open nothing elsewhere. */
  #proof(): Proof {
    const { secret } = this.#claimant;
    if (secret?.kind === "clear") return { kind: "password", password: secret.password };
    return this.#scram.keys === null ? { kind: "none" } : { kind: "scram", keys: this.#scram.keys };
  }

  #first(buffer: Buffer, start: number, end: number): AuthenticationStep {
    const { mechanism, data } = readSaslInitialResponse(buffer, start, end);
    if (!this.#scram.mechanisms.includes(mechanism) || data === null) {
      throw new Fault("protocol.violation", {
        message: "client selected an invalid SASL authentication mechanism",
      });
    }
    this.#hasBegun = true;
    return { kind: "ask", message: authenticationSaslContinue(this.#scram.first(data, mechanism)) };
  }
}

export class Md5Authentication implements Authentication {
  readonly #claimant: Claimant;
  readonly #salt: Uint8Array;
  readonly #expected: Buffer;

  constructor(claimant: Claimant, random: Randomness) {
    this.#claimant = claimant;
    this.#salt = Uint8Array.from(random.bytes(MD5_SALT_BYTES));
    const hash = md5Of(claimant.secret, claimant.user) ?? "x".repeat(MD5_HEX_DIGITS);
    this.#expected = Buffer.from(md5Answer(hash, this.#salt));
  }

  begin(): AuthenticationStep {
    return { kind: "ask", message: authenticationMd5(this.#salt) };
  }

  answer(buffer: Buffer, start: number, end: number): AuthenticationStep {
    const { user, secret } = this.#claimant;
    const isRight = isSame(Buffer.from(readPassword(buffer, start, end)), this.#expected);
    if (!isRight || md5Of(secret, user) === null) return refused(user);
    return accepted(null, user, proofOf(secret));
  }
}

export class PasswordAuthentication implements Authentication {
  readonly #claimant: Claimant;
  readonly #mockSalt: Uint8Array;

  /** `mockSalt`: 32 bytes that nobody knows. */
  constructor(claimant: Claimant, mockSalt: Uint8Array) {
    this.#claimant = claimant;
    this.#mockSalt = mockSalt;
  }

  begin(): AuthenticationStep {
    return { kind: "ask", message: authenticationCleartext() };
  }

  answer(buffer: Buffer, start: number, end: number): AuthenticationStep {
    const { user, secret } = this.#claimant;
    const password = readPassword(buffer, start, end);
    if (!isPassword(secret, user, password, this.#mockSalt) || password === "") return refused(user);
    return accepted(null, user, { kind: "password", password });
  }
}

const proofOf = (secret: Secret | null): Proof =>
  secret?.kind === "clear" ? { kind: "password", password: secret.password } : { kind: "none" };

const accepted = (message: Buffer | null, user: string, proof: Proof): AuthenticationStep => ({
  kind: "accepted",
  message,
  credentials: new Credentials(user, proof),
});

function refused(user: string): AuthenticationStep {
  const message = `password authentication failed for user "${user}"`;
  return { kind: "refused", fault: new Fault("login.wrong_password", { message }) };
}
