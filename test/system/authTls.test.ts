/** Logins that look at more than a password, by libpq: certificates, channel binding, and who is at a Unix socket. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Authority, writeIdentity } from "../support/certificates.ts";
import { PSQL_MISSING, psql } from "../support/psql.ts";
import { type AuthProxy, openAuth } from "./authStage.ts";
import { Stage } from "./stage.ts";

const LIMIT = { timeout: 60_000 };
const HBA = `
local   all  me       peer map=os
local   all  all      peer
hostssl all  robot    all  cert
hostssl all  service  all  cert map=crt
hostssl all  both     all  scram-sha-256 clientcert=verify-full
hostssl all  bound    all  scram-sha-256
hostnossl all bound   all  reject
`;
const USERS = ["robot", "service", "both", "bound", "me", "other"];

let stage: Stage;
let proxy: AuthProxy;
const home = mkdtempSync(join(tmpdir(), "pgxa-auth-tls-"));

before(async () => {
  stage = await Stage.open({ shards: 1, isOpen: false });
  const [servers, clients] = [new Authority("servers"), new Authority("clients")];
  const files = writeIdentity(home, "pgxa", servers.issue({ commonName: "pgxa", hosts: ["127.0.0.1"] }));
  for (const name of ["robot", "both"]) writeIdentity(home, name, clients.issue({ commonName: name }));
  writeFileSync(join(home, "clients.crt"), clients.certificate);
  writeFileSync(join(home, "hba.conf"), HBA);
  writeFileSync(join(home, "ident.conf"), `os ${userInfo().username} me\ncrt /^(rob)ot$ service`);
  proxy = await openAuth(stage, {
    listen: { host: "127.0.0.1", port: 0, unix_directory: home },
    client_tls: {
      mode: "prefer",
      cert_file: files.certFile,
      key_file: files.keyFile,
      ca_file: join(home, "clients.crt"),
    },
    auth: { method: "hba", hba_file: join(home, "hba.conf"), ident_file: join(home, "ident.conf") },
    users: USERS.map((name) => ({ name, password: "pw" })),
  });
}, LIMIT);
after(async () => {
  await proxy?.stop();
  await stage?.stop();
  rmSync(home, { recursive: true });
});

/** What libpq says: `in`, or the error. */
async function said(user: string, more: Readonly<Record<string, string>>, password = "pw"): Promise<string> {
  const { port } = proxy;
  const where = { host: "127.0.0.1", port, user, dbname: "bank", sslmode: "require", ...more };
  const { out, err } = await psql(where, "SELECT 'in'", { PGPASSWORD: password });
  return out || err;
}
const shown = (name: string) => ({ sslcert: join(home, `${name}.crt`), sslkey: join(home, `${name}.key`) });

describe("psql", { ...LIMIT, skip: PSQL_MISSING }, () => {
  test("comes in by a certificate of the user's name, or one that a map allows", async () => {
    assert.equal(await said("robot", shown("robot")), "in");
    assert.equal(await said("service", shown("robot")), "in");
    assert.match(await said("robot", {}), /requires a valid client certificate/);
    assert.match(await said("robot", shown("both")), /certificate authentication failed for user "robot"/);
    assert.match(await said("service", shown("both")), /certificate authentication failed/);
    assert.match(await said("robot", { sslmode: "disable" }), /no pg_hba.conf entry for .*, no encryption/);
  });

  test("needs both where both are asked for", async () => {
    assert.equal(await said("both", shown("both")), "in");
    assert.match(await said("both", shown("both"), "wrong"), /password authentication failed/);
    assert.match(await said("both", shown("robot")), /certificate authentication failed/);
    assert.match(await said("both", {}), /requires a valid client certificate/);
  });

  test("binds SCRAM to the certificate, with the right password and no other", async () => {
    assert.equal(await said("bound", { channel_binding: "require" }), "in");
    assert.equal(await said("bound", { channel_binding: "disable" }), "in");
    assert.match(
      await said("bound", { channel_binding: "require" }, "wrong"),
      /password authentication failed/,
    );
    assert.match(await said("bound", { sslmode: "disable" }), /pg_hba.conf rejects connection/);
    assert.match(await said("nobody", {}), /no pg_hba.conf entry for .*, SSL encryption/);
  });

  test("on a Unix socket is who the operating system says", async () => {
    const local = { host: home, sslmode: "disable" };
    assert.equal(await said("me", local), "in");
    assert.match(await said("other", local), /Peer authentication failed for user "other"/);
  });
});
