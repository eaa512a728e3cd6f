/** Online restarts that change where decisions are made, and those that are refused for it. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import type pg from "pg";
import { parse, stringify } from "yaml";
import { areGone, isAlive, signalProcess } from "../../src/cli/osProcess.ts";
import { RestartStage } from "./restartStage.ts";

const PATIENCE_MS = 30_000;
const TIMEOUT = { timeout: 120_000 };

describe("an online restart", () => {
  let stage: RestartStage;
  before(async () => {
    stage = await RestartStage.open({ accounts: 20, settings: { max_prepared_transactions: "60" } });
  }, TIMEOUT);
  after(() => stage?.stop(), TIMEOUT);
  afterEach(() => stage.stopPgxa(), TIMEOUT);

  const FILE = () => ({ log: "file", log_directory: `${stage.stage.home}/decisions` });
  const BOTH = () => ({ log: "shard", log_directory: `${stage.stage.home}/decisions` });
  const SHARD = () => ({ log: "shard" });

  const configure = (transaction: object): void =>
    stage.write(stringify({ ...(parse(stage.stage.configText) as object), transaction }));

  /** Moves money over both shards, up to the COMMIT. */
  async function begin(client: pg.Client, account = 0): Promise<void> {
    await client.query("BEGIN");
    for (const [i, ids] of stage.stage.accounts.entries()) {
      const values = [ids[account], i === 0 ? -1 : 1];
      await client.query("UPDATE accounts SET balance = balance + $2 WHERE id = $1", values);
    }
  }

  /** Of the account that pays. */
  async function balance(): Promise<number> {
    const sql = `SELECT balance FROM accounts WHERE id = ${stage.stage.accounts[0]![0]}`;
    const [east] = await stage.stage.onShards<{ balance: string }>(sql);
    return Number(east![0]!.balance);
  }

  async function transfer(client: pg.Client): Promise<void> {
    await begin(client);
    await client.query("COMMIT");
  }

  const CHANGES = [
    ["from files to the shards", FILE, BOTH],
    ["from the shards to files", SHARD, FILE],
    ["from the shards to files that were there before", BOTH, FILE],
    ["on the shards, with files from before", BOTH, BOTH],
  ] as const;

  for (const [name, from, to] of CHANGES) {
    test(`goes ${name}; either process commits as it did`, TIMEOUT, async () => {
      configure(from());
      await stage.start();
      const [idle, busy] = [await stage.connect(), await stage.connect()];
      await transfer(idle);
      await begin(busy, 1);
      configure(to());
      await stage.restart();
      await transfer(idle);
      assert.ok(isAlive(stage.pids[0]!));
      await busy.query("ROLLBACK");
      assert.ok(await areGone([stage.pids[0]!], PATIENCE_MS));
      await transfer(busy);
      await stage.settled();
      assert.equal(await stage.surplus(), 0);
      await Promise.all([idle.end(), busy.end()]);
    });

    test(`goes ${name}; the new process settles what the old one decided and left`, TIMEOUT, async () => {
      configure(from());
      await stage.start();
      const client = await stage.connect();
      const before = await balance();
      await begin(client);
      configure(to());
      await stage.restart();
      stage.die(from === FILE ? "decision.after-sync" : "anchor.acknowledged", stage.pids[0]!);
      await client.query("COMMIT").catch(() => {});
      await stage.until(() => stage.hasDied, "the old process dies");
      await stage.settled();
      assert.equal(await stage.surplus(), 0);
      assert.equal(await balance(), before - 1, "the decision stands");
      const young = await stage.connect();
      await transfer(young);
      await young.end();
    });
  }

  async function assertRefused(to: object, says: RegExp): Promise<void> {
    const client = await stage.connect();
    configure(to);
    signalProcess(stage.pid, "SIGUSR2");
    await stage.until(() => stage.count("restart.failed") === 1, "it is refused");
    assert.match(stage.log, says);
    await transfer(client);
    await client.end();
  }

  test("is refused where the new process would not find what is decided in files", TIMEOUT, async () => {
    configure(FILE());
    await stage.start();
    await assertRefused(SHARD(), /transaction\.log_directory cannot change in an online restart/);
  });

  test("is refused where a shard has no tables for the decisions", TIMEOUT, async () => {
    configure(FILE());
    await stage.start();
    await stage.stage.onShards("ALTER SCHEMA pgxa RENAME TO elsewhere");
    try {
      await assertRefused(BOTH(), /not prepared for the decision log on shards/);
    } finally {
      await stage.stage.onShards("ALTER SCHEMA elsewhere RENAME TO pgxa");
    }
  });
});
