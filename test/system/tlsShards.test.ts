/** TLS between pgxa and its shards, against a real server: modes, host names, client certificates, channel binding. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  appendFileSync,
  chownSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect as connectTls, TLSSocket } from "node:tls";
import pg from "pg";
import { startProxy } from "../../src/cli/compose.ts";
import { checkShard } from "../../src/cli/shardChecks.ts";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import type { Config, ShardConfig, ShardTlsConfig } from "../../src/config/config.ts";
import { silentLog } from "../../src/observe/log.ts";
import { openServer } from "../../src/pool/serverOpening.ts";
import { ShardControl } from "../../src/txn/shardControl.ts";
import { clientKeyOf, saltedPassword, serverKeyOf } from "../../src/wire/scramKeys.ts";
import { buildScramSecret, formatScramSecret } from "../../src/wire/scramSecret.ts";
import { Authority, type Signature, writeIdentity } from "../support/certificates.ts";
import type { TestShard } from "../support/shards.ts";
import { Stage } from "./stage.ts";

const LIMIT = { timeout: 120_000 };
const home = mkdtempSync(join(tmpdir(), "pgxa-tls-shards-"));
const authority = new Authority("shards");
const clients = new Authority("clients");

/** Whom the server lets in how; the rest is trust. */
const HBA = `
hostssl   all only_tls     all trust
hostnossl all only_plain   all trust
hostssl   all by_scram     all scram-sha-256
host      all by_password  all password
host      all by_md5       all md5
hostssl   all by_cert      all cert
hostssl   all postgres     all trust
hostnossl all postgres     all trust
`;

let stage: Stage;
let shard: TestShard;
const ca = join(home, "shards.crt");
const salt = randomBytes(16);

before(async () => {
  stage = await Stage.open({ shards: 1, isOpen: false });
  shard = stage.shards[0]!;
  writeFileSync(ca, authority.certificate);
  writeFileSync(join(home, "clients.crt"), clients.certificate);
  writeIdentity(home, "by_cert", clients.issue({ commonName: "by_cert" }));
  const client = await shard.connect();
  const secret = formatScramSecret(buildScramSecret("pencil", salt, 4_096));
  for (const role of ["only_tls", "only_plain", "by_scram", "by_password", "by_cert"]) {
    await client.query(`CREATE ROLE ${role} LOGIN PASSWORD '${secret}'`);
  }
  await client.query("SET password_encryption = 'md5'; CREATE ROLE by_md5 LOGIN PASSWORD 'pencil'");
  await client.query("GRANT ALL ON ALL TABLES IN SCHEMA public TO public");
  await client.end();
  await arm(authority);
}, LIMIT);

after(async () => {
  await stage.stop();
  rmSync(home, { recursive: true });
});

/** Gives the server a certificate that `signer` has signed, for localhost and 127.0.0.1. */
async function arm(signer: Authority): Promise<void> {
  const directory = shard.dataDirectory;
  const { uid, gid } = statSync(directory);
  const own = signer.issue({ commonName: "shard", hosts: ["localhost", "127.0.0.1"] });
  const { certFile, keyFile } = writeIdentity(directory, "server", own);
  for (const file of [certFile, keyFile]) chownSync(file, uid, gid);
  writeFileSync(join(directory, "root.crt"), clients.certificate);
  writeFileSync(join(directory, "pg_hba.conf"), HBA);
  const settings = "ssl = on\nssl_ca_file = 'root.crt'\n";
  const file = join(directory, "postgresql.auto.conf");
  if (!readFileSync(file, "utf8").includes("ssl = on")) appendFileSync(file, settings);
  await shard.restart();
}

/** The shard as `user` reaches it. */
function target(tls: Partial<ShardTlsConfig>, more: Partial<ShardConfig> = {}): ShardConfig {
  const { id, port, database } = stage.config.shards[0]!;
  const standard = { mode: "prefer", caFile: undefined, certFile: undefined, keyFile: undefined } as const;
  return {
    id,
    host: "localhost",
    port,
    database,
    user: "postgres",
    password: undefined,
    tls: { ...standard, negotiation: "postgres", ...tls },
    ...more,
  };
}

/** Logs in as pgxa's pools do; whether it is encrypted, or the Fault's detail. */
async function logIn(config: ShardConfig): Promise<boolean | string> {
  try {
    const opened = await openServer({
      shard: config,
      environment: systemEnvironment,
      connectTimeoutMs: 10_000,
    });
    opened.stream.destroy();
    return opened.isEncrypted;
  } catch (error) {
    return (error as { detail?: string }).detail ?? String(error);
  }
}

/** What the server knows of the session through pgxa with these options. */
async function throughPgxa<T>(config: ShardConfig, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const whole: Config = { ...stage.config, shards: [config] };
  const proxy = await startProxy(whole, { log: silentLog });
  const client = new pg.Client({ host: "127.0.0.1", port: proxy.port, user: "postgres", database: "bank" });
  client.on("error", () => {});
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end();
    await proxy.stop();
  }
}

