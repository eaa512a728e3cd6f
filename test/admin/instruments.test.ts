/** The metrics: that Prometheus takes them, what they say, and that all that is drawn of them exists. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, it } from "node:test";
import { INSTRUMENTS, registerAll } from "../../src/admin/instruments.ts";
import { PEER_INSTRUMENTS } from "../../src/admin/peerInstruments.ts";
import { Buckets } from "../../src/observe/buckets.ts";
import { Metrics } from "../../src/observe/metrics.ts";
import { OTHER, Traffic } from "../../src/observe/traffic.ts";
import { sourcesOf } from "./consoleStage.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const NAMES = new Set([...INSTRUMENTS, ...PEER_INSTRUMENTS].map(({ name }) => name));

async function scrape(sources = sourcesOf()): Promise<string> {
  const { registry } = new Metrics();
  registerAll(registry, [...INSTRUMENTS, ...PEER_INSTRUMENTS], sources);
  return registry.metrics();
}

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly lines: readonly string[];
}

const familiesOf = (text: string): readonly Family[] =>
  text
    .trim()
    .split(/\n\n/)
    .map((block) => {
      const [help = "", type = "", ...lines] = block.split("\n");
      const [, name = ""] = /^# HELP (\S+) \S/.exec(help) ?? [];
      return { name, help, type: type.replace(`# TYPE ${name} `, ""), lines };
    });

describe("metrics", () => {
  it("have a help, a type, and lines of the text format", async () => {
    for (const { name, help, type, lines } of familiesOf(await scrape())) {
      assert.match(help, /^# HELP [a-z][a-z0-9_]* [A-Z0-9a-z]/, help);
      assert.match(type, /^(counter|gauge|histogram)$/, name);
      for (const line of lines) {
        assert.match(
          line,
          /^[a-z][a-z0-9_]*(\{([a-z_]+="[^"\n]*",?)+\})? (-?\d+(\.\d+)?(e-?\d+)?|Nan)$/,
          line,
        );
        assert.ok(line.startsWith(name), line);
      }
      assert.equal(
        new Set(lines.map((line) => line.split(" ", 1)[0])).size,
        lines.length,
        `${name} has a line twice`,
      );
    }
  });

  it("are called as Prometheus wants it", async () => {
    for (const { name, type } of familiesOf(await scrape()).filter((one) => one.name.startsWith("pgxa_"))) {
      assert.equal(name.endsWith("_total"), type === "counter", name);
      assert.doesNotMatch(name, /_(ms|us|milliseconds|kilobytes|mb|count|sum|bucket)$/, name);
      if (type === "histogram") assert.match(name, /_seconds$/, name);
    }
  });

  it("say what was counted", async () => {
    const lines = (await scrape()).split("\n");
    for (const line of [
      'pgxa_queries_total{database="bank"} 30',
      'pgxa_errors_total{database="bank",sqlstate_class="23"} 1',
      'pgxa_login_failures_total{reason="login.wrong_password"} 1',
      'pgxa_clients{database="bank",state="active"} 1',
      'pgxa_clients{database="bank",state="waiting"} 1',
      "pgxa_longest_wait_seconds 2.0005",
      'pgxa_server_connections{database="bank",shard="east",state="login"} 1',
      'pgxa_shard_state{shard="east",state="suspect"} 1',
      'pgxa_breaker_state{shard="east",state="open"} 0',
      'pgxa_commits_total{outcome="committed"} 4',
      'pgxa_in_doubt{shard="east"} 1',
      'pgxa_in_doubt_oldest_seconds{shard="east"} 60',
      'pgxa_query_seconds_bucket{database="bank",le="0.00025"} 0',
      'pgxa_query_seconds_bucket{database="bank",le="0.0005"} 1',
      'pgxa_query_seconds_bucket{database="bank",le="+Inf"} 1',
      'pgxa_query_seconds_count{database="bank"} 1',
      'pgbouncer_stats_totals_queries_pooled_total{database="bank"} 30',
      'pgbouncer_pools_client_waiting_connections{database="bank",user="ann"} 1',
      "pgbouncer_up 1",
    ]) {
      assert.ok(lines.includes(line), line);
    }
  });

  it("cut off names that clients choose", async () => {
    const traffic = new Traffic();
    for (let i = 0; i < 300; i += 1) traffic.of(`db${i}`, `user${i}`).totals.queries += 1;
    const [one] = sourcesOf().databases();
    const databases = Array.from({ length: 300 }, (_, i) => ({ ...one!, name: `db${i}` }));
    const text = await scrape({ ...sourcesOf(), traffic, databases: () => databases });
    const queries = text.split("\n").filter((line) => line.startsWith("pgxa_queries_total{"));
    assert.equal(queries.length, 101);
    assert.ok(queries.includes(`pgxa_queries_total{database="${OTHER}"} 200`));
    const idle = text.split("\n").filter((line) => /^pgxa_server_connections\{.*state="login"/.test(line));
    assert.equal(idle.length, 101);
    assert.ok(idle.some((line) => line.includes(OTHER) && line.endsWith(" 200")));
  });

  it("have every name that pgbouncer_exporter has", () => {
    // Those of its metrics page, by their groups.
    const names: Readonly<Record<string, string>> = {
      databases: "pool_size reserve_pool max_connections current_connections paused disabled",
      stats_totals:
        "queries_pooled_total queries_duration_seconds_total received_bytes_total sent_bytes_total queries_total " +
        "client_wait_seconds_total sql_transactions_pooled_total server_in_transaction_seconds_total " +
        "client_parses_total server_parses_total binds_total server_assignments_total",
      pools:
        "client_active_connections client_active_cancel_connections client_waiting_connections " +
        "client_waiting_cancel_connections server_active_connections server_active_cancel_connections " +
        "server_being_canceled_connections server_idle_connections server_used_connections " +
        "server_testing_connections server_login_connections client_maxwait_seconds",
      "":
        "databases users pools free_clients used_clients login_clients free_servers used_servers cached_dns_names " +
        "cached_dns_zones in_flight_dns_queries config_max_client_connections config_max_user_connections " +
        "client_connections version_info up",
    };
    for (const [group, list] of Object.entries(names)) {
      for (const name of list.split(" ")) {
        const full = ["pgbouncer", group, name].filter((part) => part !== "").join("_");
        assert.ok(NAMES.has(full), full);
      }
    }
  });
});

describe("config/grafana/pgxa.json", () => {
  it("draws nothing that is not there", async () => {
    const text = readFileSync(join(ROOT, "config/grafana/pgxa.json"), "utf8");
    const dashboard = JSON.parse(text) as {
      readonly panels: readonly {
        readonly title: string;
        readonly targets?: readonly { readonly expr: string }[];
      }[];
    };
    const known = new Set(familiesOf(await scrape()).map(({ name }) => name));
    const drawn = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    assert.ok(drawn.length > 8);
    for (const expr of drawn) {
      const used = [...expr.matchAll(/\bpgxa_\w+/g)].map(([name]) => name);
      assert.ok(used.length > 0, expr);
      for (const name of used) {
        assert.ok(
          known.has(name) || known.has(name.replace(/_(bucket|sum|count)$/, "")),
          `${name} of ${expr}`,
        );
      }
    }
  });
});

describe("a histogram of plain numbers", () => {
  it("puts a duration into the first bucket that holds it", () => {
    const buckets = new Buckets([1, 10]);
    for (const ms of [0, 1, 1.1, 10, 11, 1e9]) buckets.observe(ms);
    assert.deepEqual([...buckets.counts], [2, 2, 2]);
    assert.equal(buckets.count, 6);
    assert.equal(buckets.sumMs, 1_000_000_023.1);
  });
});
