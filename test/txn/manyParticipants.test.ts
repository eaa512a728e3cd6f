/** A transaction on a hundred shards: databases of two servers, for what counts is how many participants it has. */
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { shardId } from "../../src/base/brands.ts";
import { startShards, type TestShard, type TestShards } from "../support/shards.ts";
import { type Branch, CommitStage } from "./commitStage.ts";
import { FleetStage } from "./fleetStage.ts";

const PER_SERVER = 50;
const DATABASES = Array.from({ length: PER_SERVER }, (_, i) => `d${i}`);

let servers: TestShards;
let shards: TestShards;

/** The databases of a server, as shards. */
const databasesOf = (server: TestShard): readonly TestShard[] =>
  DATABASES.map((database) => {
    const { id, host, port, user } = server;
    const connect = () => server.connect(database);
    return { id: shardId(`${id}-${database}`), host, port, user, database, connect } as TestShard;
  });

const writeEverywhere = (branch: (shard: number) => Promise<Branch>): Promise<Branch[]> =>
  Promise.all(shards.shards.map((_, shard) => branch(shard)));

suite("a hundred participants", { timeout: 300_000 }, () => {
  before(async () => {
    const settings = { max_prepared_transactions: "200", max_connections: "400", fsync: "off" };
    servers = await startShards(2, { databases: DATABASES, settings });
    shards = { shards: servers.shards.flatMap(databasesOf), stop: () => servers.stop() };
  });
  after(() => servers.stop());

  suite("with the log in files", () => {
    let stage: CommitStage;
    const insert = (value: number) =>
      writeEverywhere((shard) => stage.branch(shard, `INSERT INTO t VALUES (${value})`));

    before(async () => {
      stage = await CommitStage.open(shards, { prepareTimeoutMs: 30_000, commitTimeoutMs: 30_000 });
    });
    after(() => stage.close());

    test("are committed together", async () => {
      assert.deepEqual(await stage.commit(...(await insert(1))), { kind: "committed" });
      assert.equal(await stage.seen(1), 100);
      assert.equal(await stage.prepared(), 0);
      assert.deepEqual(new Set(stage.slots.usage().map(({ used }) => used)), new Set([0]));
    });

    test("are rolled back together if one refuses at PREPARE, in its words", async () => {
      await stage.query(73, "INSERT INTO t VALUES (2)");
      const outcome = await stage.commit(...(await insert(2)));
      assert.equal(outcome.kind === "aborted" && outcome.error.sqlstate, "23505");
      assert.equal(await stage.seen(2), 1);
      assert.equal(await stage.prepared(), 0);
    });

    test("are committed together although the server of fifty dies in phase 2", async () => {
      const branches = await insert(3);
      const last = branches.at(-1)!;
      const run = last.run.bind(last);
      let killed: Promise<void> | null = null;
      for (const branch of branches.slice(PER_SERVER)) {
        const own = branch === last ? run : branch.run.bind(branch);
        branch.run = async (sql, timeoutMs) => {
          if (sql.startsWith("COMMIT PREPARED")) await (killed ??= servers.shards[1]!.kill("SIGKILL"));
          return own(sql, timeoutMs);
        };
      }
      const outcome = await stage.commit(...branches);
      assert.ok(outcome.kind === "committed" && outcome.notice !== undefined);
      await servers.shards[1]!.restart();
      await stage.rest();
      assert.equal(await stage.seen(3), 100);
      assert.deepEqual(new Set(stage.slots.usage().map(({ left }) => left)), new Set([0]));
    });
  });

  suite("with the log on a shard", () => {
    test("are committed or rolled back together, by one row", async () => {
      const fleet = await FleetStage.open(shards);
      const member = await fleet.join("a", { prepare_timeout: "30s", commit_timeout: "30s", lease: "10s" });
      const insert = (value: number) =>
        writeEverywhere((shard) => fleet.branch(member, shard, `INSERT INTO t VALUES (${value})`));
      assert.deepEqual(await fleet.commit(member, ...(await insert(1))), { kind: "committed" });
      assert.equal(await fleet.seen(1), 100);
      await fleet.query(20, "INSERT INTO t VALUES (2)");
      const outcome = await fleet.commit(member, ...(await insert(2)));
      assert.equal(outcome.kind === "aborted" && outcome.error.sqlstate, "23505");
      assert.equal(await fleet.seen(2), 1);
      await fleet.rest();
      await fleet.close();
    });
  });
});
