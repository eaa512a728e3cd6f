/** Which way of proving oneself is asked of whom: by method, rule, TLS, certificate and the peer's name. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Fault } from "../../../src/base/fault.ts";
import { parseConfig } from "../../../src/config/load.ts";
import { type Log, silentLog } from "../../../src/observe/log.ts";
import type { AuthQuery, UserRow } from "../../../src/proxy/auth/authQuery.ts";
import type { Files } from "../../../src/proxy/auth/ruleFile.ts";
import type { ClientLink, TlsFacts } from "../../../src/proxy/clientLink.ts";
import { Gate } from "../../../src/proxy/gate.ts";
import { readAuthentication } from "../../../src/wire/backendReaders.ts";
import * as send from "../../../src/wire/frontendWriters.ts";
import { md5Password } from "../../../src/wire/md5Password.ts";
import { ScramClient } from "../../../src/wire/scramClient.ts";
import { buildScramSecret, formatScramSecret } from "../../../src/wire/scramSecret.ts";
import { scriptedRandom } from "../../wire/scriptedRandom.ts";

const SCRAM = formatScramSecret(buildScramSecret("pw", Buffer.alloc(16, 1), 4096));
const HASH = Buffer.alloc(32, 9);
const TLS: TlsFacts = { endPointHash: HASH, certificate: null, serverName: null };
const withCertificate = (commonName: string): TlsFacts => ({
  ...TLS,
  certificate: { commonName, distinguishedName: `CN=${commonName}` },
});

const tcp = (remoteAddress: string, tls: TlsFacts | null = null): ClientLink => ({
  kind: "tcp",
  remoteAddress,
  tls,
  peerUser: () => Promise.resolve(null),
});
const unix = (peer: string | null): ClientLink => ({
  kind: "unix",
  remoteAddress: "",
  tls: null,
  peerUser: () => Promise.resolve(peer),
});

const FAR = "203.0.113.9";

interface GateOptions {
  readonly auth?: string;
  readonly rest?: string;
  readonly hba?: string;
  readonly ident?: string;
  readonly row?: UserRow;
  readonly wallMs?: () => number;
  readonly log?: Log;
}

function configText(options: GateOptions): string {
  const paths =
    options.hba === undefined ? "" : `, hba_file: /hba${options.ident ? ", ident_file: /ident" : ""}`;
  return `
database: bank
shards: [{ name: only, host: h, user: pgxa }]
auth: { ${options.auth ?? "method: hba"}${paths} }
${options.rest ?? `users: [{ name: ann, password: "${SCRAM}" }, { name: bob, password: pw }]`}`;
}

function gateWith(options: GateOptions): Gate {
  const textOf = (path: string) => (path === "/hba" ? options.hba : options.ident) ?? null;
  const files: Files = { read: textOf, list: () => null, resolve: (_, path) => path };
  const clock = {
    wallMs: options.wallMs ?? (() => 0),
    monotonicMs: () => 0,
    after: () => ({ cancel() {} }),
  };
  const query = { find: () => Promise.resolve(options.row ?? null), forget() {} } as unknown as AuthQuery;
  return new Gate({
    config: parseConfig(configText(options), "/pgxa.yaml", {}),
    clock,
    random: scriptedRandom("the gate"),
    log: options.log ?? silentLog,
    files,
    query: options.row === undefined ? null : query,
    ownAddresses: () => [],
  });
}

const asking = (user: string, database = "bank") =>
  new Map([
    ["user", user],
    ["database", database],
  ]);

/** What a client with `password` comes to: how it was asked, and `in` or the id of the Fault. */
async function logIn(gate: Gate, user: string, link: ClientLink, password = "pw", database = "bank") {
  const steps: string[] = [];
  try {
    const authentication = await gate.open(asking(user, database), link);
    const bound = link.tls?.endPointHash ?? "none";
    const scram = new ScramClient(password, scriptedRandom("the client"), bound);
    let step = authentication.begin();
    while (step.kind === "ask") {
      const request = readAuthentication(step.message, 0, step.message.length);
      steps.push(request.kind === "sasl" ? request.mechanisms.join("+") : request.kind);
      const answer =
        request.kind === "sasl"
          ? send.saslInitialResponse(request.mechanisms[0]!, scram.first())
          : request.kind === "saslContinue"
            ? send.saslResponse(scram.respond(request.data))
            : request.kind === "md5"
              ? send.password(md5Password(user, password, request.salt))
              : send.password(password);
      step = authentication.answer(answer, 0, answer.length);
    }
    if (step.kind === "refused") return { steps, end: step.fault.id, credentials: null };
    return { steps, end: "in", credentials: step.credentials };
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return { steps, end: error.id as string, credentials: null };
  }
}

