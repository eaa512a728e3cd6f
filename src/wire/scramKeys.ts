// Pure.
/** The keys of SCRAM-SHA-256 (RFC 5802 section 3, RFC 7677). */
import { createHash, createHmac, pbkdf2Sync, timingSafeEqual } from "node:crypto";
import { saslPrep } from "./saslPrep.ts";

const KEY_BYTES = 32;

/** The mechanism without channel binding, and the one with it (RFC 7677). */
export const SCRAM_MECHANISM = "SCRAM-SHA-256";
export const SCRAM_PLUS_MECHANISM = "SCRAM-SHA-256-PLUS";
/** The one kind of channel binding that Postgres has (RFC 5929): the hash of the server's certificate. */
export const SCRAM_BINDING = "tls-server-end-point";

/** What stands in for a password: enough to log in wherever the user's secret is the same, salt and all. */
export interface ScramKeys {
  readonly clientKey: Uint8Array;
  readonly serverKey: Uint8Array;
}

export const hash = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();
export const hmac = (key: Uint8Array, text: string): Buffer =>
  createHmac("sha256", key).update(text).digest();

/** What is derived from a password; about a millisecond of work for 4096 iterations. */
export const saltedPassword = (password: string, salt: Uint8Array, iterations: number): Buffer =>
  pbkdf2Sync(saslPrep(password), salt, iterations, KEY_BYTES, "sha256");

export const clientKeyOf = (salted: Uint8Array): Buffer => hmac(salted, "Client Key");
export const serverKeyOf = (salted: Uint8Array): Buffer => hmac(salted, "Server Key");

/** Of two strings of the same length. */
export function xor(a: Uint8Array, b: Uint8Array): Buffer {
  return Buffer.from(a.map((byte, i) => byte ^ b[i]!));
}

/** Whether two byte strings are equal, in a time that tells nothing of where they differ. */
export const isSame = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && timingSafeEqual(a, b);
