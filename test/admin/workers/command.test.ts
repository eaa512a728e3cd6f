/** A parent and its workers over channels: what they know together, and what they do together. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Operations } from "../../../src/admin/operations.ts";
import type { Sources } from "../../../src/admin/views.ts";
import { Command } from "../../../src/admin/workers/command.ts";
import { takeFacts } from "../../../src/admin/workers/facts.ts";
import { Gathering } from "../../../src/admin/workers/gathering.ts";
import { carryOut, databaseOf } from "../../../src/admin/workers/orders.ts";
import { SharedOperations } from "../../../src/admin/workers/sharedOperations.ts";
import { ALL_FACTS, CARRY_OUT, OWN_FACTS } from "../../../src/admin/workers/topics.ts";
import { Fault } from "../../../src/base/fault.ts";
import { Crew, type Member } from "../../../src/fleet/crew.ts";
import { channelPair } from "../../fleet/channelPair.ts";
import { ManualEnvironment } from "../../txn/manualEnvironment.ts";
import { noOperations, sourcesOf } from "../consoleStage.ts";

const MEMORY = { rss: 1, heapTotal: 1, heapUsed: 1, external: 1, arrayBuffers: 1 };

class Stage {
  readonly crew = new Crew();
  readonly environment = new ManualEnvironment();
  /** What workers were told, by their numbers. */
  readonly calls: string[][] = [];
  readonly ends: string[] = [];
  readonly gathering = new Gathering({
    crew: this.crew,
    clock: this.environment.clock,
    memory: () => MEMORY,
  });
  readonly command = new Command({
    crew: this.crew,
    gathering: this.gathering,
    clock: this.environment.clock,
    letEnd: () => void this.ends.push("ends"),
    onReloaded: () => void this.ends.push("reloaded"),
  });

  constructor(size = 2) {
    for (let i = 0; i < size; i += 1) this.start(i);
  }

  /** A worker, with some of what it does replaced. */
  start(index: number, replaced: Partial<Operations> = {}, more: Partial<Sources> = {}) {
    const calls: string[] = [];
    this.calls[index] = calls;
    const operations = { ...noOperations(calls), ...replaced };
    const [channel, parent] = channelPair();
    const sources = { ...sourcesOf(operations), ...more };
    parent.serve(OWN_FACTS, (names) => takeFacts({ sources, counted: async () => [] }, names));
    parent.serve(CARRY_OUT, ({ order, isKnown }) => {
      if (databaseOf(order) !== null && !isKnown) throw new Fault("console.no_database");
      return carryOut(operations, order);
    });
    const member: Member = { index, pid: 100 + index, channel };
    this.crew.join(member);
    return { member, parent, sources, operations: new SharedOperations(operations, parent) };
  }
}

const refuses = (id: "console.resumed" | "config.invalid" | "console.not_paused") => async () => {
  throw new Fault(id);
};

