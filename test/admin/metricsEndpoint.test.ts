/** Where Prometheus reads. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { MetricsEndpoint } from "../../src/admin/metricsEndpoint.ts";
import { Metrics } from "../../src/observe/metrics.ts";

const HOST = "127.0.0.1";

async function open(t: TestContext, metrics = new Metrics()) {
  const endpoint = new MetricsEndpoint(metrics);
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

  it("has 404 for everything else", async (t) => {
    const { url } = await open(t);
    for (const [method, path] of [
      ["GET", "/"],
      ["GET", "/metrics/more"],
      ["GET", "/../etc/passwd"],
      ["POST", "/metrics"],
    ] as const) {
      const response = await fetch(url + path, { method });
      assert.equal(response.status, 404, `${method} ${path}`);
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
    const second = new MetricsEndpoint(new Metrics());
    await assert.rejects(second.listen(HOST, port), { code: "EADDRINUSE" });
    await second.stop();
  });

  it("stops at once, though somebody keeps a connection open", async () => {
    const endpoint = new MetricsEndpoint(new Metrics());
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
