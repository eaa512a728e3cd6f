import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import pg from "pg";
import { clientKeyOf, hash, saltedPassword } from "../../src/wire/scramKeys.ts";
import { buildScramSecret, formatScramSecret, parseScramSecret } from "../../src/wire/scramSecret.ts";
import { startShards, type TestShards } from "../support/shards.ts";
import { logIn, startGatekeeper } from "./rawLogin.ts";

const PASSWORD = "g\u00e9heim \u2168\u00ad\u{1f511}";
const SALT = Buffer.alloc(16, 5);

describe("a login at a real Postgres", () => {
  let shards: TestShards;
  const port = (): number => shards.shards[0]!.port;

  before(async () => {
    shards = await startShards(1);
    const shard = shards.shards[0]!;
    const client = await shard.connect();
    await client.query(`SET password_encryption = 'scram-sha-256'`);
    for (const role of ["scram", "plain"]) {
      await client.query(`CREATE ROLE ${role} LOGIN PASSWORD ${client.escapeLiteral(PASSWORD)}`);
    }
    const stored = formatScramSecret(buildScramSecret(PASSWORD, SALT, 4096));
    await client.query(`CREATE ROLE stored LOGIN PASSWORD ${client.escapeLiteral(stored)}`);
    await client.query(`SET password_encryption = 'md5'`);
    await client.query(`CREATE ROLE hashed LOGIN PASSWORD ${client.escapeLiteral(PASSWORD)}`);
    await client.end();
    const file = join(shard.dataDirectory, "pg_hba.conf");
    const rule = (role: string, method: string) => `host all ${role} 127.0.0.1/32 ${method}\n`;
    const rules = [
      rule("scram", "scram-sha-256"),
      rule("stored", "scram-sha-256"),
      rule("nobody", "scram-sha-256"),
      rule("hashed", "md5"),
      rule("plain", "password"),
    ];
    writeFileSync(file, rules.join("") + readFileSync(file, "utf8"));
    await shard.restart();
  });
  after(() => shards.stop());

  const steps: Readonly<Record<string, readonly string[]>> = {
    scram: ["sasl", "saslContinue", "saslFinal", "ok"],
    stored: ["sasl", "saslContinue", "saslFinal", "ok"],
    hashed: ["md5", "ok"],
    plain: ["cleartext", "ok"],
    postgres: ["ok"],
  };
  for (const [role, expected] of Object.entries(steps)) {
    it(`succeeds for ${role}: ${expected.join(", ")}`, async () => {
      const outcome = await logIn(port(), role, PASSWORD, 0);
      assert.deepEqual(outcome.steps, expected);
      assert.equal(outcome.secretBytes, 4);
      assert.ok(outcome.parameterCount > 10);
    });
  }

  it("fails with a wrong password, and for a user who does not exist", async () => {
    for (const role of ["scram", "stored", "nobody"]) {
      const outcome = await logIn(port(), role, "wrong", 0);
      assert.deepEqual(outcome.steps, ["sasl", "saslContinue", "28P01"]);
    }
    assert.deepEqual((await logIn(port(), "hashed", "wrong", 0)).steps, ["md5", "28P01"]);
    assert.deepEqual((await logIn(port(), "plain", "wrong", 0)).steps, ["cleartext", "28P01"]);
  });

  it("of protocol 3.2 brings a longer secret", async () => {
    assert.equal((await logIn(port(), "postgres", "", 2)).secretBytes, 32);
  });

  it("hashes any password as Postgres does", async () => {
    const unit = fc.oneof(
      fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
      fc.constantFrom(..."a1 \u00aa\u00ad\u00a0\u05d0\u0661\u0308\u2168\ufb21\ufb01\u200f\u2135\u{1f600}"),
    );
    const password = fc.string({ unit, minLength: 1, maxLength: 6 }).filter((text) => !text.includes("\0"));
    const client = await shards.shards[0]!.connect();
    await client.query(
      "SET password_encryption = 'scram-sha-256'; SET scram_iterations = 1; SET synchronous_commit = off; CREATE ROLE probe",
    );
    const property = fc.asyncProperty(password, async (text) => {
      await client.query(`ALTER ROLE probe PASSWORD ${client.escapeLiteral(text)}`);
      const { rows } = await client.query("SELECT rolpassword FROM pg_authid WHERE rolname = 'probe'");
      const secret = parseScramSecret(rows[0].rolpassword);
      assert.ok(secret !== null);
      const stored = hash(clientKeyOf(saltedPassword(text, secret.salt, secret.iterations)));
      assert.deepEqual(stored, secret.storedKey);
    });
    try {
      await fc.assert(property, { numRuns: 500 });
    } finally {
      await client.end();
    }
  });
});

describe("the pg driver at a server that asks for SCRAM", () => {
  const attempt = async (password: string, secretOf: string | null) => {
    const secret = secretOf === null ? null : buildScramSecret(secretOf, SALT, 4096);
    const server = await startGatekeeper({ name: "ada", secret });
    const client = new pg.Client({
      host: "127.0.0.1",
      port: server.port,
      user: "ada",
      password,
      database: "bank",
    });
    client.on("error", () => {});
    try {
      await client.connect();
    } finally {
      await server.stop();
    }
  };

  it("gets in with the right password, and only with that", async () => {
    await attempt("pencil", "pencil");
    await assert.rejects(attempt("pen", "pencil"), { code: "28P01" });
    await assert.rejects(attempt("pencil", null), { code: "28P01" });
  });
});
