/** TLS between clients and pgxa: modes, certificates, direct TLS, what somebody in between could try. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectPlain } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls";
import pg from "pg";
import { type RunningProxy, startProxy } from "../../src/cli/compose.ts";
import type { ClientTlsConfig, TlsMode } from "../../src/config/config.ts";
import { silentLog } from "../../src/observe/log.ts";
import { Authority, type Identity, writeIdentity } from "../support/certificates.ts";
import { PSQL_MISSING, psql } from "../support/psql.ts";
import { SSL_REQUEST, startup } from "./rawClient.ts";
import { Stage } from "./stage.ts";

const LIMIT = { timeout: 60_000 };
const home = mkdtempSync(join(tmpdir(), "pgxa-tls-"));
const servers = new Authority("servers");
const clients = new Authority("clients");
const strangers = new Authority("clients"); // the same name, another key

let stage: Stage;
let postgres: Identity;
let files: Pick<ClientTlsConfig, "certFile" | "keyFile" | "caFile">;
const open: RunningProxy[] = [];

const file = (name: string, content: string): string => {
  writeFileSync(join(home, name), content);
  return join(home, name);
};

before(async () => {
  stage = await Stage.open({ shards: 1, isOpen: false });
  const own = servers.issue({ commonName: "pgxa", hosts: ["localhost", "127.0.0.1"] });
  postgres = clients.issue({ commonName: "postgres" });
  writeIdentity(home, "postgres", postgres);
  writeIdentity(home, "stranger", strangers.issue({ commonName: "postgres" }));
  writeIdentity(home, "ada", clients.issue({ commonName: "ada" }));
  file("servers.crt", servers.certificate);
  files = { ...writeIdentity(home, "pgxa", own), caFile: file("clients.crt", clients.certificate) };
}, LIMIT);

after(async () => {
  await Promise.all(open.map((proxy) => proxy.stop()));
  await stage.stop();
  rmSync(home, { recursive: true });
});

/** A pgxa with these options; it is stopped at the end. */
async function pgxa(mode: TlsMode, more: Partial<ClientTlsConfig> = {}): Promise<number> {
  const { config } = stage;
  const clientTls = { ...config.clientTls, ...files, mode, ...more };
  const proxy = await startProxy({ ...config, clientTls }, { log: silentLog });
  open.push(proxy);
  return proxy.port;
}

const target = (port: number, more: Readonly<Record<string, string>> = {}) => ({
  host: "localhost",
  hostaddr: "127.0.0.1",
  port,
  user: "postgres",
  dbname: "bank",
  ...more,
});
const shown = (name: string) => ({ sslcert: join(home, `${name}.crt`), sslkey: join(home, `${name}.key`) });

async function asPg(port: number, ssl: pg.ClientConfig["ssl"], user = "postgres"): Promise<string> {
  const client = new pg.Client({ host: "127.0.0.1", port, user, database: "bank", ssl: ssl ?? false });
  client.on("error", () => {});
  try {
    await client.connect();
    return String((await client.query("SELECT count(*) FROM accounts")).rows[0].count);
  } catch (error) {
    return (error as { code?: string }).code ?? (error as Error).message;
  } finally {
    await client.end().catch(() => {});
  }
}

/** TLS from the first byte. */
async function direct(port: number, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connectTls({ host: "127.0.0.1", port, ca: servers.certificate, ...options });
  await once(socket, "secureConnect");
  return socket;
}

async function allOf(socket: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("close", resolve));
  return Buffer.concat(chunks);
}

const sslRequest = Buffer.from([0, 0, 0, 8, 0, 0, 0, 0]);
sslRequest.writeUInt32BE(SSL_REQUEST, 4);

