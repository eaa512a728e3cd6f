/**
 * How the clients of a `connect` case prove who they are, told to the proxies and to pgbench alike.
 *
 * Both proxies get the same SCRAM secret, so that neither has to derive keys from a password at each login, and the same
 * certificate.
 */
import { randomBytes } from "node:crypto";
import { chmod, chown, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { buildScramSecret, formatScramSecret } from "../src/wire/scramSecret.ts";
import { Authority, writeIdentity } from "../test/support/certificates.ts";
import type { Login } from "./cases.ts";
import type { Access } from "./pgbench.ts";

export interface ClientIdentity {
  /** Null: nobody proves anything. */
  readonly scramSecret: string | null;
  readonly tls: { readonly certFile: string; readonly keyFile: string } | null;
  readonly access: Access;
}

const PASSWORD = "correct horse";
/** As PostgreSQL makes secrets. */
const ITERATIONS = 4096;
const SALT_BYTES = 16;

/** `ownerId` is who must be able to read the key besides us. */
export async function clientIdentity(
  login: Login,
  directory: string,
  ownerId: number | null,
): Promise<ClientIdentity> {
  const anew = (environment: Access["environment"]): Access => ({ isAnew: true, environment });
  switch (login) {
    case "trust":
      return { scramSecret: null, tls: null, access: anew({ PGSSLMODE: "disable" }) };
    case "scram": {
      const secret = buildScramSecret(PASSWORD, randomBytes(SALT_BYTES), ITERATIONS);
      const access = anew({ PGSSLMODE: "disable", PGPASSWORD: PASSWORD });
      return { scramSecret: formatScramSecret(secret), tls: null, access };
    }
    case "tls":
      return {
        scramSecret: null,
        tls: await certificate(directory, ownerId),
        access: anew({ PGSSLMODE: "require" }),
      };
  }
}

async function certificate(
  directory: string,
  ownerId: number | null,
): Promise<NonNullable<ClientIdentity["tls"]>> {
  const home = join(directory, "tls");
  await mkdir(home, { recursive: true });
  const issued = new Authority("bench").issue({ commonName: "localhost", hosts: ["127.0.0.1"] });
  const files = writeIdentity(home, "server", issued);
  if (ownerId !== null) {
    for (const path of [home, files.certFile, files.keyFile]) await chown(path, ownerId, ownerId);
    await chmod(directory, 0o755);
  }
  return files;
}
