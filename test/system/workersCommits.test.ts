/**
 * Commits of several workers: one that is killed leaves nothing in doubt, while the others go on; and what workers left
 * that are not there any more is settled by those that are.
 *
 * The accounts of a transfer are updated in the order of their ids, so that no circle of waits can arise.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { after, afterEach, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { parse, stringify } from "yaml";
import type { FaultPoint } from "../../src/base/faultPoint.ts";
import { areGone, childrenOf, signalProcess } from "../../src/cli/osProcess.ts";
import { workerOf } from "../../src/proxy/clientRegistry.ts";
import { RestartStage } from "./restartStage.ts";

const TIMEOUT = { timeout: 180_000 };
const KILLS = 4;
const CLIENTS = 6;
const SLOW_TRANSFER = 1_000_000;

type Told = "committed" | "aborted" | "unknown";

interface Kind {
  readonly transaction: object;
  /** Where one worker after the other dies, and whether the transaction is committed then. */
  readonly points: readonly (readonly [FaultPoint, boolean])[];
}

const KINDS: Readonly<Record<string, Kind>> = {
  file: {
    transaction: { resolve_interval: "1s" },
    points: [
      ["votes.all-received", false],
      ["decision.after-sync", true],
    ],
  },
  shard: {
    transaction: { log: "shard", log_directory: undefined },
    points: [
      ["prepare.after-send", false],
      ["anchor.acknowledged", true],
    ],
  },
};