describe("client_tls.mode", LIMIT, () => {
  const trusting = { ca: "", servername: "localhost" };
  before(() => void (trusting.ca = servers.certificate));
  const withCertificate = () => ({ ...trusting, cert: postgres.certificate, key: postgres.key });
  const NO_TLS = "The server does not support SSL connections";

  const table: readonly (readonly [TlsMode, plain: string, tls: string, certified: string])[] = [
    ["disable", "100", NO_TLS, NO_TLS],
    ["allow", "100", "100", "100"],
    ["prefer", "100", "100", "100"],
    ["require", "28000", "100", "100"],
    ["verify-ca", "28000", "28000", "100"],
    ["verify-full", "28000", "28000", "100"],
  ];
  for (const [mode, plain, tls, certified] of table) {
    test(`${mode} lets in who it should`, async () => {
      const port = await pgxa(mode);
      assert.equal(await asPg(port, false), plain, "without TLS");
      assert.equal(await asPg(port, trusting), tls, "with TLS");
      assert.equal(await asPg(port, withCertificate()), certified, "with a certificate");
    });
  }

  test("verify-full wants the certificate to be the user's, verify-ca takes any", async () => {
    assert.equal(await asPg(await pgxa("verify-full"), withCertificate(), "ada"), "28000");
    const own = clients.issue({ commonName: "ada" });
    const ssl = { ...trusting, cert: own.certificate, key: own.key };
    assert.equal(await asPg(await pgxa("verify-ca"), ssl), "100");
  });

  test("a certificate that an unknown authority signed counts as none", async () => {
    const foreign = strangers.issue({ commonName: "postgres" });
    const ssl = { ...trusting, cert: foreign.certificate, key: foreign.key };
    assert.equal(await asPg(await pgxa("verify-full"), ssl), "28000");
    assert.equal(await asPg(await pgxa("require"), ssl), "100");
  });

  test("require lets no version of TLS in that is older than client_tls.min_version", async () => {
    const port = await pgxa("require", { minVersion: "TLSv1.3" });
    assert.equal(await asPg(port, { ...trusting, maxVersion: "TLSv1.3" }), "100");
    assert.notEqual(await asPg(port, { ...trusting, maxVersion: "TLSv1.2" }), "100");
  });
});

describe("psql", { ...LIMIT, skip: PSQL_MISSING }, () => {
  test("comes in with each sslmode, and sees that it is encrypted", async () => {
    const port = await pgxa("prefer");
    for (const sslmode of ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]) {
      const root = { sslrootcert: join(home, "servers.crt") };
      const { out, err } = await psql(target(port, { sslmode, ...root }), "\\conninfo");
      assert.equal(/TLSv1.3/.test(out), !["disable", "allow"].includes(sslmode), `${sslmode}: ${out}${err}`);
    }
  });

  test("does not come in where the certificate is for another host, or of another authority", async () => {
    const port = await pgxa("require");
    const root = { sslrootcert: join(home, "servers.crt") };
    const elsewhere = { ...target(port, { sslmode: "verify-full", ...root }), host: "elsewhere" };
    assert.match((await psql(elsewhere, "SELECT 1")).err, /does not match host name/);
    const wrong = { sslrootcert: join(home, "clients.crt") };
    assert.match(
      (await psql(target(port, { sslmode: "verify-ca", ...wrong }), "SELECT 1")).err,
      /verify failed/,
    );
  });

  test("is told in PostgreSQL's words what is missing", async () => {
    const port = await pgxa("verify-full");
    const refused = async (more: Record<string, string>) => (await psql(target(port, more), "SELECT 1")).err;
    assert.match(await refused({ sslmode: "disable" }), /FATAL: {2}pgxa accepts connections with TLS only/);
    assert.match(
      await refused({ sslmode: "require" }),
      /FATAL: {2}connection requires a valid client certificate/,
    );
    const foreign = { sslmode: "require", ...shown("ada") };
    assert.match(await refused(foreign), /FATAL: {2}certificate authentication failed for user "postgres"/);
  });
});

describe("large results and large statements", LIMIT, () => {
  test("pass through TLS whole, to a reader that is slow", async () => {
    const ssl = { ca: servers.certificate, servername: "localhost" };
    const port = await pgxa("require");
    const client = new pg.Client({ host: "127.0.0.1", port, user: "postgres", database: "bank", ssl });
    await client.connect();
    const given = "x".repeat(3_000_000);
    const { rows } = await client.query(
      "SELECT $1::text AS given, repeat('y', 1000) AS filler FROM generate_series(1, 20)",
      [given],
    );
    assert.equal(rows.length, 20);
    assert.ok(rows.every((row) => row.given === given && row.filler.length === 1000));
    const stream = (client as unknown as { connection: { stream: TLSSocket } }).connection.stream;
    const many = client.query("SELECT repeat('z', 1000) AS z FROM generate_series(1, 30000)");
    stream.once("data", () => stream.pause());
    // The shard itself waits for its reader: pgxa holds no more than it should.
    const writing = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event = 'ClientWrite'";
    while ((await stage.onShards<{ n: number }>(writing))[0]![0]!.n === 0);
    stream.resume();
    assert.equal((await many).rows.length, 30_000);
    await client.end();
  });
});

