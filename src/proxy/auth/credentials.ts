/**
 * With what a client has proved who it is, as far as pgxa can use it to log in to a shard as the same user.
 *
 * Nothing of it is an own property: what prints or serialises the object shows the user's name and no more.
 */
import type { ScramKeys } from "../../wire/scramKeys.ts";

export type Proof =
  /** Nothing that a shard could be shown: trust, a certificate, an md5 answer. */
  | { readonly kind: "none" }
  /** Good where the shard has the same SCRAM secret of this user. */
  | { readonly kind: "scram"; readonly keys: ScramKeys }
  | { readonly kind: "password"; readonly password: string };

export class Credentials {
  readonly user: string;
  readonly #proof: Proof;

  constructor(user: string, proof: Proof) {
    this.user = user;
    this.#proof = proof;
  }

  get proof(): Proof {
    return this.#proof;
  }
}
