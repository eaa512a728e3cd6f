/** Where Prometheus reads. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { MetricsEndpoint, type Probes } from "../../src/admin/metricsEndpoint.ts";
import { probesOf } from "../../src/admin/readiness.ts";
import { Metrics } from "../../src/observe/metrics.ts";
import { sourcesOf } from "./consoleStage.ts";

const HOST = "127.0.0.1";
const WELL: Probes = {
  isStarted: () => true,
  readiness: () => ({ ready: true, draining: false, shards: [] }),
};

async function open(t: TestContext, metrics = new Metrics(), probes = WELL) {
  const endpoint = new MetricsEndpoint(metrics.registry, probes);
  const port = await endpoint.listen(HOST, 0);
  t.after(() => endpoint.stop());
  return { endpoint, port, url: `http://${HOST}:${port}` };
}

describe("the metrics endpoint", () => {
  it("answers GET /metrics with every instrument", async (t) => {
    const metrics = new Metrics();
    metrics.deadlocks.inc({ size: "2", cause: "lock" }, 3);
    metrics.deadlockProbes.inc();
    metrics.deadlockDetection.observe(0.06);
    const { url } = await open(t, metrics);
    const response = await fetch(`${url}/metrics`);
    assert.equal(response.status, 200);
    assert.match(response.headers.get("content-type")!, /^text\/plain; version=/);
    const text = await response.text();
    assert.match(text, /^pgxa_deadlocks_total\{size="2",cause="lock"\} 3$/m);
    assert.match(text, /^pgxa_deadlock_probes_total 1$/m);
    assert.match(text, /^pgxa_deadlock_detection_seconds_bucket\{le="0.075"\} 1$/m);
  });

  it("has 404 for everything else, and only reads", async (t) => {
    const { url } = await open(t);
    for (const [method, path, status] of [
      ["GET", "/", 404],
      ["GET", "/metrics/more", 404],
      ["GET", "/../etc/passwd", 404],
      ["POST", "/metrics", 405],
      ["HEAD", "/metrics", 200],
      ["GET", "/metrics?name=x", 200],
    ] as const) {
      const response = await fetch(url + path, { method });
      assert.equal(response.status, status, `${method} ${path}`);
      await response.text();
    }
  });

  it("counts for each proxy by itself", async (t) => {
    const [one, other] = [new Metrics(), new Metrics()];
    one.deadlockProbes.inc();
    const { url } = await open(t, other);
    assert.match(await (await fetch(`${url}/metrics`)).text(), /^pgxa_deadlock_probes_total 0$/m);
  });

  it("says why it cannot be opened", async (t) => {
    const { port } = await open(t);
    const second = new MetricsEndpoint(new Metrics().registry, WELL);
    await assert.rejects(second.listen(HOST, port), { code: "EADDRINUSE" });
    await second.stop();
  });

  it("stops at once, though somebody keeps a connection open", async () => {
    const endpoint = new MetricsEndpoint(new Metrics().registry, WELL);
    const port = await endpoint.listen(HOST, 0);
    const idle = connect(port, HOST);
    await new Promise((resolve) => idle.once("connect", resolve));
    const closed = new Promise((resolve) => idle.once("close", resolve));
    idle.on("error", () => {});
    idle.resume();
    await endpoint.stop();
    await closed;
    await assert.rejects(fetch(`http://${HOST}:${port}/metrics`));
    await endpoint.stop();
  });
});

describe("the probes", () => {
  const status = async (url: string): Promise<readonly [number, unknown]> => {
    const response = await fetch(url);
    return [response.status, await response.json()];
  };

  it("say that it lives, whatever else", async (t) => {
    const { url } = await open(t, new Metrics(), { ...WELL, isStarted: () => false });
    assert.deepEqual(await status(`${url}/health`), [200, { alive: true }]);
    assert.deepEqual(await status(`${url}/startup`), [503, { started: false }]);
  });

  it("say shard by shard whether clients should come", async (t) => {
    const sources = sourcesOf();
    const { url } = await open(
      t,
      new Metrics(),
      probesOf(sources, () => true),
    );
    const shards = [{ name: "east", state: "suspect", reason: "no answer" }];
    assert.deepEqual(await status(`${url}/ready`), [200, { ready: true, draining: false, shards }]);
  });

  it("keep clients away before the start, in a drain, and while no shard is up", async (t) => {
    const down = sourcesOf()
      .shards()
      .map((shard) => ({
        ...shard,
        health: { state: "down", reason: "refused", breaker: "open" } as const,
      }));
    for (const [sources, isStarted] of [
      [sourcesOf(), false],
      [{ ...sourcesOf(), isDraining: true }, true],
      [{ ...sourcesOf(), shards: () => down }, true],
    ] as const) {
      const { url } = await open(
        t,
        new Metrics(),
        probesOf(sources, () => isStarted),
      );
      assert.equal((await status(`${url}/ready`))[0], 503);
    }
  });
});
