/** pgxa logs in to the shard as the client's own user, with what the client has proved. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import type pg from "pg";
import { type AuthProxy, openAuth } from "./authStage.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 60_000 };
let stage: Stage;
let admin: pg.Client;
const proxies: AuthProxy[] = [];

async function open(auth: object): Promise<AuthProxy> {
  const options = { query_user: "postgres", query_cache: 0, pass_through: true, ...auth };
  const proxy = await openAuth(stage, { auth: { method: "scram-sha-256", ...options } });
  proxies.push(proxy);
  return proxy;
}

/** The user that the shard sees, and the process that serves. */
async function seen(port: number, user: string, password: string) {
  const client = await stage.connect({ port, user, password });
  const { rows } = await client.query("SELECT session_user::text AS user, pg_backend_pid() AS pid");
  await client.end();
  return rows[0].user;
}

before(async () => {
  stage = await Stage.open({ shards: 1, isOpen: false });
  admin = await stage.shards[0]!.connect();
  await admin.query("CREATE ROLE ann LOGIN PASSWORD 'ann''s'; CREATE ROLE bob LOGIN PASSWORD 'bob''s'");
  const [file] = (await admin.query("SHOW hba_file")).rows;
  writeFileSync(file.hba_file, `host all ann,bob 127.0.0.1/32 scram-sha-256\n${readFileSync(file.hba_file)}`);
  await admin.query("SELECT pg_reload_conf()");
});
after(async () => {
  await Promise.all(proxies.map((proxy) => proxy.stop()));
  await admin?.end();
  await stage?.stop();
});

describe("a client's own login", () => {
  test("goes to the shard with its SCRAM keys, each user on connections of its own", WAIT, async () => {
    const { port } = await open({});
    for (const user of ["ann", "bob", "ann"]) assert.equal(await seen(port, user, `${user}'s`), user);
    const { rows } = await admin.query(
      "SELECT usename, count(*)::int FROM pg_stat_activity WHERE usename IN ('ann', 'bob') GROUP BY 1 ORDER BY 1",
    );
    assert.deepEqual(rows, [
      { usename: "ann", count: 1 },
      { usename: "bob", count: 1 },
    ]);
  });

  test("goes to the shard with its password where the method is that", WAIT, async () => {
    const { port } = await open({ method: "password" });
    assert.equal(await seen(port, "ann", "ann's"), "ann");
    await assert.rejects(seen(port, "ann", "wrong"), { code: "28P01" });
  });

  test("goes on with a new password, and not with the old one", WAIT, async () => {
    const { port } = await open({});
    assert.equal(await seen(port, "bob", "bob's"), "bob");
    await admin.query("ALTER ROLE bob PASSWORD 'new'");
    assert.equal(await seen(port, "bob", "new"), "bob");
    await assert.rejects(seen(port, "bob", "bob's"), { code: "28P01" });
    await admin.query("ALTER ROLE bob PASSWORD 'bob''s'");
  });

  test("is refused where there is nothing to pass", WAIT, async () => {
    const { port } = await open({ trust_loopback: true });
    await assert.rejects(stage.connect({ port, user: "ann" }), { code: "28000" });
  });

  test("never shows in the log", WAIT, async () => {
    const proxy = await open({});
    await seen(proxy.port, "ann", "ann's");
    assert.doesNotMatch(proxy.logged(), /ann's|clientKey|serverKey/);
  });
});
