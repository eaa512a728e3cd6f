// Pure.
/**
 * The answer to an md5 password request: `md5` and the hex digest of the digest of password and user, salted.
 * https://www.postgresql.org/docs/current/auth-password.html
 */
import { createHash } from "node:crypto";

const md5 = (...parts: readonly (string | Uint8Array)[]): string => {
  const hash = createHash("md5");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
};

/** `salt`: the four bytes of the request. */
export const md5Password = (user: string, password: string, salt: Uint8Array): string =>
  `md5${md5(md5(password, user), salt)}`;
