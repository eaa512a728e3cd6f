/**
 * What was found in PgBouncer, tried on pgxa. Each test is named by the CVE, and does what its description says an
 * attacker does. https://www.pgbouncer.org/changelog.html has them all.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import type pg from "pg";
import { stringify } from "yaml";
import { startProxy } from "../../src/cli/compose.ts";
import { parseConfig } from "../../src/config/load.ts";
import { silentLog } from "../../src/observe/log.ts";
import { type AuthProxy, ask, openAuth } from "./authStage.ts";
import { errorField, int32, message, messageOfLength, RawClient, startup, text } from "./rawClient.ts";
import { askedForSasl, begun, finalFor, initialResponse, lastOf, NONCE, response } from "./rawScram.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 60_000 };

let stage: Stage;
let admin: pg.Client;
let proxy: AuthProxy;

before(async () => {
  stage = await Stage.open({ shards: 1, isOpen: false });
  admin = await stage.shards[0]!.connect();
  await admin.query(`
    CREATE ROLE ann LOGIN PASSWORD 'ann''s';
    CREATE ROLE expired LOGIN PASSWORD 'old' VALID UNTIL '2001-01-01'`);
  proxy = await open();
});
after(async () => {
  await proxy?.stop();
  await admin?.end();
  await stage?.stop();
});

const open = (): Promise<AuthProxy> =>
  openAuth(stage, {
    auth: { method: "scram-sha-256", query_user: "postgres", query_cache: "0s", failures_max: 0 },
    users: [
      { name: "boss", password: "boss's" },
      { name: "watcher", password: "watcher's" },
    ],
    console: { admin_users: "boss", stats_users: "watcher" },
  });

const isAlive = async (): Promise<void> =>
  assert.equal(await ask(proxy.port, { user: "ann", password: "ann's" }), "in");

/** Sends what `attack` says to a login that was asked for SASL; it is refused so, and others are served as before. */
async function refusedAs(
  sqlstate: string,
  attack: (client: RawClient) => void | Promise<void>,
): Promise<void> {
  const client = await askedForSasl(proxy.port, "ann");
  await attack(client);
  const last = await lastOf(client);
  assert.equal(last.type, "E");
  assert.equal(errorField(last, "C"), sqlstate);
  assert.equal(errorField(last, "S"), "FATAL");
  await isAlive();
}

