/** `pgxa up` with several workers: one port, and whatever becomes of one of them, one pgxa. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type pg from "pg";
import { parse, stringify } from "yaml";
import { areGone, isAlive, signalProcess } from "../../src/cli/osProcess.ts";
import { workerOf } from "../../src/proxy/clientRegistry.ts";
import { RestartStage } from "./restartStage.ts";

const TIMEOUT = { timeout: 240_000 };
const PATIENCE_MS = 60_000;
const SIZE = 2;

const workerOfClient = (client: pg.Client): number =>
  workerOf((client as unknown as { processID: number }).processID, SIZE);

describe("pgxa with two workers", () => {
  let stage: RestartStage;

  before(async () => {
    const config = { workers: SIZE, listen: { port: 0, unix_directory: "." }, auth: { method: "trust" } };
    stage = await RestartStage.open({ shards: 1, config });
  }, TIMEOUT);
  after(() => stage?.stop(), TIMEOUT);
  beforeEach(() => stage.start(), TIMEOUT);
  afterEach(() => stage.stopPgxa(), TIMEOUT);

  /** A client of each worker. */
  async function oneOfEach(options: pg.ClientConfig = {}): Promise<readonly pg.Client[]> {
    const found: pg.Client[] = [];
    await stage.until(async () => {
      const client = await stage.connect(options);
      const worker = workerOfClient(client);
      if (found[worker] === undefined) found[worker] = client;
      else await client.end();
      return found.filter((one) => one !== undefined).length === SIZE;
    }, "every worker has a client");
    return found;
  }

  test("lets clients in by all of them, at the port and at the Unix socket", TIMEOUT, async () => {
    for (const host of ["127.0.0.1", stage.stage.home]) {
      for (const client of await oneOfEach({ host })) {
        assert.deepEqual((await client.query("SELECT 42 AS answer")).rows, [{ answer: 42 }]);
        await client.end();
      }
    }
  });

  test("replaces one that is killed, and clients of the other do not notice", TIMEOUT, async () => {
    const [lost, kept] = (await oneOfEach()) as [pg.Client, pg.Client];
    await kept.query("BEGIN");
    const killed = stage.workers.get(0)!;
    signalProcess(killed, "SIGKILL");
    await assert.rejects(lost.query("SELECT 1"));
    assert.deepEqual((await kept.query("SELECT 1 AS one")).rows, [{ one: 1 }]);
    await stage.until(() => stage.workers.get(0) !== killed, "another is started");
    assert.equal(stage.count("worker.ended"), 1);
    for (const client of await oneOfEach()) await client.end();
    await kept.query("COMMIT");
    await kept.end();
  });

  test("lets those who connect while one is dead wait for the next", TIMEOUT, async () => {
    const killed = stage.workers.get(1)!;
    signalProcess(killed, "SIGKILL");
    await stage.until(() => !isAlive(killed), "it is dead");
    const clients = await Promise.all(Array.from({ length: 12 }, () => stage.connect()));
    assert.deepEqual(new Set(clients.map(workerOfClient)), new Set([0, 1]));
    for (const client of clients) await client.end();
  });

  test("starts one that died with the configuration that was read last", TIMEOUT, async () => {
    const config = parse(stage.stage.configText) as { listen: object };
    stage.write(stringify({ ...config, limits: { message_bytes_max: "1MB" } }));
    signalProcess(stage.pid, "SIGHUP");
    await stage.until(() => stage.count("config.reloaded") === SIZE + 1, "all have read it");
    stage.write(stringify({ ...config, limits: { message_bytes_max: "2MB" } }));
    signalProcess(stage.workers.get(0)!, "SIGKILL");
    await stage.until(() => stage.count("proxy.listening") === SIZE + 1, "another serves");
    for (const client of await oneOfEach()) {
      client.on("error", () => {});
      await assert.rejects(client.query(`SELECT '${"x".repeat(1_200_000)}'`), /message|terminated/);
    }
    stage.write(stage.stage.configText);
  });

  test("ends with SIGTERM when the transactions of all have ended", TIMEOUT, async () => {
    const clients = await oneOfEach();
    for (const client of clients) await client.query("BEGIN");
    const path = join(stage.stage.home, `.s.PGSQL.${stage.port}`);
    assert.ok(existsSync(path));
    signalProcess(stage.pid, "SIGTERM");
    await stage.until(() => stage.count("proxy.draining") === SIZE, "all are about to end");
    for (const client of clients) {
      assert.deepEqual((await client.query("SELECT 1 AS one")).rows, [{ one: 1 }]);
      await client.query("COMMIT");
    }
    assert.equal(await stage.exit(), 0);
    assert.ok(!existsSync(path), "the Unix socket is gone");
    assert.ok(!existsSync(join(stage.stage.home, "pgxa.pid")), "the pid file is gone");
    assert.ok([...stage.workers.values()].every((pid) => !isAlive(pid)));
  });

  test("has no workers left when its parent was killed", TIMEOUT, async () => {
    const workers = [...stage.workers.values()];
    signalProcess(stage.pid, "SIGKILL");
    assert.ok(await areGone(workers, PATIENCE_MS));
    await assert.rejects(stage.connect(), { code: "ECONNREFUSED" });
  });

  test("ends at once with a second signal", TIMEOUT, async () => {
    const [client] = (await oneOfEach()) as [pg.Client];
    await client.query("BEGIN");
    signalProcess(stage.pid, "SIGTERM");
    await stage.until(() => stage.count("proxy.draining") === SIZE, "they wait for the transaction");
    await stage.until(() => {
      signalProcess(stage.pid, "SIGTERM");
      return !isAlive(stage.pid);
    }, "it has ended");
    assert.equal(await stage.exit(), 130);
    assert.ok(await areGone([...stage.workers.values()], PATIENCE_MS));
  });

  test(
    "stays where a terminal sends Ctrl-C to every process, until its parent says so",
    TIMEOUT,
    async () => {
      for (const pid of stage.workers.values())
        for (const signal of ["SIGHUP", "SIGTERM", "SIGINT"] as const) signalProcess(pid, signal);
      for (const client of await oneOfEach()) await client.end();
      assert.equal(stage.count("worker.ended"), 0);
    },
  );

  test("leaves nothing open to who connects and says nothing", TIMEOUT, async () => {
    const socket = connect({ host: "127.0.0.1", port: stage.port });
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => {}).resume();
    await new Promise((resolve) => socket.once("connect", resolve));
    signalProcess(stage.pid, "SIGINT");
    assert.equal(await stage.exit(), 0);
    await closed;
    assert.doesNotMatch(stage.log, /"level":50/);
  });
});
