/**
 * Two pgxa processes of one fleet over real shards, with the decision log on the shards: each finishes what the other
 * leaves, and one that slept beyond its lease decides nothing any more.
 */
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import type { FaultPoint } from "../../src/base/faultPoint.ts";
import type { Message, Order } from "./crashingProxy.ts";
import { DATABASE, OPENING_BALANCE, Stage } from "./stage.ts";
import "../support/compileCache.ts";

const PROXY = join(import.meta.dirname, "crashingProxy.ts");
/** The lease is one second; the rest is for a machine that is busy. */
const RESOLVED_WITHIN_MS = 5_000;
const PATIENCE_MS = 30_000;
const NOTHING = { postmaster: null, index: 0, diesItself: false } as const;

/** One pgxa, in a process of its own. */
class Process {
  readonly child: ChildProcess;
  readonly port: number;

  private constructor(child: ChildProcess, port: number) {
    this.child = child;
    this.port = port;
  }

  static async start(configFile: string): Promise<Process> {
    const child = fork(PROXY, [configFile], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const [message] = (await once(child, "message")) as [Message];
    assert.equal(message.kind, "listening");
    return new Process(child, message.kind === "listening" ? message.port : 0);
  }

  async arm(order: Order): Promise<void> {
    const armed = once(this.child, "message");
    this.child.send(order);
    await armed;
  }

  async connect(): Promise<pg.Client> {
    const client = new pg.Client({
      host: "127.0.0.1",
      port: this.port,
      database: DATABASE,
      user: "postgres",
    });
    client.on("error", () => {});
    await client.connect();
    return client;
  }

  async end(signal?: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = once(this.child, "exit");
    if (signal === undefined) this.child.disconnect();
    else this.child.kill(signal);
    await exited;
  }
}

describe("two pgxa of one fleet", () => {
  let stage: Stage;
  let one: Process;
  let other: Process;
  let transfers = 0;
  const fileOf = (name: string): string => join(stage.home, `${name}.yaml`);

  before(async () => {
    const transaction = { log: "shard", log_directory: undefined };
    stage = await Stage.open({ accounts: 20, isOpen: false, config: { transaction } });
    for (const name of ["one", "other"])
      writeFileSync(fileOf(name), stage.configText.replace("coordinator: one", `coordinator: ${name}`));
    [one, other] = [await Process.start(fileOf("one")), await Process.start(fileOf("other"))];
  });
  after(async () => {
    await one?.end();
    await other?.end();
    await stage?.stop();
  });

  /** An open transfer between the two shards; the second is its anchor. */
  async function begin(client: pg.Client, id = ++transfers): Promise<number> {
    await client.query("BEGIN");
    for (const [i, ids] of stage.accounts.entries()) {
      const [account, change] = [ids[id % ids.length]!, i === 0 ? -1 : 1];
      await client.query("UPDATE accounts SET balance = balance + $2 WHERE id = $1", [account, change]);
      await client.query("INSERT INTO transfers (account_id, id, amount) VALUES ($1, $2, $3)", [
        account,
        id,
        change,
      ]);
    }
    return id;
  }

  const there = async (id: number): Promise<number> =>
    (await stage.onShards("SELECT FROM transfers WHERE id = $1", [id])).flat().length;
  const prepared = async (): Promise<number> =>
    (await stage.onShards("SELECT FROM pg_prepared_xacts")).flat().length;

  async function checkMoney(): Promise<void> {
    const balances = await stage.onShards<{ sum: string }>("SELECT sum(balance) FROM accounts");
    const total = balances.flat().reduce((sum, row) => sum + Number(row.sum), 0);
    assert.equal(total, stage.accounts.flat().length * OPENING_BALANCE);
  }

  async function until(isSo: () => Promise<boolean>, withinMs: number, what: string): Promise<void> {
    const untilMs = performance.now() + withinMs;
    while (!(await isSo())) {
      assert.ok(performance.now() < untilMs, `${what}, within ${withinMs} ms`);
      await delay(20);
    }
  }

  const KILLED: readonly (readonly [FaultPoint, boolean])[] = [
    ["votes.all-received", false],
    ["anchor.acknowledged", true],
  ];
  for (const [point, isDecided] of KILLED) {
    const outcome = isDecided ? "committed" : "rolled back";
    test(`what one leaves that is killed at ${point} is ${outcome} by the other, soon after its lease`, async () => {
      const client = await one.connect();
      const id = await begin(client);
      await one.arm({ ...NOTHING, point, diesItself: true });
      const exited = once(one.child, "exit");
      const committing = client.query("COMMIT").catch(() => {});
      await exited;
      await until(async () => (await prepared()) === 0, RESOLVED_WITHIN_MS, "nothing is prepared");
      await committing;
      assert.equal(await there(id), isDecided ? 2 : 0);
      await checkMoney();
      one = await Process.start(fileOf("one"));
    });
  }

  test("one that slept beyond its lease cannot commit what the other has rolled back", async () => {
    const client = await one.connect();
    const id = await begin(client);
    await one.arm({ ...NOTHING, point: "anchor.before-send", stops: true });
    const outcome = client.query("COMMIT").then(
      () => "committed",
      (error: pg.DatabaseError) => error.code,
    );
    await until(async () => (await prepared()) === 1, PATIENCE_MS, "one branch is prepared");
    await until(async () => (await prepared()) === 0, PATIENCE_MS, "the other has settled it");
    one.child.kill("SIGCONT");
    assert.equal(await outcome, "40000");
    assert.equal(await there(id), 0);
    await checkMoney();
    const next = await begin(client);
    await client.query("COMMIT");
    assert.equal(await there(next), 2);
    await client.end();
  });

  test("one that slept after its decision finds it applied, and says so", async () => {
    const client = await one.connect();
    const id = await begin(client);
    await one.arm({ ...NOTHING, point: "anchor.acknowledged", stops: true });
    const outcome = client.query("COMMIT");
    await until(async () => (await there(id)) === 2, PATIENCE_MS, "the other has applied it");
    one.child.kill("SIGCONT");
    assert.equal((await outcome).command, "COMMIT");
    await client.end();
  });

  test("after transfers through both, neither rows nor prepared transactions are left, and no money is lost", async () => {
    const clients = await Promise.all(
      Array.from({ length: 8 }, (_, i) => (i % 2 === 0 ? one : other).connect()),
    );
    await Promise.all(
      clients.map(async (client) => {
        for (let i = 0; i < 25; i += 1) {
          await begin(client);
          await client.query("COMMIT");
        }
        await client.end();
      }),
    );
    assert.equal(await prepared(), 0);
    const commits = "SELECT FROM pgxa.decision WHERE outcome = 'commit'";
    const isEmpty = async () => (await stage.onShards(commits)).flat().length === 0;
    await until(isEmpty, PATIENCE_MS, "no commit is kept");
    await checkMoney();
  });
});
