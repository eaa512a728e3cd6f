/** Users that a shard is asked about: right, wrong, expired, and when the shard cannot be asked. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type pg from "pg";
import { type AuthProxy, ask, openAuth } from "./authStage.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 60_000 };
const ROLES = `
  CREATE ROLE ann LOGIN PASSWORD 'ann''s';
  CREATE ROLE expired LOGIN PASSWORD 'old' VALID UNTIL '2001-01-01';
  CREATE ROLE valid LOGIN PASSWORD 'new' VALID UNTIL '2999-01-01';
  CREATE ROLE forever LOGIN PASSWORD 'new' VALID UNTIL 'infinity';
  CREATE ROLE never LOGIN PASSWORD 'new' VALID UNTIL '-infinity';
  CREATE ROLE nologin NOLOGIN PASSWORD 'new';
  CREATE ROLE bare LOGIN;
  SET password_encryption = 'md5';
  CREATE ROLE old LOGIN PASSWORD 'md5';
  RESET password_encryption;
  CREATE ROLE lookup LOGIN;
  CREATE SCHEMA auth;
  CREATE FUNCTION auth.find(name text) RETURNS TABLE (n name, s text, until timestamptz)
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
    AS 'SELECT rolname, rolpassword, rolvaliduntil FROM pg_authid WHERE rolname = name';
  GRANT USAGE ON SCHEMA auth TO lookup;`;

let stage: Stage;
let admin: pg.Client;
const proxies: AuthProxy[] = [];

async function open(auth: object): Promise<AuthProxy> {
  const proxy = await openAuth(stage, { auth: { method: "scram-sha-256", query_user: "postgres", ...auth } });
  proxies.push(proxy);
  return proxy;
}

const REFUSED = { code: "28P01" };

before(async () => {
  stage = await Stage.open({ shards: 1, isOpen: false });
  admin = await stage.shards[0]!.connect();
  await admin.query(ROLES);
});
after(async () => {
  await Promise.all(proxies.map((proxy) => proxy.stop()));
  await admin?.end();
  await stage?.stop();
});

describe("a user whom the shard knows", () => {
  test("logs in with the password and with no other", WAIT, async () => {
    const { port } = await open({});
    for (const user of ["valid", "forever"]) assert.equal(await ask(port, { user, password: "new" }), "in");
    assert.equal(await ask(port, { user: "ann", password: "ann's" }), "in");
    for (const user of ["ann", "valid", "nobody", "bare", "nologin"])
      await assert.rejects(ask(port, { user, password: "wrong" }), REFUSED);
    for (const user of ["nologin", "never"])
      await assert.rejects(ask(port, { user, password: "new" }), REFUSED);
  });

  test("with an md5 secret logs in where the method is md5, and one with SCRAM too", WAIT, async () => {
    const { port } = await open({ method: "md5" });
    assert.equal(await ask(port, { user: "old", password: "md5" }), "in");
    assert.equal(await ask(port, { user: "ann", password: "ann's" }), "in");
    for (const user of ["old", "ann", "nobody"])
      await assert.rejects(ask(port, { user, password: "wrong" }), REFUSED);
  });

  test("is refused as CVE-2025-2291 was not: with a password that has expired", WAIT, async () => {
    const usual = await open({});
    const custom = await open({ query_user: "lookup", query: "SELECT * FROM auth.find($1)" });
    for (const proxy of [usual, custom]) {
      await assert.rejects(ask(proxy.port, { user: "expired", password: "old" }), REFUSED);
      assert.equal(await ask(proxy.port, { user: "valid", password: "new" }), "in");
    }
    assert.match(custom.logged(), /"reason":"password expired"/);
  });

  test("and changes the password is asked about again after one failure", WAIT, async () => {
    const { port } = await open({ query_cache: "1h" });
    assert.equal(await ask(port, { user: "ann", password: "ann's" }), "in");
    await admin.query("ALTER ROLE ann PASSWORD 'changed'");
    await assert.rejects(ask(port, { user: "ann", password: "changed" }), REFUSED);
    assert.equal(await ask(port, { user: "ann", password: "changed" }), "in");
    await assert.rejects(ask(port, { user: "ann", password: "ann's" }), REFUSED);
    await admin.query("ALTER ROLE ann PASSWORD 'ann''s'");
  });

  test("is let in on trust, and a stranger is not", WAIT, async () => {
    const { port } = await open({ method: "trust" });
    assert.equal(await ask(port, { user: "bare" }), "in");
    await assert.rejects(ask(port, { user: "nobody" }), { code: "28000", message: /does not exist/ });
  });
});

describe("a name", () => {
  test("is a parameter, whatever is in it", WAIT, async () => {
    const name = `x' OR rolname = 'ann'; -- "\\`;
    const { port } = await open({});
    await assert.rejects(ask(port, { user: name, password: "ann's" }), REFUSED);
    await admin.query(`CREATE ROLE ${admin.escapeIdentifier(name)} LOGIN PASSWORD 'own'`);
    assert.equal(await ask(port, { user: name, password: "own" }), "in");
  });

  test("that the type name would cut is nobody's", WAIT, async () => {
    const cut = "n".repeat(63);
    await admin.query(`CREATE ROLE ${cut} LOGIN PASSWORD 'own'`);
    const { port } = await open({});
    assert.equal(await ask(port, { user: cut, password: "own" }), "in");
    await assert.rejects(ask(port, { user: `${cut}n`, password: "own" }), REFUSED);
  });
});

/** Asked again while the shard is still taken for down. */
async function onceUp<T>(wanted: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await wanted();
    } catch (error) {
      if ((error as pg.DatabaseError).code !== "57P03") throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

describe("when it is not known who a user is, nobody gets in", () => {
  test("for an answer that is not one", WAIT, async () => {
    for (const query of [
      "SELECT rolname, rolpassword FROM pg_authid WHERE $1 = $1 AND rolcanlogin",
      "SELECT rolname FROM pg_authid WHERE rolname = $1",
      "SELECT rolname, rolpassword, 'soon' FROM pg_authid WHERE rolname = $1",
      "SELECT nothing FROM nowhere WHERE name = $1",
    ]) {
      const proxy = await open({ query });
      await assert.rejects(ask(proxy.port, { user: "ann", password: "ann's" }), { code: "57P03" }, query);
      assert.match(proxy.logged(), /auth\.query_failed/);
    }
  });

  test("for an answer about somebody else", WAIT, async () => {
    const { port } = await open({
      query: "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = 'ann' OR rolname = $1 || 'no'",
    });
    await assert.rejects(ask(port, { user: "bare", password: "ann's" }), REFUSED);
  });

  test(
    "and those who ask at once all hear so when the shard is down, and get in when it is back",
    WAIT,
    async () => {
      const proxy = await open({ query_cache: "0s" });
      const { port } = proxy;
      const login = { user: "valid", password: "new" };
      assert.equal(await ask(port, login), "in");
      const [shard] = stage.shards;
      await admin.end();
      await shard!.stop();
      const failed = await Promise.allSettled(Array.from({ length: 20 }, () => ask(port, login)));
      for (const one of failed)
        assert.equal(one.status === "rejected" && (one.reason as pg.DatabaseError).code, "57P03");
      await shard!.restart();
      admin = await shard!.connect();
      assert.equal(await onceUp(() => ask(port, login)), "in");
      assert.doesNotMatch(proxy.logged(), /"new"|SCRAM-SHA-256\$/);
    },
  );
});
