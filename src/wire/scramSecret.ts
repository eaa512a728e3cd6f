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

const FORM = /^SCRAM-SHA-256\$(\d{1,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]{44}):([A-Za-z0-9+/=]{44})$/;
const KEY_BYTES = 32;

/** The secret in `text`; null if it is none. */
export function parseScramSecret(text: string): ScramSecret | null {
  const match = FORM.exec(text);
  if (match === null) return null;
  const iterations = Number(match[1]);
  const [salt, storedKey, serverKey] = [match[2]!, match[3]!, match[4]!].map((part) => Buffer.from(part, "base64"));
  if (iterations < 1 || storedKey!.length !== KEY_BYTES || serverKey!.length !== KEY_BYTES) return null;
  return { iterations, salt: salt!, storedKey: storedKey!, serverKey: serverKey! };
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