const ENCRYPTED = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

describe("shards[].tls", LIMIT, () => {
  test("encrypts as libpq's sslmode does", async () => {
    const modes = ["disable", "allow", "prefer", "require"] as const;
    const outcomes = await Promise.all(modes.map((mode) => logIn(target({ mode }))));
    assert.deepEqual(outcomes, [false, false, true, true]);
    assert.equal(await logIn(target({ mode: "verify-ca", caFile: ca })), true);
    assert.equal(await logIn(target({ mode: "verify-full", caFile: ca })), true);
    assert.equal(await logIn(target({ mode: "verify-full", caFile: ca }, { host: "127.0.0.1" })), true);
  });

  test("tries the other way where pg_hba.conf has no place for this one, if the mode allows it", async () => {
    const table = [
      ["only_tls", "allow", true],
      ["only_tls", "prefer", true],
      ["only_plain", "allow", false],
      ["only_plain", "prefer", false],
    ] as const;
    for (const [user, mode, isEncrypted] of table) {
      assert.equal(await logIn(target({ mode }, { user })), isEncrypted, `${user} ${mode}`);
    }
    assert.match(String(await logIn(target({ mode: "disable" }, { user: "only_tls" }))), /28000/);
    assert.match(String(await logIn(target({ mode: "require" }, { user: "only_plain" }))), /28000/);
  });

  test("does not connect to a host whose certificate names another, or nobody trusted", async () => {
    const strangers = join(home, "strangers.crt");
    writeFileSync(strangers, new Authority("shards").certificate);
    for (const mode of ["require", "verify-ca", "verify-full"] as const) {
      assert.match(
        String(await logIn(target({ mode, caFile: strangers }))),
        /TLS: .*(signature|certificate)/,
        mode,
      );
    }
    // 127.0.0.2 is the same server, and not in the certificate.
    const elsewhere = { host: "127.0.0.2" };
    const server = await redirect(elsewhere.host);
    const at = { ...elsewhere, port: server.port };
    assert.match(String(await logIn(target({ mode: "verify-full", caFile: ca }, at))), /TLS: .*127\.0\.0\.2/);
    assert.equal(await logIn(target({ mode: "verify-ca", caFile: ca }, at)), true);
    await server.stop();
  });

  test("verifies with the operating system's authorities, which do not know this one", async () => {
    assert.match(
      String(await logIn(target({ mode: "verify-full", caFile: "system" }))),
      /TLS: .*certificate/,
    );
  });

  test("begins TLS directly where tls_negotiation says so", async () => {
    const tls = { mode: "verify-full", caFile: ca, negotiation: "direct" } as const;
    assert.equal(await logIn(target(tls)), true);
  });

  test("shows a certificate to a shard that asks for one", async () => {
    const files = { certFile: join(home, "by_cert.crt"), keyFile: join(home, "by_cert.key") };
    assert.equal(await logIn(target({ mode: "require", ...files }, { user: "by_cert" })), true);
    assert.match(String(await logIn(target({ mode: "require" }, { user: "by_cert" }))), /certificate/);
    const missing = { certFile: join(home, "none.crt"), keyFile: join(home, "none.key") };
    assert.match(String(await logIn(target({ mode: "require", ...missing }))), /TLS: ENOENT/);
  });
});

/** A port on another address of this machine that leads to the shard. */
async function redirect(host: string): Promise<{ port: number; stop(): Promise<void> }> {
  const server = createServer((socket) => {
    const onward = connect(shard.port, "127.0.0.1");
    socket.on("error", () => onward.destroy());
    onward.on("error", () => socket.destroy());
    socket.pipe(onward).pipe(socket);
  });
  await once(server.listen(0, host), "listening");
  const { port } = server.address() as { port: number };
  return { port, stop: async () => void (await once(server.close(), "close")) };
}

