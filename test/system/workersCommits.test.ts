/**
 * Commits of several workers: one that is killed leaves nothing in doubt, while the others go on; and what workers left
 * that are not there any more is settled by those that are.
 *
 * The accounts of a transfer are updated in the order of their ids, so that no circle of waits can arise.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { parse, stringify } from "yaml";
import { FAULT_POINTS, type FaultPoint } from "../../src/base/faultPoint.ts";
import { childrenOf, isAlive, signalProcess } from "../../src/cli/osProcess.ts";
import { workerOf } from "../../src/proxy/clientRegistry.ts";
import { RestartStage } from "./restartStage.ts";

const TIMEOUT = { timeout: 180_000 };
const KILLS = 6;
const CLIENTS = 6;

type Told = "committed" | "aborted" | "unknown";

const KINDS = {
  file: {
    transaction: {},
    without: "anchor.",
    firstDecided: "decision.after-sync",
    undecided: "decision.before-sync",
  },
  shard: {
    transaction: { log: "shard", log_directory: undefined },
    without: "decision.",
    firstDecided: "anchor.acknowledged",
    undecided: "anchor.after-send",
  },
} as const;

describe("workers that commit", () => {
  let stage: RestartStage;
  let transfers = 0;
  before(async () => {
    stage = await RestartStage.open({ accounts: 200, settings: { max_prepared_transactions: "60" } });
  }, TIMEOUT);
  after(() => stage?.stop(), TIMEOUT);
  afterEach(() => stage.stopPgxa(), TIMEOUT);

  const start = async (workers: number, transaction: object = {}): Promise<void> => {
    const config = parse(stage.stage.configText) as { transaction?: object };
    stage.write(stringify({ ...config, workers, transaction: { ...config.transaction, ...transaction } }));
    await stage.start();
  };

  const workers = (): readonly number[] => (stage.port === 0 ? [] : childrenOf(stage.pid));

  /** A client of each of `size` workers. */
  async function clientOfEach(size: number): Promise<pg.Client[]> {
    const found: pg.Client[] = [];
    while (Object.keys(found).length < size) {
      const client = await stage.connect();
      const worker = workerOf((client as unknown as { processID: number }).processID, size);
      if (found[worker] === undefined) found[worker] = client;
      else await client.end();
    }
    return found;
  }

  /** Moves money over both shards, up to the COMMIT; the id is that of the transfer. */
  async function begin(client: pg.Client): Promise<number> {
    const id = ++transfers;
    const steps = stage.stage.accounts
      .map((ids, i) => ({ account: ids[(id * 7) % ids.length]!, change: i === 0 ? -1 : 1 }))
      .sort((one, other) => one.account - other.account);
    await client.query("BEGIN");
    for (const { account, change } of steps) {
      await client.query("UPDATE accounts SET balance = balance + $2 WHERE id = $1", [account, change]);
      const values = [account, id, change];
      await client.query("INSERT INTO transfers (account_id, id, amount) VALUES ($1, $2, $3)", values);
    }
    return id;
  }

  async function commit(client: pg.Client): Promise<Told> {
    try {
      return (await client.query("COMMIT")).command === "COMMIT" ? "committed" : "aborted";
    } catch (error) {
      const { code } = error as { code?: string };
      return code === undefined || code.startsWith("08") || code.startsWith("57") ? "unknown" : "aborted";
    }
  }

  /** Of all transfers that stand, on both shards alike. */
  async function standing(): Promise<ReadonlySet<number>> {
    const rows = await stage.stage.onShards<{ id: string }>("SELECT id FROM transfers ORDER BY id");
    const [east, west] = rows.map((some) => some.map(({ id }) => Number(id)));
    assert.deepEqual(east, west, "both shards agree");
    assert.equal(await stage.surplus(), 0, "no money is lost or made");
    return new Set(east);
  }

  for (const [name, kind] of Object.entries(KINDS)) {
    const points = FAULT_POINTS.filter((point) => !point.startsWith(kind.without));

    test(
      `with log: ${name}, one that dies at any point of a commit leaves nothing in doubt`,
      TIMEOUT,
      async () => {
        await start(2, kind.transaction);
        for (const point of points) await strike(point, kind);
      },
    );

    test(`with log: ${name}, workers that are killed again and again tear no transfer`, TIMEOUT, async () => {
      await start(2, kind.transaction);
      const told = new Map<number, Told>();
      let isOver = false;
      const working = Array.from({ length: CLIENTS }, () => work(told, () => isOver));
      for (let kill = 0; kill < KILLS; kill += 1) {
        await delay(300 + 100 * (kill % 3));
        const victim = workers()[kill % 2];
        if (victim !== undefined) signalProcess(victim, "SIGKILL");
        const done = told.size;
        await stage.until(() => told.size > done + 10, "transfers go on");
      }
      isOver = true;
      await Promise.all(working);
      await stage.settled();
      const stands = await standing();
      for (const [id, what] of told)
        if (what !== "unknown") assert.equal(stands.has(id), what === "committed", `transfer ${id}: ${what}`);
      assert.ok([...told.values()].filter((what) => what === "committed").length > 50);
    });
  }

  /** A worker dies at `point`; the client of the other one goes on meanwhile. */
  async function strike(point: FaultPoint, { firstDecided, undecided }: (typeof KINDS)["file" | "shard"]) {
    const [victim, other] = await clientOfEach(2);
    const id = await begin(victim!);
    const pids = new Set(workers());
    stage.die(point);
    const told = await commit(victim!);
    await stage.until(() => stage.hasDied, `a worker dies at ${point}`);
    const next = await begin(other!);
    assert.equal(await commit(other!), "committed", "the other worker goes on");
    await stage.settled();
    const stands = await standing();
    assert.ok(stands.has(next));
    if (told !== "unknown") assert.equal(stands.has(id), told === "committed", `${point}: ${told}`);
    const isDecided = FAULT_POINTS.indexOf(point) >= FAULT_POINTS.indexOf(firstDecided);
    if (point !== undecided) assert.equal(stands.has(id), isDecided, point);
    await Promise.all([victim!.end().catch(() => {}), other!.end()]);
    await stage.until(() => workers().some((pid) => !pids.has(pid)), "another takes its place");
  }

  async function work(told: Map<number, Told>, isOver: () => boolean): Promise<void> {
    let client: pg.Client | null = null;
    while (!isOver()) {
      try {
        client ??= await stage.connect();
        const id = await begin(client);
        told.set(id, await commit(client));
        if (told.get(id) !== "committed") throw new Error("another connection");
      } catch {
        await client?.end().catch(() => {});
        client = null;
        await delay(20);
      }
    }
    await client?.end();
  }
});
