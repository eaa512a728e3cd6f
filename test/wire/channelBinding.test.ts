/** pgxa's SCRAM server and libpq, over TLS: each finds out whether somebody stands in between. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { buildScramSecret } from "../../src/wire/scramSecret.ts";
import { Authority, type Signature } from "../support/certificates.ts";
import { PSQL_MISSING, psql } from "../support/psql.ts";
import { startGatekeeper } from "./rawLogin.ts";

const ADA = { name: "ada", secret: buildScramSecret("pencil", Buffer.alloc(16, 5), 4_096) };

/** What psql says of a login with this `channel_binding`, to a gatekeeper with a certificate signed like this. */
async function logIn(binding: string, signature: Signature, offered?: readonly string[]): Promise<string> {
  const { certificate, key } = new Authority("a", signature).issue({ commonName: "gate" });
  const tls = { certificate, key, ...(offered === undefined ? {} : { offered }) };
  const gate = await startGatekeeper(ADA, tls);
  try {
    const target = { host: "127.0.0.1", port: gate.port, user: "ada", dbname: "x", sslmode: "require" };
    const { err } = await psql({ ...target, channel_binding: binding }, "", { PGPASSWORD: "pencil" });
    return err;
  } finally {
    await gate.stop();
  }
}

describe("libpq", { skip: PSQL_MISSING, timeout: 60_000 }, () => {
  for (const signature of ["ecdsa-sha256", "ecdsa-sha384", "rsa-sha512", "rsa-pss-sha384"] as const) {
    it(`binds its login to a certificate signed with ${signature}`, async () => {
      for (const binding of ["require", "prefer", "disable"]) {
        assert.equal(await logIn(binding, signature), "", binding);
      }
    });
  }

  it("logs in without a binding where the certificate has no hash to bind to", async () => {
    assert.equal(await logIn("prefer", "ed25519"), "");
    assert.match(await logIn("require", "ed25519"), /channel binding/);
  });

  it("is refused when somebody took the offer away, and it could have bound", async () => {
    const offered = ["SCRAM-SHA-256"];
    assert.match(await logIn("prefer", "ecdsa-sha256", offered), /SCRAM channel binding negotiation error/);
    assert.equal(await logIn("disable", "ecdsa-sha256", offered), "");
  });
});