describe("a cancel request", LIMIT, () => {
  test("over TLS ends the statement", async () => {
    const ssl = { ca: servers.certificate, servername: "localhost" };
    const port = await pgxa("require");
    const client = new pg.Client({ host: "127.0.0.1", port, user: "postgres", database: "bank", ssl });
    await client.connect();
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const sleeping = assert.rejects(client.query("SELECT pg_sleep(30)"), { code: "57014" });
    const request = Buffer.alloc(16);
    for (const [i, word] of [16, 80877102, processID, secretKey].entries()) request.writeInt32BE(word, 4 * i);
    const running = "SELECT FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(30)'";
    while ((await stage.onShards(running))[0]!.length === 0);
    const canceler = await direct(port, { servername: "localhost", ALPNProtocols: ["postgresql"] });
    canceler.write(request);
    await allOf(canceler);
    await sleeping;
    assert.equal((await client.query("SELECT 1 AS one")).rows[0].one, 1);
    await client.end();
  });
});

describe("direct TLS", LIMIT, () => {
  test("works for who names the protocol", async () => {
    const port = await pgxa("prefer");
    const socket = await direct(port, { servername: "localhost", ALPNProtocols: ["postgresql"] });
    assert.equal(socket.alpnProtocol, "postgresql");
    socket.write(startup({ user: "postgres", database: "bank" }));
    const [chunk] = (await once(socket, "data")) as [Buffer];
    assert.equal(String.fromCharCode(chunk[0]!), "R");
    socket.destroy();
  });

  test("ends for who does not", async () => {
    const port = await pgxa("prefer");
    const socket = await direct(port, { servername: "localhost" });
    socket.write(startup({ user: "postgres", database: "bank" }));
    assert.match((await allOf(socket)).toString(), /FATAL[\s\S]*08P01[\s\S]*without ALPN/);
  });

  test("fails for who names another protocol", async () => {
    const port = await pgxa("prefer");
    await assert.rejects(direct(port, { servername: "localhost", ALPNProtocols: ["http/1.1"] }));
  });

  test("is not there where TLS is not", async () => {
    const port = await pgxa("disable");
    await assert.rejects(direct(port, { servername: "localhost", ALPNProtocols: ["postgresql"] }));
  });
});

describe("somebody in between", LIMIT, () => {
  test("cannot put plain bytes in front of TLS (CVE-2021-23214)", async () => {
    const port = await pgxa("prefer");
    const socket = connectPlain(port, "127.0.0.1");
    socket.write(Buffer.concat([sslRequest, startup({ user: "postgres", database: "bank" })]));
    assert.match((await allOf(socket)).toString(), /received unencrypted data after SSL request/);
  });

  test("cannot do so in a packet of its own either", async () => {
    const port = await pgxa("prefer");
    const socket = connectPlain(port, "127.0.0.1");
    socket.write(sslRequest);
    assert.deepEqual(await once(socket, "data"), [Buffer.from("S")]);
    socket.write(startup({ user: "postgres", database: "bank" }));
    assert.doesNotMatch((await allOf(socket)).toString("latin1"), /^R/);
  });

  test("cannot ask for TLS within TLS", async () => {
    const port = await pgxa("prefer");
    const socket = await direct(port, { servername: "localhost", ALPNProtocols: ["postgresql"] });
    socket.write(sslRequest);
    assert.match((await allOf(socket)).toString(), /unsupported frontend protocol 1234\.5679/);
  });

  test("who says nothing after S is thrown out in time", async () => {
    const { config } = stage;
    const clientTls = { ...config.clientTls, ...files, mode: "prefer" as const };
    const limits = { ...config.limits, startupTimeoutMs: 300 };
    const proxy = await startProxy({ ...config, clientTls, limits }, { log: silentLog });
    open.push(proxy);
    const socket = connectPlain(proxy.port, "127.0.0.1");
    socket.write(sslRequest);
    assert.equal((await allOf(socket)).toString(), "S");
  });
});

describe("files that cannot be used", LIMIT, () => {
  test("are said at the start", async () => {
    const broken = file("broken.crt", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n");
    for (const more of [
      { certFile: broken },
      { keyFile: join(home, "none.key") },
      { keyFile: join(home, "ada.key") },
    ]) {
      await assert.rejects(pgxa("require", more), { id: "tls.unusable" });
    }
  });
});
