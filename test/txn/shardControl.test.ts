import assert from "node:assert/strict";
import { createServer, type Server } from "node:net";
import { after, before, suite, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { backendPid, shardId, xidOf } from "../../src/base/brands.ts";
import { type Finish, ShardControl } from "../../src/txn/shardControl.ts";
import { startShards, type TestShard, type TestShards } from "../support/shards.ts";
import { shardConfig } from "./commitStage.ts";

let shards: TestShards;
let shard: TestShard;
let control: ShardControl;
let client: pg.Client;

const DONE: Finish = { kind: "done" };

/** Prepares a transaction that wrote; returns its id. */
async function prepare(gid: string, on = client): Promise<string> {
  await on.query("BEGIN; INSERT INTO t VALUES (1)");
  const { rows } = await on.query("SELECT pg_current_xact_id_if_assigned() AS xid");
  await on.query(`PREPARE TRANSACTION '${gid}'`);
  return String(rows[0].xid);
}

const gids = async (prefix: string) => (await control.prepared(prefix)).map(({ gid }) => gid);

suite("the control session of a shard", () => {
  before(async () => {
    shards = await startShards(1, { databases: ["bank", "other"] });
    shard = shards.shards[0]!;
    control = new ShardControl(shardConfig(shard));
    client = await shard.connect();
    await client.query("CREATE TABLE t (a int); GRANT ALL ON t TO public; CREATE ROLE limited LOGIN");
  });
  after(async () => {
    await client.end();
    await control.close();
    await shards.stop();
  });

  test("lists what is prepared in its database under the prefix, oldest first, with its time", async () => {
    const other = await shard.connect("other");
    await other.query("CREATE TABLE t (a int)");
    const beganMs = Date.now();
    for (const gid of ["pgxa:f:1", "pgxa:f:0", "pgxa:fx:1", "PGXA:f:1"]) await prepare(gid);
    await prepare("pgxa:f:other", other);
    const listed = await control.prepared("pgxa:f:");
    assert.deepEqual(
      listed.map(({ gid }) => gid),
      ["pgxa:f:1", "pgxa:f:0"],
    );
    for (const { preparedAtMs } of listed) assert.ok(Math.abs(preparedAtMs - beganMs) < 60_000);
    for (const gid of ["pgxa:f:1", "pgxa:f:0", "pgxa:fx:1", "PGXA:f:1"])
      assert.deepEqual(await control.finish("ROLLBACK", gid), DONE);
    await other.query("ROLLBACK PREPARED 'pgxa:f:other'");
    await other.end();
  });

  test("an underscore or a per cent sign in the prefix stands for itself", async () => {
    await prepare("pgxa:a_b:1");
    assert.deepEqual(await gids("pgxa:a_b:"), ["pgxa:a_b:1"]);
    assert.deepEqual(await gids("pgxa:axb:"), []);
    assert.deepEqual(await gids("pgxa:%"), []);
    await control.finish("ROLLBACK", "pgxa:a_b:1");
  });

  test("finishing twice says that it is missing, which is no success", async () => {
    await prepare("pgxa:f:1");
    assert.deepEqual(await control.finish("COMMIT", "pgxa:f:1"), DONE);
    assert.deepEqual(await control.finish("COMMIT", "pgxa:f:1"), { kind: "missing" });
    assert.deepEqual(await control.finish("ROLLBACK", "it's none"), { kind: "missing" });
  });

  test("what another role prepared is refused with the reason, and the session goes on", async () => {
    await prepare("pgxa:f:1");
    const limited = new ShardControl(shardConfig(shard, "limited"));
    const finish = await limited.finish("COMMIT", "pgxa:f:1");
    assert.ok(finish.kind === "refused" && finish.reason.includes("42501"));
    assert.deepEqual(
      (await limited.prepared("pgxa:f:")).map(({ gid }) => gid),
      ["pgxa:f:1"],
    );
    await limited.close();
    assert.deepEqual(await control.finish("ROLLBACK", "pgxa:f:1"), DONE);
  });

  test("evidence is what this server knows of the transaction id", async () => {
    await control.connect();
    const { server } = control;
    assert.match(server!, /^\d+\/00000001$/);
    const xid = xidOf(await prepare("pgxa:f:1"));
    assert.equal(await control.evidence({ xid, server }), "in progress");
    await control.finish("COMMIT", "pgxa:f:1");
    assert.equal(await control.evidence({ xid, server }), "committed");
    const aborted = xidOf(await prepare("pgxa:f:2"));
    await control.finish("ROLLBACK", "pgxa:f:2");
    assert.equal(await control.evidence({ xid: aborted, server }), "aborted");
    assert.equal(await control.evidence({ xid: null, server }), "nothing written");
    assert.equal(await control.evidence({ xid, server: "1/00000001" }), "other server");
    assert.equal(await control.evidence({ xid, server: null }), "forgotten", "it may be a stranger's id");
    assert.equal(
      await control.evidence({ xid: xidOf("99999999999"), server }),
      "forgotten",
      "not reached yet",
    );
  });

  test("a fence ends exactly the backend that is meant, and that is seen", async () => {
    const victim = await shard.connect();
    const { rows } = await victim.query(
      "SELECT pid, backend_start::text AS start FROM pg_stat_activity WHERE pid = pg_backend_pid()",
    );
    const { pid, start } = rows[0];
    await control.fence(backendPid(pid), "2001-01-01 00:00:00+00");
    await victim.query("SELECT 1");
    await control.fence(backendPid(pid), start);
    const left = await client.query("SELECT FROM pg_stat_activity WHERE pid = $1", [pid]);
    assert.equal(left.rowCount, 0);
    await control.fence(backendPid(pid), start);
    await victim.end().catch(() => {});
  });

  test("a session that was ended is opened again", async () => {
    await control.connect();
    const ended = await client.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgxa control' AND pid <> pg_backend_pid()",
    );
    assert.equal(ended.rowCount, 1);
    const untilMs = performance.now() + 5_000;
    for (;;) {
      const isBack = await gids("pgxa:").then(
        () => true,
        () => false,
      );
      if (isBack) break;
      assert.ok(performance.now() < untilMs, "not back in time");
      await delay(5);
    }
  });

  test("a shard that is killed and comes back is asked again", async () => {
    await control.connect();
    await shard.kill("SIGKILL");
    await assert.rejects(control.prepared("pgxa:"));
    await shard.restart();
    await client.end().catch(() => {});
    client = await shard.connect();
    assert.deepEqual(await gids("pgxa:"), []);
  });

  test("once closed it answers nothing", async () => {
    const closed = new ShardControl(shardConfig(shard));
    await closed.connect();
    await closed.close();
    await assert.rejects(closed.connect(), /closed/);
    await closed.close();
  });
});

/** A server that refuses every login with `sqlstate`. */
async function refusingServer(
  sqlstate: string,
): Promise<{ readonly server: Server; readonly logins: () => number }> {
  let logins = 0;
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${sqlstate}\0Mno\0\0`);
  const header = Buffer.from([0x45, 0, 0, 0, 4 + fields.length]);
  const server = createServer((socket) => {
    logins += 1;
    socket.on("error", () => {});
    socket.once("data", () => socket.end(Buffer.concat([header, fields])));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, logins: () => logins };
}

for (const sqlstate of ["53300", "57P03", "28P01", "3D000"]) {
  test(`a login that is refused with ${sqlstate} is tried again at the next call`, async () => {
    const { server, logins } = await refusingServer(sqlstate);
    const { port } = server.address() as { port: number };
    const refused = new ShardControl({
      id: shardId("east"),
      host: "127.0.0.1",
      port,
      database: "d",
      user: "u",
      password: "p",
    });
    for (let i = 1; i <= 3; i += 1) {
      await assert.rejects(refused.connect(), { code: sqlstate });
      assert.equal(logins(), i);
    }
    await refused.close();
    await new Promise((resolve) => server.close(resolve));
  });
}
