/** What the parent of workers tells Prometheus and probes. */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import type { Sources } from "../../src/admin/views.ts";
import { takeFacts } from "../../src/admin/workers/facts.ts";
import { ownFamilies } from "../../src/admin/workers/scraping.ts";
import { OWN_FACTS } from "../../src/admin/workers/topics.ts";
import { createFleetView } from "../../src/cli/composeFleetView.ts";
import { parseConfig } from "../../src/config/load.ts";
import { Crew } from "../../src/fleet/crew.ts";
import { Metrics } from "../../src/observe/metrics.ts";
import { sourcesOf } from "../admin/consoleStage.ts";
import { channelPair } from "../fleet/channelPair.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";

const CONFIG = parseConfig(
  "database: bank\nshards: [{ name: east, host: db1, user: app }]\nauth: { method: trust }\nworkers: 2\n",
  "pgxa.yaml",
  {},
);

async function open(t: TestContext) {
  const crew = new Crew();
  const environment = new ManualEnvironment();
  const view = createFleetView(crew, CONFIG, {
    clock: environment.clock,
    letEnd() {},
    onReloaded() {},
  });
  const port = await view.endpoint.listen("127.0.0.1", 0);
  t.after(() => view.endpoint.stop());
  const get = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`);
  const status = async (path: string): Promise<number> => (await get(path)).status;
  const start = (index: number, more: Partial<Sources> = {}) => {
    const [channel, parent] = channelPair();
    const metrics = new Metrics();
    metrics.deadlocks.inc({ size: "2", cause: "lock" });
    const sources = { ...sourcesOf(), ...more };
    const counted = () => ownFamilies(metrics.registry);
    parent.serve(OWN_FACTS, (names) => takeFacts({ sources, counted }, names));
    const member = { index, pid: 100 + index, channel };
    crew.join(member);
    return member;
  };
  return { crew, view, get, status, start };
}

describe("the endpoint of the workers' parent", () => {
  it("has the metrics of all, also of those that are gone", async (t) => {
    const { crew, get, start } = await open(t);
    const lines = async (): Promise<readonly string[]> => (await (await get("/metrics")).text()).split("\n");
    const [first] = [start(0), start(1)];
    const both = await lines();
    const counted = [
      'pgxa_queries_total{database="bank"} 60',
      'pgxa_query_seconds_count{database="bank"} 2',
      'pgxa_deadlocks_total{size="2",cause="lock"} 2',
      "pgxa_deadlock_probes_total 0",
      'pgxa_commits_total{outcome="committed"} 8',
    ];
    const present = [
      'pgxa_clients{database="bank",state="waiting"} 2',
      "pgxa_workers 2",
      "pgxa_clients_max 10000",
    ];
    for (const line of [...counted, ...present, "pgxa_worker_restarts_total 0"])
      assert.ok(both.includes(line), line);
    crew.leave(first);
    const one = await lines();
    for (const line of [...counted, 'pgxa_clients{database="bank",state="waiting"} 1', "pgxa_workers 1"])
      assert.ok(one.includes(line), line);
    crew.leave(crew.at(1)!);
    const none = await lines();
    for (const line of [...counted, "pgxa_workers 0", "pgxa_clients_max 10000"])
      assert.ok(none.includes(line), line);
  });

  it("wants clients while one worker can serve them", async (t) => {
    const { crew, view, status, start, get } = await open(t);
    const first = start(0);
    assert.deepEqual(
      [await status("/health"), await status("/startup"), await status("/ready")],
      [200, 503, 503],
    );
    view.onServing();
    assert.deepEqual([await status("/startup"), await status("/ready")], [200, 200]);
    start(1);
    crew.leave(first);
    assert.equal(await status("/ready"), 200);
    crew.leave(crew.at(1)!);
    assert.deepEqual([await status("/ready"), await status("/health")], [503, 200]);
    start(0);
    view.onDraining();
    const draining = await get("/ready");
    assert.equal(draining.status, 503);
    assert.equal(((await draining.json()) as { draining: boolean }).draining, true);
  });
});