describe("every session of pgxa", LIMIT, () => {
  const tls = { mode: "verify-full" as const };

  test("comes with TLS: pools, notifications, cancel requests", async () => {
    const config = target({ ...tls, caFile: ca });
    await throughPgxa(config, async (client) => {
      const { rows } = await client.query(ENCRYPTED);
      assert.deepEqual(rows, [{ ssl: true, version: "TLSv1.3" }]);
      await client.query("LISTEN news");
      const plain =
        "SELECT count(*)::int AS n FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE NOT ssl AND application_name LIKE 'pgxa%'";
      assert.equal((await client.query(plain)).rows[0].n, 0);
      const sleeping = assert.rejects(client.query("SELECT pg_sleep(30)"), { code: "57014" });
      let isOver = false;
      const over = sleeping.then(() => void (isOver = true));
      const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
      while (!isOver) {
        const socket = connect(client.port, "127.0.0.1");
        const request = Buffer.alloc(16);
        for (const [i, word] of [16, 80877102, processID, secretKey].entries())
          request.writeInt32BE(word, 4 * i);
        socket.end(request);
        await Promise.race([once(socket.resume(), "close"), over]);
      }
    });
  });

  test("comes with TLS: the resolver's and the checks'", async () => {
    const config = target({ ...tls, caFile: ca });
    const control = new ShardControl(config);
    await control.prepared("pgxa").catch(() => {});
    const client = await shard.connect();
    const { rows } = await client.query(
      "SELECT ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name = 'pgxa control'",
    );
    assert.deepEqual(rows, [{ ssl: true }]);
    await client.end();
    await control.close();
    const report = await checkShard(config, stage.config);
    assert.equal(report.findings[0]?.verdict, "ok", String(report.findings[0]?.says));
    const wrong = await checkShard(
      { ...config, tls: { ...config.tls!, caFile: join(home, "clients.crt") } },
      stage.config,
    );
    assert.equal(wrong.findings[0]?.verdict, "fail");
    assert.match(wrong.findings[0]?.says ?? "", /TLS: /);
  });

  test("large results and large statements pass whole", async () => {
    await throughPgxa(target({ ...tls, caFile: ca }), async (client) => {
      const given = "x".repeat(3_000_000);
      const sql = "SELECT $1::text AS given FROM generate_series(1, 10)";
      const { rows } = await client.query(sql, [given]);
      assert.ok(rows.length === 10 && rows.every((row) => row.given === given));
    });
  });
});

describe("SCRAM towards a shard", LIMIT, () => {
  const password = "pencil";
  const keys = () => {
    const salted = saltedPassword(password, salt, 4_096);
    return { clientKey: clientKeyOf(salted), serverKey: serverKeyOf(salted) };
  };

  test("is bound to the shard's certificate, whatever that is signed with", async () => {
    const signatures: Signature[] = [
      "rsa-sha512",
      "rsa-pss-sha384",
      "ed25519",
      "ecdsa-sha384",
      "ecdsa-sha256",
    ];
    for (const signature of signatures) {
      const signer = signature === "ecdsa-sha256" ? authority : new Authority("other", signature);
      await arm(signer);
      const config = target({ mode: "require" }, { user: "by_scram", password });
      assert.equal(await logIn(config), true, signature);
      const report = await checkShard(config, stage.config);
      assert.equal(report.findings[0]?.verdict, "ok", `${signature}: ${report.findings[0]?.says}`);
    }
  });

  test("ends where somebody in between has ended TLS with a certificate of their own", async () => {
    const { server, port } = await interceptor();
    const config = target({ mode: "require" }, { user: "by_scram", password, host: "127.0.0.1", port });
    assert.match(String(await logIn(config)), /channel binding check failed/);
    const report = await checkShard(config, stage.config);
    assert.match(report.findings[0]?.says ?? "", /channel binding check failed/);
    const trusting = target({ mode: "require" }, { user: "postgres", host: "127.0.0.1", port });
    assert.equal(await logIn(trusting), true, "which works but for the binding");
    await once(server.close(), "close");
  });

  test("works with the keys in the password's place", async () => {
    const bound = target({ mode: "require" }, { user: "by_scram", scramKeys: keys() });
    assert.equal(await logIn(bound), true);
    const wrong = { ...keys(), clientKey: randomBytes(32) };
    assert.match(String(await logIn({ ...bound, scramKeys: wrong })), /28P01/);
    const impostor = { ...keys(), serverKey: randomBytes(32) };
    assert.match(String(await logIn({ ...bound, scramKeys: impostor })), /signature is not right/);
  });

  test("gives no password to a shard that wants one and pgxa has keys only", async () => {
    for (const user of ["by_password", "by_md5"]) {
      const config = target({ mode: "require" }, { user, scramKeys: keys() });
      assert.match(String(await logIn(config)), /asks for the password itself, and pgxa has the keys/, user);
    }
  });
});

/** Ends TLS with its own certificate and speaks TLS with the shard, passing everything on. */
async function interceptor() {
  const { certificate, key } = authority.issue({ commonName: "interceptor", hosts: ["127.0.0.1"] });
  const server = createServer((socket) => {
    const onward = connect(shard.port, "127.0.0.1");
    for (const end of [socket, onward]) end.on("error", () => {});
    socket.once("data", (request: Buffer) => {
      onward.write(request);
      onward.once("data", (answer: Buffer) => {
        socket.write(answer);
        const near = new TLSSocket(socket, { isServer: true, cert: certificate, key });
        const far = connectTls({ socket: onward, rejectUnauthorized: false });
        for (const end of [near, far]) end.on("error", () => {});
        far.once("close", () => near.destroySoon());
        near.pipe(far).pipe(near);
      });
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return { server, port: (server.address() as { port: number }).port };
}