describe("workers that commit", () => {
  let stage: RestartStage;
  let transfers = 0;
  before(async () => {
    stage = await RestartStage.open({ accounts: 200, settings: { max_prepared_transactions: "60" } });
  }, TIMEOUT);
  after(() => stage?.stop(), TIMEOUT);
  afterEach(() => stage.stopPgxa(), TIMEOUT);

  const configure = (workers: number, transaction: object = {}): void => {
    const config = parse(stage.stage.configText) as { transaction?: object };
    stage.write(stringify({ ...config, workers, transaction: { ...config.transaction, ...transaction } }));
  };

  const start = async (workers: number, transaction: object = {}): Promise<void> => {
    configure(workers, transaction);
    await stage.start();
  };

  const workers = (): readonly number[] => (stage.port === 0 ? [] : childrenOf(stage.pid));

  /** A client of each of `size` workers. */
  async function clientOfEach(size: number, options: pg.ClientConfig = {}): Promise<pg.Client[]> {
    const found: pg.Client[] = [];
    while (Object.keys(found).length < size) {
      const client = await stage.connect(options);
      const worker = workerOf((client as unknown as { processID: number }).processID, size);
      if (found[worker] === undefined) found[worker] = client;
      else await client.end();
    }
    return found;
  }

  /** Moves money over both shards, up to the COMMIT; the id is that of the transfer. */
  async function begin(client: pg.Client, id = ++transfers): Promise<number> {
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
    test(`with log: ${name}, one that dies in a commit leaves nothing in doubt`, TIMEOUT, async () => {
      await start(2, kind.transaction);
      for (const [i, [point, isDecided]] of kind.points.entries()) await strike(i, point, isDecided);
    });

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

  /** Worker `index` of two dies at `point`; the client of the other one goes on meanwhile. */
  async function strike(index: number, point: FaultPoint, isDecided: boolean): Promise<void> {
    const clients = await clientOfEach(2);
    const [victim, other] = [clients[index]!, clients[1 - index]!];
    const id = await begin(victim);
    const pids = new Set(workers());
    stage.die(point);
    const told = await commit(victim);
    await stage.until(() => stage.hasDied, `a worker dies at ${point}`);
    const next = await begin(other);
    assert.equal(await commit(other), "committed", "the other worker goes on");
    await stage.settled();
    const stands = await standing();
    assert.ok(stands.has(next));
    assert.equal(told, "unknown");
    assert.equal(stands.has(id), isDecided, point);
    await Promise.all(clients.map((client) => client.end().catch(() => {})));
    await stage.until(() => workers().some((pid) => !pids.has(pid)), "another takes its place");
  }

  /** Directories of logs beside that of the log directory itself. */
  function heirs(): readonly string[] {
    const config = parse(stage.stage.configText) as { transaction: { log_directory: string } };
    return readdirSync(config.transaction.log_directory).filter((name) => name.startsWith("heir-"));
  }

  test(
    "an online restart to another number of them leaves a log of each, and nothing in doubt",
    TIMEOUT,
    async () => {
      await start(1);
      const client = await stage.connect();
      for (const size of [3, 2, 1]) {
        configure(size);
        const before = stage.pid;
        await stage.restart();
        await begin(client);
        assert.equal(await commit(client), "committed");
        assert.ok(await areGone([before], 30_000));
        await stage.until(() => heirs().length === size, "the logs of those before are taken over");
      }
      await begin(client);
      stage.die("decision.after-sync");
      await commit(client);
      await stage.until(() => stage.hasDied, "the last one dies");
      await stage.stopPgxa();
      await start(2);
      await stage.settled();
      assert.ok((await standing()).has(transfers), "the decision stands");
      assert.equal(heirs().length, 1);
    },
  );

  test(
    "what they left is settled by fewer of them, or by a lone process, that come after",
    TIMEOUT,
    async () => {
      for (const [before, later] of [
        [3, 2],
        [2, 1],
      ] as const) {
        await start(before);
        assert.equal(heirs().length, before - 1);
        const clients = await clientOfEach(before);
        const id = await begin(clients.at(-1)!);
        const others = [stage.pid, ...workers().filter((pid) => pid !== workerPid(before - 1))];
        for (const pid of others) signalProcess(pid, "SIGSTOP");
        stage.die("decision.after-sync");
        await commit(clients.at(-1)!);
        await stage.until(() => stage.hasDied, "a worker dies");
        for (const pid of others) signalProcess(pid, "SIGKILL");
        await areGone(others, 30_000);
        assert.equal((await stage.stage.onShards("SELECT gid FROM pg_prepared_xacts")).flat().length, 2);
        await stage.stopPgxa();
        await start(later);
        await stage.settled();
        assert.ok((await standing()).has(id), "the decision stands");
        assert.equal(heirs().length, later - 1, "the logs of those before are taken over");
        await stage.stopPgxa();
      }
    },
  );

  test(
    "whichever of them an operator asks, a commit under way is not in doubt, and what is can be resolved",
    TIMEOUT,
    async () => {
      await start(2);
      const [shard] = stage.stage.shards;
      const onShard = await shard!.connect();
      await onShard.query(`
      CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(4); RETURN NULL; END';
      CREATE CONSTRAINT TRIGGER dozes AFTER INSERT ON transfers DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.id = ${SLOW_TRANSFER}) EXECUTE FUNCTION doze()`);
      const clients = await clientOfEach(2);
      const consoles = await clientOfEach(2, { database: "pgxa" });
      await begin(clients[0]!, SLOW_TRANSFER);
      const committing = commit(clients[0]!);
      const old = (): Promise<unknown[][]> =>
        stage.stage.onShards("SELECT gid FROM pg_prepared_xacts WHERE prepared < now() - interval '1500 ms'");
      await stage.until(async () => (await old()).flat().length === 1, "one branch is prepared");
      const [[{ gid }]] = (await old()).filter((rows) => rows.length > 0) as [[{ gid: string }]];
      const running = gid.split(":").slice(1, 5).join(":");
      for (const console of consoles) {
        assert.deepEqual((await console.query("SHOW IN_DOUBT")).rows, []);
        await assert.rejects(console.query(`RESOLVE '${running}' ROLLBACK CONFIRM`), {
          code: "55006",
          message: "pgxa is committing this transaction now",
        });
      }
      assert.equal(await committing, "committed");
      for (const [i, console] of consoles.entries()) {
        const gtrid = `test:one:1:${i + 1}`; // of an epoch that no log tells of
        await onShard.query(
          `BEGIN; INSERT INTO accounts VALUES (-${i + 1}, 'x', 0); PREPARE TRANSACTION 'pgxa:${gtrid}::east'`,
        );
        await stage.until(async () => {
          const { rows } = await console.query("SHOW IN_DOUBT");
          return rows[0]?.reason === "the decision log cannot say what was decided";
        }, "it is shown");
        const { rows } = await console.query(`RESOLVE '${gtrid}' ROLLBACK CONFIRM 'a test'`);
        assert.ok(
          rows.some(({ done }) => done === true),
          JSON.stringify(rows),
        );
        assert.deepEqual((await console.query("SHOW IN_DOUBT")).rows, []);
      }
      await Promise.all([...clients, ...consoles, onShard].map((client) => client.end()));
    },
  );

  const workerPid = (index: number): number => {
    const started = [...stage.log.matchAll(/"event":"worker\.started","worker":(\d+),"pid":(\d+)/g)];
    return Number(started.findLast(([, worker]) => Number(worker) === index)![2]);
  };

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
