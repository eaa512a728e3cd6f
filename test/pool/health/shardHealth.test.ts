/** What follows from what is heard of a shard's servers, in a world whose time a test makes. */
import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { shardId } from "../../../src/base/brands.ts";
import type { HealthConfig } from "../../../src/config/config.ts";
import { silentLog } from "../../../src/observe/log.ts";
import type { HostSample, ProbeResult } from "../../../src/pool/health/hostProbe.ts";
import { ShardHealth } from "../../../src/pool/health/shardHealth.ts";
import { ShardMonitor } from "../../../src/pool/health/shardMonitor.ts";
import { ManualEnvironment } from "../../txn/manualEnvironment.ts";

const CONFIG: HealthConfig = {
  intervalMs: 2_000,
  timeoutMs: 500,
  failures: 3,
  backoffMinMs: 100,
  backoffMaxMs: 1_000,
  giveUpMs: 5_000,
};
const HOSTS = [
  { host: "a", port: 1 },
  { host: "b", port: 2 },
];
const SAMPLE: HostSample = {
  role: "primary",
  systemIdentifier: "7",
  timeline: 1,
  writtenBytes: 100,
  replayedBytes: null,
  replayAgeSeconds: null,
  freePreparedSlots: 10,
  latencyMs: 1,
};
const STANDBY: HostSample = {
  ...SAMPLE,
  role: "standby",
  writtenBytes: null,
  replayedBytes: 90,
  replayAgeSeconds: 2,
};
const answered = (sample: Partial<HostSample> = {}): ProbeResult => ({
  kind: "answered",
  sample: { ...SAMPLE, ...sample },
});
const SILENT: ProbeResult = { kind: "failed", reason: { kind: "silent", timeoutMs: 500 } };

