/** How a client proves who it is, step by step: nothing to prove, or SCRAM-SHA-256. */
import type { Randomness } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import {
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
} from "../wire/backendWriters.ts";
import { readSaslInitialResponse, readSaslResponse } from "../wire/frontendReaders.ts";
import { SCRAM_MECHANISM } from "../wire/scramKeys.ts";
import type { ScramSecret } from "../wire/scramSecret.ts";
import { ScramServer } from "../wire/scramServer.ts";

export type AuthenticationStep =
  | { readonly kind: "ask"; readonly message: Buffer }
  /** `message` goes in front of AuthenticationOk. */
  | { readonly kind: "accepted"; readonly message: Buffer | null }
  | { readonly kind: "refused"; readonly fault: Fault };

export interface Authentication {
  begin(): AuthenticationStep;
  /** Takes a password message at `buffer[start, end)`. Throws a Fault for one that breaks the exchange. */
  answer(buffer: Buffer, start: number, end: number): AuthenticationStep;
}

export const TRUSTED: Authentication = {
  begin: () => ({ kind: "accepted", message: null }),
  answer() {
    throw new Fault("protocol.violation");
  },
};

export class ScramAuthentication implements Authentication {
  readonly #user: string;
  readonly #scram: ScramServer;
  #hasBegun = false;

  /** `secret`: null for a user who does not exist; `mockKey`: see ScramServer. */
  constructor(user: string, secret: ScramSecret | null, mockKey: Uint8Array, random: Randomness) {
    this.#user = user;
    this.#scram = new ScramServer({ name: user, secret }, mockKey, random);
  }

  begin(): AuthenticationStep {
    return { kind: "ask", message: authenticationSasl([SCRAM_MECHANISM]) };
  }

  answer(buffer: Buffer, start: number, end: number): AuthenticationStep {
    if (!this.#hasBegun) return this.#first(buffer, start, end);
    const final = this.#scram.final(readSaslResponse(buffer, start, end));
    if (final !== null) return { kind: "accepted", message: authenticationSaslFinal(final) };
    const message = `password authentication failed for user "${this.#user}"`;
    return { kind: "refused", fault: new Fault("login.wrong_password", { message }) };
  }

  #first(buffer: Buffer, start: number, end: number): AuthenticationStep {
    const { mechanism, data } = readSaslInitialResponse(buffer, start, end);
    if (mechanism !== SCRAM_MECHANISM || data === null) {
      throw new Fault("protocol.violation", {
        message: "client selected an invalid SASL authentication mechanism",
      });
    }
    this.#hasBegun = true;
    return { kind: "ask", message: authenticationSaslContinue(this.#scram.first(data)) };
  }
}