const endOf = async (...login: Parameters<typeof logIn>): Promise<string> => (await logIn(...login)).end;

describe("SCRAM", () => {
  it("is offered bound to the certificate wherever there is TLS, that first", async () => {
    const gate = gateWith({ auth: "method: scram-sha-256" });
    for (const user of ["ann", "bob"]) {
      const { steps, end } = await logIn(gate, user, tcp(FAR, TLS));
      assert.deepEqual([steps[0], end], ["SCRAM-SHA-256-PLUS+SCRAM-SHA-256", "in"]);
    }
    assert.equal((await logIn(gate, "nobody", tcp(FAR, TLS))).steps[0], "SCRAM-SHA-256-PLUS+SCRAM-SHA-256");
    assert.equal((await logIn(gate, "ann", tcp(FAR))).steps[0], "SCRAM-SHA-256");
  });

  it("leaves what a shard can be shown: keys, or the password where that is known", async () => {
    const gate = gateWith({ auth: "method: scram-sha-256" });
    const ann = (await logIn(gate, "ann", tcp(FAR))).credentials;
    assert.equal(ann?.proof.kind, "scram");
    const secret = buildScramSecret("pw", Buffer.alloc(16, 1), 4096);
    assert.ok(ann.proof.kind === "scram" && secret.serverKey.equals(ann.proof.keys.serverKey));
    const bob = (await logIn(gate, "bob", tcp(FAR))).credentials;
    assert.deepEqual([bob?.user, bob?.proof], ["bob", { kind: "password", password: "pw" }]);
  });
});

describe("md5", () => {
  it("is asked of who has a password or an md5 secret, and SCRAM of who has that", async () => {
    const gate = gateWith({ auth: "method: md5" });
    assert.deepEqual((await logIn(gate, "bob", tcp(FAR))).steps, ["md5"]);
    assert.deepEqual((await logIn(gate, "ann", tcp(FAR))).steps[0], "SCRAM-SHA-256");
    assert.equal(await endOf(gate, "bob", tcp(FAR), "no"), "login.wrong_password");
  });

  it("is asked of strangers where most have it", async () => {
    const users = (secrets: readonly string[]): string =>
      `users: [${secrets.map((secret, i) => `{ name: u${i}, password: "${secret}" }`).join(", ")}]`;
    for (const [secrets, step] of [
      [["pw", `md5${"0".repeat(32)}`, SCRAM], "md5"],
      [["pw", SCRAM, SCRAM], "SCRAM-SHA-256"],
    ] as const) {
      const gate = gateWith({ auth: "method: md5", rest: users(secrets) });
      const { steps, end } = await logIn(gate, "nobody", tcp(FAR));
      assert.deepEqual([steps[0], end], [step, "login.wrong_password"]);
    }
  });
});

describe("a password in clear text", () => {
  for (const [where, link, end] of [
    ["with TLS", tcp(FAR, TLS), "in"],
    ["from this machine", tcp("127.0.0.1"), "in"],
    ["from this machine by IPv6", tcp("::1"), "in"],
    ["from this machine by both", tcp("::ffff:127.0.0.1"), "in"],
    ["on a Unix socket", unix(null), "in"],
    ["over a network", tcp(FAR), "login.clear_text"],
  ] as const) {
    it(`is ${end === "in" ? "taken" : "refused before it is asked for"} ${where}`, async () => {
      const {
        steps,
        end: found,
        credentials,
      } = await logIn(gateWith({ auth: "method: password" }), "ann", link);
      assert.equal(found, end);
      assert.equal(steps.length, end === "in" ? 1 : 0);
      if (end === "in") assert.deepEqual(credentials?.proof, { kind: "password", password: "pw" });
    });
  }

  it("is taken over a network where that is wanted", async () => {
    const gate = gateWith({ auth: "method: password, allow_clear_text: true" });
    assert.equal(await endOf(gate, "ann", tcp(FAR)), "in");
    assert.equal(await endOf(gate, "ann", tcp(FAR), ""), "login.wrong_password");
    assert.equal(await endOf(gate, "nobody", tcp(FAR)), "login.wrong_password");
  });
});