describe("who logs in", () => {
  test("CVE-2025-2291: cannot with a password that has expired", WAIT, async () => {
    await assert.rejects(ask(proxy.port, { user: "expired", password: "old" }), { code: "28P01" });
  });

  test("CVE-2025-12819: does not choose the search_path of auth.query", WAIT, async (t) => {
    await admin.query(`
      CREATE SCHEMA evil;
      CREATE TABLE evil.pg_authid AS
        SELECT 'ann'::name AS rolname, 'evil' AS rolpassword, NULL::timestamptz AS rolvaliduntil, true AS rolcanlogin;
      CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz';
      GRANT USAGE ON SCHEMA evil TO PUBLIC;
      GRANT SELECT ON evil.pg_authid TO PUBLIC;
      ALTER DATABASE bank SET search_path = evil, pg_catalog;
      ALTER ROLE postgres SET search_path = evil, pg_catalog`);
    const path = "evil,pg_catalog";
    const fresh = await open(); // whose connections begin with what the database and the role have set
    t.after(() => fresh.stop());
    for (const startup of [{}, { options: `-c search_path=${path}` }, { options: `--search-path=${path}` }]) {
      await assert.rejects(ask(fresh.port, { user: "ann", password: "evil", ...startup }), { code: "28P01" });
      await assert.rejects(ask(fresh.port, { user: "expired", password: "old", ...startup }), {
        code: "28P01",
      });
      assert.equal(await ask(fresh.port, { user: "ann", password: "ann's", ...startup }), "in");
    }
    const client = new RawClient(fresh.port);
    client.send(startup({ user: "ann", database: "bank", search_path: path, role: "expired" }));
    await client.until("R");
    client.send(response(finalFor(await begun(client), "evil")));
    assert.equal(errorField(await lastOf(client), "C"), "28P01");
    await admin.query("ALTER DATABASE bank RESET search_path; ALTER ROLE postgres RESET search_path");
  });

  test("CVE-2026-6664, CVE-2026-6668, CVE-2026-107348: cannot lie about lengths", WAIT, async () => {
    for (const length of [0x7fffffff, -2, -0x80000000, 1_000_000, 31]) {
      await refusedAs("08P01", (client) =>
        client.send(initialResponse(`n,,n=,r=${NONCE}`, "SCRAM-SHA-256", length)),
      );
    }
    for (const length of [0x7fffffff, -1, -0x80000000, 0, 3, 20_000])
      await refusedAs("08P01", (client) => client.send(messageOfLength("p", length)));
    await refusedAs("08P01", (client) => client.send(message("p", Buffer.from("SCRAM-SHA-256"))));
    await refusedAs("08P01", (client) => client.send(message("p")));
  });

  test("CVE-2026-19888: cannot leave out what a SCRAM message must have", WAIT, async () => {
    for (const first of [
      "",
      "n",
      "n,,",
      "n,,n=",
      "n,,r=abc",
      "n,,n=,r=",
      ",,n=,r=abc",
      "p=x,,n=,r=abc",
      "x".repeat(16_000),
    ])
      await refusedAs("08P01", (client) => client.send(initialResponse(first)));
    await refusedAs("08P01", (client) => client.send(initialResponse("", "SCRAM-SHA-256", -1)));
    await refusedAs("08P01", (client) =>
      client.send(initialResponse(`n,,n=,r=${NONCE}`, "SCRAM-SHA-256-PLUS")),
    );
    await refusedAs("08P01", (client) => client.send(initialResponse(`n,,n=,r=${NONCE}`, "")));
    for (const drop of [/^c=biws,/, /r=[^,]*,/, /,p=.*/, /p=.*/, /c=biws/, /^.*$/]) {
      await refusedAs("08P01", async (client) => {
        client.send(response(finalFor(await begun(client), "ann's").replace(drop, "")));
      });
    }
  });

  test("cannot repeat SCRAM messages, or send them in another order", WAIT, async () => {
    await refusedAs("08P01", (client) => client.send(response("c=biws,r=x,p=x")));
    await refusedAs("08P01", async (client) => {
      await begun(client);
      client.send(initialResponse(`n,,n=,r=${NONCE}`));
    });
    await refusedAs("08P01", (client) => client.send(message("Q", text("SELECT 1"))));
    await refusedAs("08P01", (client) => client.send(initialResponse(`n,,n=,r=${NONCE}`), response("x")));
  });

  test("CVE-2026-107350: has one startup packet, and no second user", WAIT, async () => {
    for (const database of ["bank", "nowhere"]) {
      const client = await askedForSasl(proxy.port, "ann", database);
      const serverFirst = await begun(client);
      client.send(startup({ user: "boss", database: "pgxa" }));
      client.send(response(finalFor(serverFirst, "ann's")));
      const last = await lastOf(client);
      assert.equal(errorField(last, "C"), "08P01");
    }
    const early = new RawClient(proxy.port);
    early.send(startup({ user: "ann", database: "bank" }), startup({ user: "boss", database: "pgxa" }));
    assert.equal(errorField(await lastOf(early), "C"), "08P01");
    await isAlive();
  });

  test("CVE-2026-107349: may write nonsense into options, and is answered", WAIT, async () => {
    for (const options of ["-c=", "-c =", "--=", "-c", "-c =x -c x=", "- -", "\\"]) {
      await ask(proxy.port, { user: "ann", password: "ann's", options }).catch((error: pg.DatabaseError) => {
        assert.match(error.code ?? "", /^(42|22|28)/, `${options}: ${error.message}`);
      });
    }
    await isAlive();
  });
});

