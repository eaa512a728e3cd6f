// Pure.
/**
 * A SCRAM secret as `pg_authid.rolpassword` has it: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.
 * Whoever has it can check a password and cannot log in with it.
 */
import { clientKeyOf, hash, saltedPassword, serverKeyOf } from "./scramKeys.ts";

export interface ScramSecret {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

const FORM =
  /^SCRAM-SHA-256\$([1-9]\d{0,8}):([A-Za-z0-9+/]+={0,2})\$([A-Za-z0-9+/]{43}=):([A-Za-z0-9+/]{43}=)$/;

/** The secret in `text`; null if it is none. */
export function parseScramSecret(text: string): ScramSecret | null {
  const match = FORM.exec(text);
  if (match === null) return null;
  const bytes = (part: number): Buffer => Buffer.from(match[part]!, "base64");
  return { iterations: Number(match[1]), salt: bytes(2), storedKey: bytes(3), serverKey: bytes(4) };
}

/** The secret of `password`; `salt` is random, 16 bytes as Postgres has it. */
export function buildScramSecret(password: string, salt: Uint8Array, iterations: number): ScramSecret {
  const salted = saltedPassword(password, salt, iterations);
  return {
    iterations,
    salt: Buffer.from(salt),
    storedKey: hash(clientKeyOf(salted)),
    serverKey: serverKeyOf(salted),
  };
}

export function formatScramSecret({ iterations, salt, storedKey, serverKey }: ScramSecret): string {
  const text = (bytes: Buffer): string => bytes.toString("base64");
  return `SCRAM-SHA-256$${iterations}:${text(salt)}$${text(storedKey)}:${text(serverKey)}`;
}