describe("a certificate", () => {
  const HBA =
    "hostssl bank all all cert\nhostssl mapped all all cert map=m\nhostssl full all all md5 clientcert=verify-full\nhostssl ca all all md5 clientcert=verify-ca";
  const gate = gateWith({ hba: HBA, ident: "m service ann\nm /^(.*)\\.bank$ \\1" });
  for (const [what, user, tls, database, end] of [
    ["of the user", "ann", withCertificate("ann"), "bank", "in"],
    ["of somebody else", "ann", withCertificate("bob"), "bank", "login.foreign_certificate"],
    ["without a name", "ann", withCertificate(""), "bank", "login.foreign_certificate"],
    ["that is none", "ann", TLS, "bank", "login.no_certificate"],
    ["of somebody who is no user", "eve", withCertificate("eve"), "bank", "login.not_permitted"],
    ["that a map allows", "ann", withCertificate("service"), "mapped", "in"],
    ["that a map allows by expression", "bob", withCertificate("bob.bank"), "mapped", "in"],
    ["that a map does not", "bob", withCertificate("service"), "mapped", "login.foreign_certificate"],
    [
      "of the user, that a map does not",
      "ann",
      withCertificate("ann"),
      "mapped",
      "login.foreign_certificate",
    ],
    ["of the user, besides a password", "ann", withCertificate("ann"), "full", "in"],
    [
      "of somebody else, besides a password",
      "ann",
      withCertificate("bob"),
      "full",
      "login.foreign_certificate",
    ],
    ["of anybody, besides a password", "ann", withCertificate("bob"), "ca", "in"],
    ["of nobody, besides a password", "ann", TLS, "ca", "login.no_certificate"],
    ["where there is no TLS", "ann", null, "bank", "login.no_rule"],
  ] as const) {
    it(`${what}: ${end}`, async () =>
      assert.equal(await endOf(gate, user, tcp(FAR, tls), "pw", database), end));
  }

  it("does not spare the password besides", async () => {
    assert.equal(
      await endOf(gate, "ann", tcp(FAR, withCertificate("ann")), "no", "full"),
      "login.wrong_password",
    );
  });
});

describe("a peer", () => {
  const gate = gateWith({ hba: "local bank all peer\nlocal mapped all peer map=m", ident: "m root ann" });
  for (const [what, user, peer, database, end] of [
    ["of that name", "ann", "ann", "bank", "in"],
    ["of another", "ann", "bob", "bank", "login.wrong_peer"],
    ["that cannot be known", "ann", null, "bank", "login.wrong_peer"],
    ["that a map allows", "ann", "root", "mapped", "in"],
    ["that a map does not", "bob", "root", "mapped", "login.wrong_peer"],
  ] as const) {
    it(`${what}: ${end}`, async () => assert.equal(await endOf(gate, user, unix(peer), "pw", database), end));
  }

  it("is nobody over TCP", async () => {
    assert.equal(
      await endOf(gateWith({ auth: "method: peer" }), "ann", tcp("127.0.0.1")),
      "login.wrong_peer",
    );
  });
});

