// Pure.
/**
 * What pgxa knows of a user's password: a SCRAM secret, an md5 hash, or the password itself; and whether a password is
 * that one. All comparisons take the same time wherever they differ.
 */
import { createHash } from "node:crypto";
import { clientKeyOf, hash, isSame, saltedPassword, serverKeyOf } from "../../wire/scramKeys.ts";
import { buildScramSecret, parseScramSecret, type ScramSecret } from "../../wire/scramSecret.ts";

export type Secret =
  | { readonly kind: "scram"; readonly scram: ScramSecret }
  /** `hash`: 32 hex digits. */
  | { readonly kind: "md5"; readonly hash: string }
  /** `scram`: made of the password when first needed, always with the same salt. */
  | { readonly kind: "clear"; readonly password: string; readonly scram: () => ScramSecret };

const MD5_SECRET = /^md5([0-9a-f]{32})$/;
const SCRAM_PREFIX = "SCRAM-SHA-256$";
export const SALT_BYTES = 16;
const ITERATIONS = 4_096;

/** What stands in `pg_authid.rolpassword`, a users file or the configuration; null for what lets nobody in. */
export function readSecret(text: string, salt: () => Uint8Array): Secret | null {
  if (text === "") return null;
  const md5 = MD5_SECRET.exec(text)?.[1];
  if (md5 !== undefined) return { kind: "md5", hash: md5 };
  const scram = parseScramSecret(text);
  if (scram !== null) return { kind: "scram", scram };
  return text.startsWith(SCRAM_PREFIX) ? null : clearSecret(text, salt);
}

function clearSecret(password: string, salt: () => Uint8Array): Secret {
  let built: ScramSecret | null = null;
  const scram = (): ScramSecret => (built ??= buildScramSecret(password, salt(), ITERATIONS));
  return { kind: "clear", password, scram };
}

/** The SCRAM secret of `secret`; null for one that SCRAM cannot use. */
export function scramOf(secret: Secret | null): ScramSecret | null {
  if (secret === null || secret.kind === "md5") return null;
  return secret.kind === "scram" ? secret.scram : secret.scram();
}

/** The md5 hash of `secret`, 32 hex digits; null for one that the md5 method cannot use. */
export function md5Of(secret: Secret | null, user: string): string | null {
  if (secret === null || secret.kind === "scram") return null;
  return secret.kind === "md5" ? secret.hash : md5(secret.password, user);
}

/** The answer of a client to an md5 request, if it knows the password whose hash is `hash`. */
export const md5Answer = (hash: string, salt: Uint8Array): string => `md5${md5(hash, salt)}`;

/**
 * Whether `password` is the one of `secret`. It takes one derivation of a SCRAM key whatever the secret is, and even if
 * there is none.
 */
export function isPassword(
  secret: Secret | null,
  user: string,
  password: string,
  mockSalt: Uint8Array,
): boolean {
  const scram = scramOf(secret);
  const salted = saltedPassword(password, scram?.salt ?? mockSalt, scram?.iterations ?? ITERATIONS);
  const isScram = isSame(hash(clientKeyOf(salted)), scram?.storedKey ?? mockSalt);
  const isServer = isSame(serverKeyOf(salted), scram?.serverKey ?? mockSalt);
  const known = Buffer.from(md5Of(secret, user) ?? "");
  const isMd5 = isSame(Buffer.from(md5(password, user)), known);
  return scram === null ? secret !== null && isMd5 : isScram && isServer;
}

function md5(...parts: readonly (string | Uint8Array)[]): string {
  const digest = createHash("md5");
  for (const part of parts) digest.update(part);
  return digest.digest("hex");
}
