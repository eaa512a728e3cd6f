/** The certificates shown to clients: read again when they change, kept when the new ones cannot be used. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { connect } from "node:tls";
import type { ClientTlsConfig } from "../../src/config/config.ts";
import type { Log, LogEvent } from "../../src/observe/log.ts";
import { takeHandle } from "../../src/pool/accepting.ts";
import { ByteStream } from "../../src/pool/byteStream.ts";
import { AcceptedLink } from "../../src/proxy/acceptedLink.ts";
import { ClientTls, type SecuredClient } from "../../src/proxy/clientTls.ts";
import { PeerUsers } from "../../src/proxy/peerUsers.ts";
import { endPointHash } from "../../src/wire/certificateHash.ts";
import { Authority, type Identity, writeIdentity } from "../support/certificates.ts";

const home = mkdtempSync(join(tmpdir(), "pgxa-client-tls-"));
const authority = new Authority("authority");
const NOBODY = { onChunk() {}, onDrain() {}, onClosed() {} };

let nowMs = 0;
let server: Server;
let tls: ClientTls;
let secured: SecuredClient[] = [];
let events: LogEvent[] = [];

const clock = {
  wallMs: () => nowMs,
  monotonicMs: () => nowMs,
  after: () => ({ cancel() {} }),
};
const note = (event: LogEvent): void => void events.push(event);
const log: Log = { debug: note, info: note, warn: note, error: note, setLevel() {} };

const config = (more: Partial<ClientTlsConfig> = {}): ClientTlsConfig => ({
  mode: "prefer",
  keyFile: join(home, "pgxa.key"),
  certFile: join(home, "pgxa.crt"),
  caFile: undefined,
  minVersion: "TLSv1.2",
  ciphers: undefined,
  ...more,
});

function install(): Identity {
  const identity = authority.issue({ commonName: "pgxa", hosts: ["localhost"] });
  writeIdentity(home, "pgxa", identity);
  return identity;
}

before(async () => {
  server = createServer({ pauseOnConnect: true }, (socket) => {
    const stream = ByteStream.accept(takeHandle(socket)!, NOBODY, 1_024);
    tls.secure(stream, null, (client) => void secured.push(client));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
});

afterEach(() => {
  secured = [];
  events = [];
});

after(async () => {
  await once(server.close(), "close");
  rmSync(home, { recursive: true });
});

/** The certificate that a client is shown now. */
async function shown(more: { cert?: string; key?: string } = {}): Promise<Buffer> {
  const { port } = server.address() as AddressInfo;
  const socket = connect({
    port,
    host: "127.0.0.1",
    servername: "db.example",
    rejectUnauthorized: false,
    ...more,
  });
  await once(socket, "secureConnect");
  while (secured.length === 0) await new Promise((resolve) => setImmediate(resolve));
  const { raw } = socket.getPeerX509Certificate()!;
  socket.destroy();
  return raw;
}
const rawOf = (identity: Identity): Buffer => new X509Certificate(identity.certificate).raw;

describe("a changed certificate", () => {
  it("is shown to the next client, once its time to be looked at has come", async () => {
    const first = install();
    tls = new ClientTls(config(), clock, log);
    assert.deepEqual(await shown(), rawOf(first));
    const second = install();
    assert.deepEqual(await shown(), rawOf(first));
    nowMs += 2_000;
    assert.deepEqual(await shown(), rawOf(second));
    assert.deepEqual(events, ["tls.loaded"]);
  });

  it("is shown at once after a reload", async () => {
    install();
    tls = new ClientTls(config(), clock, log);
    const second = install();
    assert.equal(tls.reload(), true);
    assert.deepEqual(await shown(), rawOf(second));
  });

  it("that cannot be used is told of once and changes nothing, until it can", async () => {
    const first = install();
    tls = new ClientTls(config(), clock, log);
    const second = authority.issue({ commonName: "pgxa" });
    writeFileSync(join(home, "pgxa.crt"), second.certificate); // the key is still the first one's
    for (let i = 0; i < 3; i++) {
      nowMs += 2_000;
      assert.deepEqual(await shown(), rawOf(first));
    }
    assert.deepEqual(events, ["tls.reload_failed"]);
    assert.equal(tls.reload(), false);
    writeFileSync(join(home, "pgxa.key"), second.key);
    nowMs += 2_000;
    assert.deepEqual(await shown(), rawOf(second));
  });

  it("comes with the options that name it", async () => {
    install();
    tls = new ClientTls(config({ mode: "disable", certFile: undefined, keyFile: undefined }), clock, log);
    const link = new AcceptedLink("tcp", { remoteAddress: "127.0.0.1" } as ByteStream, new PeerUsers([]));
    assert.equal(tls.isOfferedTo(link), false);
    assert.equal(tls.reconfigure(config({ keyFile: join(home, "none") })), false);
    assert.equal(tls.isOfferedTo(link), false);
    assert.equal(tls.reconfigure(config()), true);
    assert.equal(tls.isOfferedTo(link), true);
  });
});

describe("what is known of a client with TLS", () => {
  it("is the certificate it was shown, the name it asked for, and its own certificate if that is trusted", async () => {
    const own = install();
    const people = new Authority("people");
    writeFileSync(join(home, "people.crt"), people.certificate);
    tls = new ClientTls(config({ caFile: join(home, "people.crt") }), clock, log);
    const ada = people.issue({ commonName: "ada", organization: "Analytical, Engines" });
    await shown({ cert: ada.certificate, key: ada.key });
    assert.deepEqual(secured.splice(0)[0], {
      facts: {
        endPointHash: endPointHash(rawOf(own)),
        certificate: { commonName: "ada", distinguishedName: "CN=ada,O=Analytical\\, Engines" },
        serverName: "db.example",
      },
      hasNamedProtocol: false,
    });
    const stranger = new Authority("people").issue({ commonName: "ada" });
    await shown({ cert: stranger.certificate, key: stranger.key });
    assert.equal(secured.splice(0)[0]?.facts.certificate, null);
    await shown();
    assert.equal(secured[0]?.facts.certificate, null);
  });

  it("has no common name where there are two", async () => {
    install();
    const people = new Authority("people");
    writeFileSync(join(home, "people.crt"), people.certificate);
    tls = new ClientTls(config({ caFile: join(home, "people.crt") }), clock, log);
    const ada = people.issue({ commonName: "ada", alias: "root" });
    await shown({ cert: ada.certificate, key: ada.key });
    assert.equal(secured[0]?.facts.certificate?.commonName, "");
  });
});
