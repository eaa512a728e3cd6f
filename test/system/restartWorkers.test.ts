/** The online restart with workers: however many there were and will be, clients notice nothing. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type pg from "pg";
import { parse, stringify } from "yaml";
import type { HandoverPoint } from "../../src/base/faultPoint.ts";
import { areGone, isAlive, signalProcess } from "../../src/cli/osProcess.ts";
import { workerOf } from "../../src/proxy/clientRegistry.ts";
import { RestartStage } from "./restartStage.ts";

const TIMEOUT = { timeout: 300_000 };
const PATIENCE_MS = 60_000;
const CLIENTS = 8;
const ANSWER = [{ one: 1 }];

describe("an online restart with workers", () => {
  let stage: RestartStage;

  before(async () => {
    const config = {
      workers: 2,
      listen: { port: 0, unix_directory: "." },
      auth: { method: "trust" },
      restart: { start_timeout: "2min" },
    };
    stage = await RestartStage.open({ shards: 1, config });
  }, TIMEOUT);
  after(() => stage?.stop(), TIMEOUT);
  beforeEach(() => {
    withWorkers(2);
    return stage.start();
  }, TIMEOUT);
  afterEach(() => stage.stopPgxa(), TIMEOUT);

  function withWorkers(workers: number): void {
    stage.write(stringify({ ...parse(stage.stage.configText), workers }));
  }

  const pidOf = (client: pg.Client): number => (client as unknown as { processID: number }).processID;
  const connectAll = (): Promise<pg.Client[]> =>
    Promise.all(Array.from({ length: CLIENTS }, () => stage.connect()));

  async function checkAll(clients: readonly pg.Client[]): Promise<void> {
    for (const client of clients) assert.deepEqual((await client.query("SELECT 1 AS one")).rows, ANSWER);
  }

  test("takes idle clients along, from two to three, to none and to two again", TIMEOUT, async () => {
    const clients = await connectAll();
    for (const client of clients) {
      await client.query("SET app.tenant = 'four'");
      await client.query({ name: "one", text: "SELECT $1::int AS one", values: [1] });
    }
    for (const [round, workers] of [3, 1, 2].entries()) {
      withWorkers(workers);
      const before = [stage.pid, ...stage.workers.values()];
      await stage.restart();
      assert.ok(await areGone(before, PATIENCE_MS), "the old processes end by themselves");
      assert.equal(stage.count("restart.finished"), round + 1);
      for (const client of clients) {
        assert.deepEqual((await client.query({ name: "one", text: "", values: [1] })).rows, ANSWER);
        const { rows } = await client.query("SELECT current_setting('app.tenant') AS tenant");
        assert.deepEqual(rows, [{ tenant: "four" }]);
        const pid = pidOf(client);
        assert.deepEqual((await client.query("SELECT pg_backend_pid() AS pid")).rows, [{ pid }]);
      }
      const added = await stage.connect({ host: stage.stage.home });
      await checkAll([added]);
      clients.push(added);
      await added.query("SET app.tenant = 'four'");
      await added.query({ name: "one", text: "SELECT $1::int AS one", values: [1] });
    }
    assert.doesNotMatch(stage.log, /restart\.client_kept/);
    for (const client of clients) await client.end();
  });

  test("refuses nobody who connects meanwhile", TIMEOUT, async () => {
    let isOver = false;
    let served = 0;
    const come = async (): Promise<void> => {
      while (!isOver) {
        const client = await stage.connect();
        await checkAll([client]);
        await client.end();
        served += 1;
      }
    };
    const coming = [come(), come(), come()];
    for (const _ of [1, 2]) await stage.restart();
    await stage.until(() => stage.count("restart.finished") === 2, "both are over");
    isOver = true;
    await Promise.all(coming);
    assert.ok(served > 0);
  });

  test(
    "lets a client that stays for its transaction be cancelled, and go when it has ended",
    TIMEOUT,
    async () => {
      const clients = await connectAll();
      for (const client of clients) await client.query("BEGIN");
      const sleeping = clients.map((client) =>
        assert.rejects(client.query("SELECT pg_sleep(60)"), { code: "57014" }),
      );
      await stage.restart();
      assert.ok(isAlive(stage.pids[0]!));
      await stage.until(async () => {
        const sleepers =
          "SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active'";
        return (await stage.stage.onShards(sleepers)).flat().length === CLIENTS;
      }, "all sleep");
      for (const client of clients) await cancel(stage, client);
      await Promise.all(sleeping);
      for (const client of clients) await client.query("ROLLBACK");
      assert.ok(await areGone([stage.pids[0]!], PATIENCE_MS));
      await checkAll(clients);
      for (const client of clients) await client.end();
    },
  );

  for (const point of ["arrival.before-ready", "arrival.before-accepting", "arrival.accepting"] as const) {
    test(`goes back to the old workers when the new parent dies at ${point}`, TIMEOUT, async () => {
      const clients = await connectAll();
      for (const client of clients) await client.query("BEGIN");
      const workers = [...stage.workers.values()];
      stage.die(point);
      signalProcess(stage.pid, "SIGUSR2");
      await stage.until(() => stage.hasDied, "it died");
      for (const client of clients) await client.query("ROLLBACK");
      await checkAll(clients);
      // As many as it takes to meet each of the workers.
      for (const _ of Array.from({ length: CLIENTS })) {
        const client = await stage.connect();
        await checkAll([client]);
        await client.end();
      }
      assert.ok(workers.every(isAlive));
      for (const client of clients) await client.end();
    });
  }

  /** Whose death loses its clients, and whose does not. */
  const DEATHS: readonly (readonly [HandoverPoint, string])[] = [
    ["client.after-send", "an old worker"],
    ["client.after-go", "an old worker"],
    ["arrival.before-taken", "a new worker"],
    ["arrival.after-taken", "a new worker"],
  ];

  for (const [point, who] of DEATHS) {
    test(`comes to its end although ${who} dies at ${point}`, TIMEOUT, async () => {
      const clients = await connectAll();
      const old = [stage.pid, ...stage.workers.values()];
      stage.die(point);
      await stage.restart();
      await stage.until(() => stage.hasDied, "it died");
      const alive: pg.Client[] = [];
      for (const client of clients) {
        const answer = await client.query("SELECT 1 AS one").catch(() => null);
        if (answer === null) continue;
        assert.deepEqual(answer.rows, ANSWER);
        alive.push(client);
      }
      // Those of the workers that live are all there.
      const lost = new Set(
        clients.filter((one) => !alive.includes(one)).map((one) => workerOf(pidOf(one), 2)),
      );
      assert.ok(lost.size <= 1, `${[...lost]}`);
      await checkAll([await stage.connect()]);
      for (const client of alive) await client.end();
      await stage.until(() => old.every((pid) => !isAlive(pid)), "the old processes end");
    });
  }

  test("leaves clients where they are when the old parent is killed", TIMEOUT, async () => {
    const [staying, ...clients] = await connectAll();
    await staying!.query("BEGIN");
    await staying!.query("SELECT 1");
    await checkAll(clients);
    const now = (await staying!.query("SELECT clock_timestamp()::text AS now")).rows[0].now;
    const old = [stage.pid, ...stage.workers.values()];
    await stage.restart();
    // The old workers have server connections from before, and open no others.
    const isOver = "SELECT FROM pg_stat_activity WHERE pid = pg_backend_pid() AND backend_start > $1";
    for (const client of clients)
      await stage.until(async () => (await client.query(isOver, [now])).rows.length === 1, "it went over");
    signalProcess(old[0]!, "SIGKILL");
    const isLost = () =>
      staying!.query("SELECT 1").then(
        () => false,
        () => true,
      );
    await stage.until(isLost, "its worker has ended");
    assert.ok(await areGone(old, PATIENCE_MS));
    await checkAll(clients);
    for (const client of clients) await client.end();
  });

  test("ends with the new process when that is told to", TIMEOUT, async () => {
    const [client] = await connectAll();
    await client!.query("BEGIN");
    await stage.restart();
    const all = [...stage.pids, ...stage.workers.values()];
    signalProcess(stage.pid, "SIGTERM");
    await client!.query("COMMIT");
    assert.ok(await areGone(all, PATIENCE_MS));
  });
});

async function cancel(stage: RestartStage, client: pg.Client): Promise<void> {
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const request = Buffer.alloc(16);
  for (const [i, word] of [16, 80_877_102, processID, secretKey].entries()) request.writeInt32BE(word, 4 * i);
  await new Promise<void>((resolve) => {
    const socket = connect({ host: "127.0.0.1", port: stage.port }, () => socket.end(request));
    socket.resume().once("close", () => resolve());
  });
}
