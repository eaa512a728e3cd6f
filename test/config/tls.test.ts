/** What is wrong between the options of TLS and of Unix sockets, and where their files are. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Fault } from "../../src/base/fault.ts";
import { parseConfig } from "../../src/config/load.ts";

const file = (shard: string, more = ""): string => `
database: bank
shards: [{ name: only, host: db, user: pgxa${shard} }]
auth: { method: trust }
${more}`;

/** The paths of what is wrong. */
function wrong(text: string): string {
  try {
    parseConfig(text, "f.yaml", {});
    return "";
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return `${error.message}\n${error.detail ?? ""}`;
  }
}

describe("TLS with clients", () => {
  it("needs a key and a certificate, and authorities where clients are verified", () => {
    const both = "key_file: a.key, cert_file: a.crt";
    assert.match(
      wrong(file("", "client_tls: { mode: require }")),
      /key_file is missing[\s\S]*cert_file is missing/,
    );
    assert.match(
      wrong(file("", `client_tls: { mode: verify-full, ${both} }`)),
      /client_tls\.ca_file is missing/,
    );
    assert.equal(wrong(file("", `client_tls: { mode: require, ${both} }`)), "");
    assert.equal(wrong(file("", "client_tls: { mode: disable }")), "");
  });
});

describe("TLS with a shard", () => {
  it("verifies by authorities that are named, the system's only together with the host", () => {
    assert.match(wrong(file(", tls: verify-ca")), /shards\[0\]\.tls_ca_file is missing/);
    assert.match(wrong(file(", tls: verify-ca, tls_ca_file: system")), /tls_ca_file is system/);
    assert.equal(wrong(file(", tls: verify-full, tls_ca_file: system")), "");
    assert.equal(wrong(file(", tls: verify-ca, tls_ca_file: ca.crt")), "");
  });

  it("begins directly only where it is a must", () => {
    assert.match(wrong(file(", tls_negotiation: direct")), /tls_negotiation is direct, and tls is prefer/);
    assert.equal(wrong(file(", tls: require, tls_negotiation: direct")), "");
  });

  it("shows a certificate together with its key", () => {
    assert.match(wrong(file(", tls_cert_file: a.crt")), /tls_key_file is missing/);
    assert.match(wrong(file(", tls_key_file: a.key")), /tls_cert_file is missing/);
  });
});

describe("files", () => {
  it("are meant from the configuration's directory", () => {
    const more = `listen: { unix_directory: run }
client_tls: { mode: require, key_file: a.key, cert_file: /etc/a.crt }`;
    const text = file(", tls: verify-full, tls_ca_file: system", more);
    const { listen, clientTls, shards } = parseConfig(text, "/etc/pgxa/f.yaml", {});
    assert.equal(listen.unixDirectory, "/etc/pgxa/run");
    assert.deepEqual([clientTls.keyFile, clientTls.certFile], ["/etc/pgxa/a.key", "/etc/a.crt"]);
    assert.equal(shards[0]?.tls?.caFile, "system");
  });

  it("of Unix sockets have a mode in octal", () => {
    const mode = (text: string) => file("", `listen: { unix_mode: ${text} }`);
    assert.equal(parseConfig(mode("0770"), "f.yaml", {}).listen.unixMode, 0o770);
    assert.equal(parseConfig(mode("700"), "f.yaml", {}).listen.unixMode, 0o700);
    assert.match(wrong(mode("0780")), /listen\.unix_mode is no mode of a file/);
  });
});