describe("the console", () => {
  test("CVE-2026-6667: gives commands that change something to admins only", WAIT, async () => {
    for (const database of ["pgxa", "pgbouncer"]) {
      const watcher = { user: "watcher", password: "watcher's", database };
      await ask(proxy.port, watcher, "SHOW PINS");
      for (const command of [
        "KILL_CLIENT 1",
        "KILL bank",
        "PAUSE",
        "RELOAD",
        "SHUTDOWN",
        "SET x = 1",
        "SHOW PINS; SHUTDOWN",
        "/* SHOW */ PAUSE",
      ])
        await assert.rejects(ask(proxy.port, watcher, command), { code: "42501" }, command);
      const boss = { user: "boss", password: "boss's", database };
      await assert.rejects(ask(proxy.port, boss, "NONSENSE"), { code: "42601" });
      await assert.rejects(ask(proxy.port, { user: "ann", password: "ann's", database }), {
        code: "28000",
        message: /may not use the console/,
      });
    }
  });
});

/** A server that answers a startup packet with `answer`, and the login at pgxa in front of it. */
async function behind(answer: (socket: Socket, chunk: Buffer) => void, login: pg.ClientConfig = {}) {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (chunk) => answer(socket, chunk as Buffer));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as { port: number };
  const config = {
    database: "bank",
    listen: { port: 0 },
    shards: [{ name: "only", host: "127.0.0.1", port, user: "pgxa", password: "pw" }],
    pool: { connect_timeout: "2s", checkout_timeout: "2s" },
    auth: { method: "trust" },
  };
  const own = await startProxy(parseConfig(stringify(config), "f.yaml", {}), { log: silentLog });
  try {
    for (let i = 0; i < 2; i += 1)
      await assert.rejects(ask(own.port, { user: "ann", ...login }), (error: pg.DatabaseError) => {
        assert.match(error.code ?? "", /^[0-9A-Z]{5}$/, error.message);
        return true;
      });
  } finally {
    await own.stop();
    server.close();
  }
}

describe("a shard that means harm", () => {
  test("CVE-2026-6665: sends a nonce that is very long", WAIT, async () => {
    for (const length of [2_000, 60_000, 1_000_000]) {
      let isFirst = true;
      await behind((socket, chunk) => {
        if (chunk.readInt32BE(0) === chunk.length) {
          isFirst = true;
          socket.write(message("R", int32(10), text("SCRAM-SHA-256"), Buffer.from([0])));
          return;
        }
        const nonce = /r=([^,]*)/.exec(chunk.toString("latin1"))?.[1] ?? "";
        if (isFirst)
          socket.write(
            message("R", int32(11), Buffer.from(`r=${nonce}${"x".repeat(length)},s=c2FsdA==,i=4096`)),
          );
        else socket.end(message("R", int32(12), Buffer.from(`v=${"A".repeat(43)}=`)));
        isFirst = false;
      });
    }
  });

  test("CVE-2026-6666: sends an error without an SQLSTATE", WAIT, async () => {
    const none = message("E", text("SFATAL"), text("Mgo away"), Buffer.from([0]));
    const empty = message("E", Buffer.from([0]));
    for (const error of [none, empty]) {
      await behind((socket) => socket.end(error));
      await behind((socket, chunk) => {
        const ready = [message("R", int32(0)), message("Z", Buffer.from("I"))];
        if (chunk.readInt32BE(0) === chunk.length) socket.write(Buffer.concat(ready));
        else socket.end(error);
      });
    }
  });

  test("CVE-2026-6669: asks for very many iterations", WAIT, async () => {
    await behind((socket, chunk) => {
      if (chunk.readInt32BE(0) === chunk.length)
        return socket.write(message("R", int32(10), text("SCRAM-SHA-256"), Buffer.from([0])));
      const nonce = /r=([^,]*)/.exec(chunk.toString("latin1"))?.[1] ?? "";
      return socket.write(message("R", int32(11), Buffer.from(`r=${nonce}x,s=c2FsdA==,i=2000000000`)));
    });
  });
});