describe("the health of a shard", () => {
  let world: ManualEnvironment;
  let health: ShardHealth;
  let heard: string[];

  const create = (hosts = HOSTS): ShardHealth => {
    const shard = { ...hosts[0]!, hosts, id: shardId("east"), database: "d", user: "u", password: undefined };
    const made = new ShardHealth({ shard, config: CONFIG, environment: world, log: silentLog });
    made.watch({
      onRerouted: () => heard.push("rerouted"),
      onSuspected: () => heard.push("suspected"),
      onRefusing: (fault) => heard.push(`refusing ${fault().sqlstate}`),
      onGivenUp: (host) => heard.push(`given up ${host}`),
    });
    return made;
  };

  beforeEach(() => {
    world = new ManualEnvironment();
    heard = [];
    health = create();
  });

  it("is at the primary, wherever that is in the list", () => {
    health.noteProbe(0, { kind: "answered", sample: STANDBY });
    health.noteProbe(1, answered());
    assert.deepEqual(health.endpoint, HOSTS[1]);
    assert.deepEqual(heard, ["rerouted"]);
    assert.equal(health.isCurrent(0), false);
    assert.deepEqual(health.hosts[0]!.lag, { bytes: 10, seconds: 2 });
  });

  it("refuses at once while its primary is down, says since when, and gives up who waits after a while", async () => {
    health.noteProbe(0, answered());
    for (let i = 0; i < CONFIG.failures; i += 1) health.noteProbe(0, SILENT);
    assert.deepEqual(heard, ["suspected", "suspected", "refusing 57P03"]);
    assert.equal(health.isSilent, true);
    const fault = health.admit();
    assert.equal(fault?.sqlstate, "57P03");
    assert.equal(fault?.detail, "a:1: no answer within 500 ms.");
    assert.match(fault?.hint ?? "", /^It has been down since 1970-01-01T00:00:00.000Z \(0 s\)/);
    await world.pass(CONFIG.giveUpMs);
    assert.equal(heard.at(-1), "given up 0");
  });

  it("does not give up who waits for a server that is back", async () => {
    for (let i = 0; i < CONFIG.failures; i += 1) health.noteProbe(0, SILENT);
    health.noteProbe(0, answered());
    assert.equal(health.refusal, null);
    await world.pass(2 * CONFIG.giveUpMs);
    assert.ok(!heard.includes("given up 0"));
  });

  it("gives up at once who waits for a silent server over which another was promoted", () => {
    health.noteProbe(0, answered());
    health.noteProbe(0, SILENT);
    health.noteProbe(1, answered({ timeline: 2 }));
    assert.deepEqual(health.endpoint, HOSTS[1]);
    assert.deepEqual(heard.slice(-2), ["rerouted", "given up 0"]);
  });

  it("leaves those alone who are on an old primary that answers", () => {
    health.noteProbe(0, answered());
    health.noteProbe(1, answered({ timeline: 2 }));
    health.noteProbe(0, answered());
    health.noteLost(0, "terminated");
    assert.ok(!heard.some((one) => one.startsWith("given up")));
    assert.equal(health.hosts[0]!.fitness, "superseded");
  });

  it("stays with the new primary when the old one comes back", () => {
    health.noteProbe(1, answered({ timeline: 2 }));
    health.noteProbe(0, answered({ timeline: 1 }));
    for (let i = 0; i < CONFIG.failures; i += 1) health.noteProbe(1, SILENT);
    assert.deepEqual(health.endpoint, HOSTS[1]);
    assert.equal(health.judge(0, { ...SAMPLE, timeline: 1 }), "superseded");
  });

  it("never leads to another cluster, though it is the only server", () => {
    const alone = create([HOSTS[0]!]);
    alone.noteProbe(0, answered());
    alone.noteProbe(0, answered({ systemIdentifier: "8" }));
    assert.equal(alone.isCurrent(0), false);
    assert.deepEqual(alone.connectOrder(), []);
  });

  it("takes a single server as it is, a standby too", () => {
    const alone = create([HOSTS[0]!]);
    alone.noteProbe(0, { kind: "answered", sample: STANDBY });
    assert.equal(alone.isCurrent(0), true);
    assert.equal(alone.hasPrimary, true);
  });

  it("lets two trials through after the pause, and one that succeeds closes the circuit", async () => {
    for (let i = 0; i < CONFIG.failures; i += 1) health.noteUnconnected();
    assert.equal(health.breaker, "open");
    await world.pass(CONFIG.backoffMaxMs);
    assert.deepEqual([health.admit(), health.admit()], [null, null]);
    assert.equal(health.admit()?.sqlstate, "57P03");
    health.noteConnected(0);
    assert.equal(health.breaker, "closed");
  });

  it("is up when a server turns the monitor away", () => {
    health.noteProbe(0, { kind: "turnedAway", says: "too many clients (53300)" });
    assert.equal(health.state, "up");
  });
});

describe("the monitor of a shard", () => {
  it("asks at the interval, at once when something went wrong, and with growing pauses while it does", async () => {
    const world = new ManualEnvironment();
    const shard = { ...HOSTS[0]!, id: shardId("east"), database: "d", user: "u", password: undefined };
    const health = new ShardHealth({ shard, config: CONFIG, environment: world, log: silentLog });
    let result: ProbeResult = answered();
    let asked = 0;
    const ask = async (): Promise<ProbeResult> => {
      asked += 1;
      return result;
    };
    const monitor = new ShardMonitor({ health, environment: world }, [{ ask, close: async () => {} }]);
    await monitor.start();
    assert.equal(world.nextMs, CONFIG.intervalMs);
    await world.pass(CONFIG.intervalMs);
    assert.equal(asked, 2);
    result = SILENT;
    health.noteLost(0, "terminated");
    assert.equal(world.nextMs, 0);
    const pauses: (number | null)[] = [];
    for (let i = 0; i < 5; i += 1) {
      await world.pass(world.nextMs!);
      // Half of what full jitter may take, for chance here is one half; the shard's own timer is longer.
      pauses.push(world.nextMs);
    }
    assert.deepEqual(pauses, [150, 250, 450, 550, 550]);
    assert.equal(health.state, "down");
    result = answered();
    await world.pass(1_000);
    assert.equal(health.state, "up");
    await monitor.close();
    health.close();
    assert.equal(world.nextMs, null);
  });
});
