/** One console, one set of metrics and one health for all workers, whatever becomes of one of them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import pg from "pg";
import { freePort } from "../../src/cli/postmaster.ts";
import { workerOf } from "../../src/proxy/clientRegistry.ts";
import { Command } from "../cli/command.ts";
import { startShards, type TestShards } from "../support/shards.ts";

const LISTENING = /^pgxa is listening on 127\.0\.0\.1:(\d+), /;
const LIMIT = { timeout: 150_000 };

type Rows = readonly Readonly<Record<string, unknown>>[];
interface Client {
  readonly client: pg.Client;
  readonly pid: number;
  readonly worker: number;
}

let shards: TestShards;
let directory = "";
let file = "";
let command: Command;
let port = 0;
let metricsPort = 0;
const clients: pg.Client[] = [];

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "pgxa-workers-"));
  file = join(directory, "pgxa.yaml");
  metricsPort = await freePort();
  shards = await startShards(1, { databases: ["bank"] });
  writeConfig();
  command = new Command(["up", "--config", file]);
  const [, listening] = await command.printed(LISTENING);
  port = Number(listening);
}, LIMIT);
after(async () => {
  await Promise.all(clients.map((client) => client.end().catch(() => {})));
  command.process.kill("SIGKILL");
  await shards.stop();
  rmSync(directory, { recursive: true });
});

function writeConfig(more: object = {}): void {
  const [shard] = shards.shards;
  const config = {
    listen: { port: 0 },
    workers: 2,
    database: "bank",
    shards: [{ name: shard!.id, host: shard!.host, port: shard!.port, user: "postgres" }],
    auth: { method: "trust" },
    console: { admin_users: "postgres" },
    metrics: { port: metricsPort, pgbouncer_names: true },
    ...more,
  };
  writeFileSync(file, JSON.stringify(config));
}

async function connect(database: string): Promise<Client> {
  const client = new pg.Client({ host: "127.0.0.1", port, user: "postgres", database });
  client.on("error", () => {});
  await client.connect();
  clients.push(client);
  const { processID: pid } = client as unknown as { processID: number };
  return { client, pid, worker: workerOf(pid, 2) };
}

/** A client of each worker: the system says who gets whom. */
async function ofEach(database: string): Promise<readonly [Client, Client]> {
  const found: (Client | undefined)[] = [undefined, undefined];
  while (found.includes(undefined)) {
    const one = await connect(database);
    if (found[one.worker] === undefined) found[one.worker] = one;
    else await one.client.end();
  }
  return found as [Client, Client];
}

const ask = async ({ client }: Client, text: string): Promise<Rows> => (await client.query(text)).rows;
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

async function scrape(): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
  assert.equal(response.status, 200);
  const lines = (await response.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const at = (line: string): number => line.lastIndexOf(" ");
  return new Map(lines.map((line) => [line.slice(0, at(line)), Number(line.slice(at(line) + 1))]));
}

const numberOf = (rows: Rows, list: string): number => Number(rows.find((row) => row.list === list)?.items);