describe("an order", () => {
  it("reaches all workers, whichever console gave it", async () => {
    const stage = new Stage(2);
    const { operations } = stage.start(2);
    await operations.pause();
    await operations.pause("bank");
    await operations.resume("bank");
    await operations.disable("bank");
    await operations.enable("bank");
    await operations.reconnect();
    await operations.waitClose();
    await operations.kill("bank");
    await operations.killClient(7);
    await operations.set("pool.max", "30");
    await operations.reload();
    await operations.suspend();
    const all = ["pause()", "pause(bank)", "resume(bank)", "disable(bank)", "enable(bank)", "reconnect()"];
    const rest = ["waitClose()", "kill(bank)", "killClient(7)", "set(pool.max,30)", "reload()", "suspend()"];
    assert.deepEqual(stage.calls, Array(3).fill([...all, ...rest]));
    assert.deepEqual(stage.ends, ["reloaded"]);
  });

  it("to end reaches all, and nobody follows who ends from then on", async () => {
    const stage = new Stage(1);
    const { operations } = stage.start(1);
    await operations.drain();
    await operations.shutdown("immediate");
    assert.deepEqual(stage.ends, ["ends", "ends"]);
    assert.deepEqual(stage.calls, Array(2).fill(["drain()", "shutdown(immediate)"]));
  });

  it("to end without clients waits until no worker has one", async () => {
    const stage = new Stage(0);
    let clients = sourcesOf().clients();
    stage.start(0, {}, { clients: () => [] });
    const { operations } = stage.start(1, {}, { clients: () => clients });
    await operations.shutdown("wait_for_clients");
    await stage.environment.pass(1_000);
    assert.deepEqual([stage.ends, stage.calls], [[], [[], []]]);
    clients = [];
    await stage.environment.pass(200);
    assert.deepEqual(stage.calls, Array(2).fill(["shutdown(immediate)"]));
    assert.deepEqual(stage.ends, ["ends"]);
  });

  it("about a transaction in doubt is this worker's, which knows whose it is", async () => {
    const stage = new Stage();
    const { operations } = stage.start(2);
    const request = { gtrid: "f:c:1:1", outcome: "abort", isConfirmed: true, by: "ann", reason: "" } as const;
    const remarks = await operations.resolve(request);
    assert.deepEqual(remarks, [{ shard: "east", gid: "g", says: "committed" }]);
    assert.deepEqual(
      stage.calls.map(({ length }) => length),
      [0, 0, 1],
    );
  });

  it("is refused as one worker would refuse it where all do", async () => {
    const stage = new Stage(0);
    for (const i of [0, 1]) stage.start(i, { reload: refuses("config.invalid") });
    await assert.rejects(stage.command.give({ verb: "reload" }), { id: "config.invalid" });
    await assert.rejects(stage.command.give({ verb: "pause", database: "nowhere" }), { sqlstate: "3D000" });
    assert.deepEqual(stage.ends, []);
  });

  it("that some workers refuse says which, and why", async () => {
    const stage = new Stage(2);
    stage.start(2, { reload: refuses("config.invalid") });
    await assert.rejects(stage.command.give({ verb: "reload" }), (error: Fault) => {
      assert.deepEqual([error.id, error.message], ["fleet.half_done", "RELOAD was not done by all workers"]);
      assert.match(error.detail!, /^Worker 2 refused: .*\nDone by worker 0, 1\.$/);
      return true;
    });
  });

  it("to end a client is done if one worker had it", async () => {
    const stage = new Stage(0);
    const none = async () => {
      throw new Fault("console.no_client");
    };
    stage.start(0, { killClient: none });
    await assert.rejects(stage.command.give({ verb: "killClient", id: 1 }), { id: "console.no_client" });
    stage.start(1);
    await stage.command.give({ verb: "killClient", id: 1 });
  });

  it("to pause is over in all when it is taken back, and a resume again does what was left", async () => {
    const stage = new Stage(1);
    stage.start(1, { pause: refuses("console.resumed"), resume: refuses("console.not_paused") });
    await assert.rejects(stage.command.give({ verb: "pause" }), { id: "console.resumed" });
    await stage.command.give({ verb: "resume", database: "bank" });
  });

  it("does not wait for a worker that dies, and without any says so", async () => {
    const stage = new Stage(1);
    const { member } = stage.start(1, { pause: () => new Promise(() => {}) });
    const paused = stage.command.give({ verb: "pause" });
    await stage.environment.pass(0);
    stage.crew.leave(member);
    await paused;
    stage.crew.leave(stage.crew.at(0)!);
    await assert.rejects(stage.command.give({ verb: "pause" }), { sqlstate: "57P01" });
  });

  it("stands for a worker that comes later, as long as it does", async () => {
    const stage = new Stage(1);
    const orders = [
      { verb: "pause" },
      { verb: "pause" },
      { verb: "pause", database: "bank" },
      { verb: "resume", database: "bank" },
      { verb: "disable", database: "bank" },
      { verb: "set", option: "pool.max", value: "30" },
      { verb: "set", option: "pool.max", value: "31" },
      { verb: "set", option: "log.level", value: "warn" },
      { verb: "reconnect" },
    ] as const;
    for (const order of orders) await stage.command.give(order);
    const briefed = async (index: number): Promise<readonly string[]> => {
      await stage.crew.prepare(stage.start(index).member);
      return stage.calls[index]!;
    };
    const sets = ["set(pool.max,31)", "set(log.level,warn)"];
    assert.deepEqual(await briefed(1), ["pause()", "disable(bank)", ...sets]);
    for (const verb of ["resume", "reload"] as const) await stage.command.give({ verb });
    await stage.command.give({ verb: "enable", database: "bank" });
    assert.deepEqual(await briefed(2), []);
  });

  it("that all have refused does not stand", async () => {
    const stage = new Stage(1);
    const order = { verb: "set", option: "pool.max" } as const;
    await stage.command.give({ ...order, value: "30" });
    stage.start(0, { set: refuses("config.invalid") });
    await assert.rejects(stage.command.give({ ...order, value: "0" }), { id: "config.invalid" });
    await stage.crew.prepare(stage.start(1).member);
    assert.deepEqual(stage.calls[1], ["set(pool.max,30)"]);
  });
});

describe("the facts of all workers", () => {
  const queries = async (stage: Stage): Promise<number> => {
    const { traffic } = await stage.gathering.gather(["traffic"]);
    return traffic!.find(({ name }) => name === "bank")!.totals.queries;
  };

  it("are the same for every worker that asks", async () => {
    const stage = new Stage(1);
    const { parent } = stage.start(1);
    const facts = await parent.ask(ALL_FACTS, ["clients", "handshakes", "memory", "workers"]);
    assert.equal(facts.clients!.length, 4);
    assert.equal(facts.handshakes, 2);
    assert.equal(facts.memory!.rss, 201);
    assert.deepEqual(facts.workers, { running: 2, restarts: 0 });
  });

  it("never count backwards, whoever dies", async () => {
    const stage = new Stage(1);
    const { member } = stage.start(1);
    assert.equal(await queries(stage), 60);
    stage.crew.leave(member);
    assert.equal(await queries(stage), 60);
    stage.start(1);
    assert.equal(await queries(stage), 90);
    assert.equal((await stage.gathering.gather(["workers"])).workers!.restarts, 1);
  });

  it("do not wait for a worker that is silent, which counts as it did", async () => {
    const stage = new Stage(1);
    let isSilent = false;
    const [channel, parent] = channelPair();
    const { sources } = stage.start(3);
    parent.serve(OWN_FACTS, (names) =>
      isSilent ? new Promise(() => {}) : takeFacts({ sources, counted: async () => [] }, names),
    );
    stage.crew.join({ index: 1, pid: 1, channel });
    assert.equal(await queries(stage), 90);
    isSilent = true;
    const asked = Promise.all([queries(stage), stage.gathering.gather(["clients"])]);
    await stage.environment.pass(5_000);
    const [count, { clients }] = await asked;
    assert.deepEqual([count, clients!.length], [90, 4]);
  });

  it("are those that were heard last where no worker is there, if there must be some", async () => {
    const stage = new Stage(1);
    await stage.gathering.gather(["limits", "shards"]);
    stage.crew.leave(stage.crew.at(0)!);
    const { limits, shards, clients } = await stage.gathering.gather(["limits", "shards", "clients"]);
    assert.deepEqual([limits!.clientsMax, shards!.length, clients], [10_000, 1, []]);
  });
});