describe("trust in this machine", () => {
  it("is for loopback addresses of TCP, and for known users", async () => {
    const gate = gateWith({ auth: "method: scram-sha-256, trust_loopback: true" });
    for (const address of ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
      assert.deepEqual((await logIn(gate, "ann", tcp(address), "no")).steps, []);
    assert.equal(await endOf(gate, "nobody", tcp("127.0.0.1")), "login.not_permitted");
    for (const address of ["128.0.0.1", FAR, "::2", "127.0.0.1.example", ""])
      assert.equal(await endOf(gate, "ann", tcp(address), "no"), "login.wrong_password");
  });
});

describe("a password that expires", () => {
  it("is refused from that moment on, even if the shard was asked before", async () => {
    let nowMs = 999;
    const row = { secret: SCRAM, validUntilMs: 1000 };
    const gate = gateWith({
      auth: "method: scram-sha-256, query_user: q",
      rest: "",
      row,
      wallMs: () => nowMs,
    });
    assert.equal(await endOf(gate, "carol", tcp(FAR)), "in");
    nowMs = 1000;
    assert.equal(await endOf(gate, "carol", tcp(FAR)), "login.wrong_password");
  });
});

describe("too many failures", () => {
  it("keep an address out whatever it says then, also in exchanges that had begun", async () => {
    const events: string[] = [];
    const log: Log = {
      ...silentLog,
      info: (event, fields) => events.push(`${event} ${JSON.stringify(fields)}`),
    };
    const gate = gateWith({ auth: "method: password, failures_max: 2", log });
    const begun = await gate.open(asking("ann"), tcp("127.0.0.1"));
    begun.begin();
    for (const user of ["ann", "nobody"])
      assert.equal(await endOf(gate, user, tcp("127.0.0.1"), "no"), "login.wrong_password");
    assert.equal(await endOf(gate, "ann", tcp("127.0.0.1")), "login.too_many_failures");
    const answer = send.password("pw");
    assert.throws(() => begun.answer(answer, 0, answer.length), { id: "login.too_many_failures" });
    assert.equal(await endOf(gate, "ann", tcp("127.0.0.2")), "in");
    assert.deepEqual(events, [
      'auth.failed {"user":"ann","address":"127.0.0.1","reason":"wrong password"}',
      'auth.failed {"user":"nobody","address":"127.0.0.1","reason":"no such user"}',
    ]);
  });
});

describe("the console", () => {
  const rest = `users: [{ name: ann, password: pw }]\nconsole: { admin_users: [ann, root], stats_users: "bob, carol" }`;
  const gate = gateWith({ auth: "method: scram-sha-256", rest });
  for (const database of ["pgxa", "pgbouncer"]) {
    it(`${database} is for those who are listed`, () => {
      const roleOf = (user: string) => gate.admit(asking(user, database));
      for (const user of ["ann", "root"]) assert.deepEqual(roleOf(user), { kind: "console", role: "admin" });
      for (const user of ["bob", "carol"]) assert.deepEqual(roleOf(user), { kind: "console", role: "stats" });
      for (const user of ["eve", "", "bob, carol"])
        assert.throws(() => roleOf(user), { id: "login.no_console" });
    });
  }
});

describe("a reload", () => {
  it("takes new rules and users, and keeps the old ones if anything of the new is wrong", async () => {
    const options = { hba: "host all all all trust", rest: "users: [{ name: ann }]" };
    const gate = gateWith(options);
    assert.equal(await endOf(gate, "ann", tcp(FAR)), "in");
    const config = parseConfig(configText({ ...options, rest: "users: [{ name: eve }]" }), "/pgxa.yaml", {});
    options.hba = "host all all all nothing";
    assert.throws(() => gate.reconfigure(config), { id: "config.invalid" });
    assert.equal(await endOf(gate, "ann", tcp(FAR)), "in");
    options.hba = "host all ann all reject\nhost all all all trust";
    gate.reconfigure(config);
    assert.equal(await endOf(gate, "ann", tcp(FAR)), "login.rejected");
    assert.equal(await endOf(gate, "eve", tcp(FAR)), "in");
  });

  it("is refused as a whole with every problem named", () => {
    assert.throws(() => gateWith({ hba: "host all all all nothing\nhostssl all all all cert map=none" }), {
      id: "config.invalid",
      message: /2 problems.*hba:1: invalid authentication method.*hba:2: auth.ident_file has no map "none"/s,
    });
  });
});