describe("the console of two workers", LIMIT, () => {
  it("shows the same in both, and all clients of both", async () => {
    const [here, there] = await ofEach("pgxa");
    const [one, other] = await ofEach("bank");
    for (const { client } of [one, other]) await client.query("SELECT 1");
    const shown = await ask(here, "SHOW CLIENTS");
    for (const { pid } of [here, there, one, other]) assert.ok(shown.some(({ id }) => id === pid));
    const ids = (rows: Rows) => rows.map(({ id }) => id).sort();
    assert.deepEqual(ids(await ask(there, "SHOW CLIENTS")), ids(shown));
    for (const name of ["POOLS", "DATABASES", "LISTS", "USERS", "SERVERS", "STATE", "CONFIG"]) {
      assert.deepEqual(await ask(there, `SHOW ${name}`), await ask(here, `SHOW ${name}`), name);
    }
    const pools = (await ask(here, "SHOW POOLS")).filter(({ database }) => database === "bank");
    assert.deepEqual(
      pools.map(({ cl_active, sv_idle }) => [cl_active, sv_idle]),
      [[2, 2]],
    );
    assert.equal(numberOf(await ask(here, "SHOW LISTS"), "used_clients"), shown.length);
    const [bank] = (await ask(there, "SHOW STATS")).filter(({ database }) => database === "bank");
    assert.equal(Number(bank!.total_xact_count), 2);
    await Promise.all([one, other, here, there].map(({ client }) => client.end()));
  });

  it("pauses both and resumes both, whichever is told", async () => {
    const [here, there] = await ofEach("pgxa");
    const [one, other] = await ofEach("bank");
    await other.client.query("BEGIN; SELECT 1");
    let isPaused = false;
    const paused = ask(here, "PAUSE").then(() => {
      isPaused = true;
    });
    while (!(await ask(there, "SHOW STATE")).some(({ key, value }) => key === "paused" && value === "yes"))
      await turn();
    assert.equal(isPaused, false);
    await other.client.query("COMMIT");
    await paused;
    let isServed = false;
    const served = Promise.all(
      [one, other].map(async ({ client }) => {
        await client.query("SELECT 1");
        isServed = true;
      }),
    );
    while ((await ask(here, "SHOW POOLS")).find(({ database }) => database === "bank")?.cl_waiting !== 2)
      await turn();
    assert.equal(isServed, false);
    await ask(there, "RESUME");
    await served;
    await assert.rejects(ask(there, "RESUME bank"), { code: "55000" });
    await assert.rejects(ask(there, "PAUSE nowhere"), { code: "3D000" });
    await Promise.all([one, other, here, there].map(({ client }) => client.end()));
  });

  it("ends a client of the other worker, and sets options in both until the file says otherwise", async () => {
    const [here, there] = await ofEach("pgxa");
    const [, other] = await ofEach("bank");
    const ended = new Promise<string>((resolve) =>
      other.client.once("error", (error) => resolve((error as Error & { code: string }).code)),
    );
    await ask(here, `KILL_CLIENT ${other.pid}`);
    assert.equal(await ended, "57P01");
    await assert.rejects(ask(here, `KILL_CLIENT ${other.pid}`), { code: "42704" });
    const logLevel = async (at: Client) =>
      (await ask(at, "SHOW CONFIG")).find(({ key }) => key === "log.level")?.value;
    await ask(here, "SET log.level = warn");
    assert.deepEqual([await logLevel(here), await logLevel(there)], ["warn", "warn"]);
    await assert.rejects(ask(here, "SET log.level = loud"));
    writeConfig({ log: { level: "error" } });
    await ask(there, "RELOAD");
    assert.deepEqual([await logLevel(here), await logLevel(there)], ["error", "error"]);
    await Promise.all([here, there].map(({ client }) => client.end()));
  });

  it("is what it was after the death of a worker, and its counters do not go backwards", async () => {
    const [here, there] = await ofEach("pgxa");
    const [one, other] = await ofEach("bank");
    for (const { client } of [one, other]) await client.query("SELECT 1");
    await ask(here, "DISABLE bank");
    await ask(here, "SET log.level = warn");
    const before = await scrape();
    assert.equal(before.get("pgxa_workers"), 2);
    assert.equal(before.get('pgxa_server_connections_max{database="bank",shard="east"}'), 20);
    const gone = new Promise((resolve) => there.client.once("error", resolve));
    const line = command.stderr
      .split("\n")
      .filter((text) => text.includes('"worker.started"'))
      .map((text) => JSON.parse(text) as { worker: number; pid: number });
    process.kill(line.find(({ worker }) => worker === there.worker)!.pid, "SIGKILL");
    await gone;
    let last = before;
    const counts = [...before.keys()].filter((name) => /_total(\{|$)|_(count|bucket)(\{|$)/.test(name));
    do {
      const now = await scrape();
      for (const name of counts) assert.ok((now.get(name) ?? -1) >= last.get(name)!, name);
      assert.equal((await fetch(`http://127.0.0.1:${metricsPort}/ready`)).status, 200);
      last = now;
    } while (last.get("pgxa_worker_restarts_total") !== 1 || last.get("pgxa_workers") !== 2);
    let again: Client | undefined;
    while (again === undefined) {
      const next = await connect("pgxa");
      if (next.worker === there.worker) again = next;
      else await next.client.end();
    }
    assert.equal((await ask(again, "SHOW CONFIG")).find(({ key }) => key === "log.level")?.value, "warn");
    for (let i = 0; i < 8; i += 1) await assert.rejects(connect("bank"), { code: "55000" });
    await ask(again, "ENABLE bank");
    await (await ofEach("bank"))[1].client.query("SELECT 1");
  });

  it("ends all workers on SHUTDOWN once their clients have gone", async () => {
    const [here, there] = await ofEach("pgxa");
    await Promise.all(
      clients
        .filter((client) => client !== here.client && client !== there.client)
        .map((client) => client.end().catch(() => {})),
    );
    await ask(here, "SHUTDOWN WAIT_FOR_CLIENTS");
    await here.client.end();
    assert.equal((await ask(there, "SHOW CLIENTS")).length, 1);
    await there.client.end();
    assert.equal(await command.end(), 0);
  });
});
