/** Metrics and probes of a pgxa that runs, and what it logs. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { startProxy } from "../../src/cli/compose.ts";
import { freePort } from "../../src/cli/postmaster.ts";
import { createLog } from "../../src/observe/log.ts";
import { Stage } from "./stage.ts";

const LIMIT = { timeout: 120_000 };
let stage: Stage;
let metricsPort: number;

before(async () => {
  metricsPort = await freePort();
  stage = await Stage.open({ config: { metrics: { port: metricsPort, pgbouncer_names: true } } });
});
after(() => stage?.stop());

const get = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${metricsPort}${path}`);

/** The metrics by name and labels. */
async function scrape(): Promise<ReadonlyMap<string, number>> {
  const lines = (await (await get("/metrics")).text()).split("\n");
  return new Map(
    lines
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => {
        const at = line.lastIndexOf(" ");
        return [line.slice(0, at), Number(line.slice(at + 1))];
      }),
  );
}

const one = (shard: 0 | 1): number => stage.accounts[shard]![0]!;
const touch = (id: number): string => `UPDATE accounts SET balance = balance WHERE id = ${id}`;

describe("the metrics of several shards", () => {
  test("count a transaction over two of them, phase by phase", LIMIT, async () => {
    const client = await stage.connect();
    for (const sql of ["BEGIN", touch(one(0)), touch(one(1)), "COMMIT"]) await client.query(sql);
    await assert.rejects(client.query("SELECT * FROM nowhere"));
    await client.end();
    const metrics = await scrape();
    for (const [name, value] of Object.entries({
      'pgxa_commits_total{outcome="committed"}': 1,
      'pgxa_commit_phases_total{phases="two"}': 1,
      'pgxa_commit_phase_seconds_count{phase="prepare"}': 1,
      'pgxa_commit_phase_seconds_count{phase="decide"}': 1,
      'pgxa_commit_phase_seconds_count{phase="commit_prepared"}': 1,
      pgxa_decision_log_sync_seconds_count: 1,
      'pgxa_transactions_total{database="bank"}': 2,
      'pgxa_queries_total{database="bank"}': 5,
      'pgxa_server_assignments_total{database="bank"}': 2,
      'pgxa_in_doubt{shard="east"}': 0,
      'pgbouncer_stats_totals_queries_pooled_total{database="bank"}': 5,
    })) {
      assert.equal(metrics.get(name), value, name);
    }
    assert.equal(metrics.get('pgxa_server_connections{database="bank",shard="north",state="idle"}'), 1);
    assert.ok(
      metrics.has("process_cpu_user_seconds_total") && metrics.has("nodejs_eventloop_lag_p99_seconds"),
    );
  });

  test("show an open transaction with its branches", LIMIT, async () => {
    const client = await stage.connect();
    const console = await stage.connect({ database: "pgxa" });
    for (const sql of ["BEGIN", touch(one(0)), `SELECT * FROM accounts WHERE id = ${one(1)}`]) {
      await client.query(sql);
    }
    const { rows } = await console.query("SHOW BRANCHES");
    assert.deepEqual(
      rows.map(({ shard, state, wrote }) => [shard, state, wrote]),
      [
        ["east", "open", true],
        ["north", "open", false],
      ],
    );
    await client.query("ROLLBACK");
    assert.deepEqual((await console.query("SHOW BRANCHES")).rows, []);
    await Promise.all([client.end(), console.end()]);
  });

  test("pass promtool's check", { ...LIMIT, skip: !hasPromtool() }, async () => {
    const input = await (await get("/metrics")).text();
    const { status, stderr } = spawnSync("promtool", ["check", "metrics"], { input, encoding: "utf8" });
    assert.equal(status, 0, stderr);
  });
});

describe("a shutdown", () => {
  test("is told by /ready first, and by /metrics to the end", LIMIT, async () => {
    assert.equal((await get("/ready")).status, 200);
    assert.equal((await get("/startup")).status, 200);
    const client = await stage.connect();
    const holder = await stage.shards[0]!.connect();
    await holder.query("BEGIN; INSERT INTO pledges (account_id, slot) VALUES (-1, 1)");
    await client.query("BEGIN");
    await client.query(`INSERT INTO pledges (account_id, slot) VALUES (${one(0)}, 1)`);
    await client.query(touch(one(1)));
    const commit = client.query("COMMIT").catch(() => {}); // its PREPARE waits for the holder
    const waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    while ((await holder.query(waiting)).rowCount === 0)
      await new Promise((resolve) => setImmediate(resolve));
    const closed = stage.closeProxy();
    const ready = await get("/ready");
    assert.equal(ready.status, 503);
    assert.equal(((await ready.json()) as { draining: boolean }).draining, true);
    assert.equal((await scrape()).get("pgxa_draining"), 1);
    assert.equal((await get("/health")).status, 200);
    await holder.query("ROLLBACK");
    await Promise.all([closed, commit, holder.end()]);
    await assert.rejects(get("/health"));
    await client.end().catch(() => {});
    await stage.openProxy();
    assert.equal((await get("/ready")).status, 200);
  });
});

describe("the log", () => {
  test("has no statement, no value and no password at any level", LIMIT, async () => {
    const lines: string[] = [];
    const log = createLog("debug", { write: (line) => void lines.push(line) });
    const users = [{ name: "postgres", password: "pass-in-clear" }];
    const config = { ...stage.config, metrics: { ...stage.config.metrics, port: 0 } };
    const auth = { method: "scram-sha-256" as const, trustLoopback: false };
    const proxy = await startProxy(
      {
        ...config,
        auth: { ...config.auth, ...auth },
        users: users.map((user) => ({
          ...user,
          mode: undefined,
          clientsMax: undefined,
          poolMax: undefined,
          timeouts: {},
        })),
        transaction: { ...config.transaction, logDirectory: `${stage.home}/other` },
      },
      { log },
    );
    const client = await stage.connect({ port: proxy.port, password: "pass-in-clear" });
    await client.query("BEGIN");
    await client.query("SELECT 'value-in-text', balance FROM accounts WHERE id = $1", [one(0)]);
    await client.query(touch(one(1)));
    await client.query("COMMIT");
    await assert.rejects(client.query("SELECT bad_column FROM accounts WHERE id = 1"));
    await assert.rejects(stage.connect({ port: proxy.port, password: "wrong-password" }));
    await client.end();
    await proxy.stop();
    const text = lines.join("");
    assert.ok(lines.length > 4, text);
    assert.doesNotMatch(text, /pass-in-clear|wrong-password|value-in-text|bad_column|balance|SELECT|UPDATE/);
    for (const line of lines) assert.equal(typeof JSON.parse(line).event, "string");
  });
});

function hasPromtool(): boolean {
  return spawnSync("promtool", ["--version"]).status === 0;
}
