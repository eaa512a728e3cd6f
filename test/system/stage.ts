/**
 * What a system test stands on: real shards with a small bank, and pgxa in front of them, in this process.
 *
 * Where an account lives is asked of PostgreSQL itself (`satisfies_hash_partition`), so that a mistake in pgxa's own
 * hash shows as a row on the wrong shard and not as agreement with itself.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { parse, stringify } from "yaml";
import { type RunningProxy, startProxy } from "../../src/cli/compose.ts";
import { SERVER_LOG } from "../../src/cli/postmaster.ts";
import { Reloading } from "../../src/cli/reloading.ts";
import { makeSchema } from "../../src/cli/shardSchema.ts";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import type { Config } from "../../src/config/config.ts";
import { loadFile, parseConfig } from "../../src/config/load.ts";
import { silentLog } from "../../src/observe/log.ts";
import { startShards, type TestShard } from "../support/shards.ts";
import { type StageWorkers, startWorkers } from "./stageWorkers.ts";

export const DATABASE = "bank";
export const OPENING_BALANCE = 1000;

const SCHEMA = `
  CREATE TABLE currencies (code text PRIMARY KEY, name text NOT NULL);
  CREATE TABLE accounts (id int8 PRIMARY KEY, owner text NOT NULL, balance int8 NOT NULL CHECK (balance >= 0));
  CREATE TABLE transfers (account_id int8, id int8, amount int8 NOT NULL, PRIMARY KEY (account_id, id));
  CREATE TABLE pledges (
    account_id int8 PRIMARY KEY,
    sponsor int8 REFERENCES accounts DEFERRABLE INITIALLY DEFERRED,
    slot int UNIQUE DEFERRABLE INITIALLY DEFERRED
  );
  CREATE TABLE events (id int PRIMARY KEY, what text);
  CREATE TABLE placement (id int8) PARTITION BY HASH (id);`;

const TABLES = [
  { name: "accounts", key: "id", key_type: "int8" },
  { name: "transfers", key: "account_id", key_type: "int8" },
  { name: "pledges", key: "account_id", key_type: "int8" },
  { name: "currencies", reference: true },
  { name: "events", shard: "east" },
];

export interface StageOptions {
  /** Default: 2. */
  readonly shards?: number;
  /** Server settings of the shards. */
  readonly settings?: Readonly<Record<string, string>>;
  /** How many accounts exist, over all shards. Default: 100. */
  readonly accounts?: number;
  /** Sections of the configuration, added to the default ones. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Whether pgxa is started. Default: true. */
  readonly isOpen?: boolean;
  /** How many workers pgxa has, whose clients take turns. Default: none, it is alone. */
  readonly workers?: number;
}

export class Stage {
  readonly shards: readonly TestShard[];
  /** The ids of each shard's accounts, in the order of the shards. */
  readonly accounts: readonly (readonly number[])[];
  /** The text of the configuration file. */
  readonly configText: string;
  readonly home: string;
  readonly #clients: pg.Client[] = [];
  readonly #stopShards: () => Promise<void>;
  #proxy: RunningProxy | null = null;
  #workers: StageWorkers | null = null;
  #connected = 0;
  #closing: Promise<void> = Promise.resolve();

  constructor(
    shards: readonly TestShard[],
    accounts: readonly (readonly number[])[],
    home: string,
    config: Readonly<Record<string, unknown>>,
    stopShards: () => Promise<void>,
  ) {
    this.shards = shards;
    this.accounts = accounts;
    this.home = home;
    this.configText = stringify(configuration(shards, home, config));
    this.#stopShards = stopShards;
  }

  /** Starts shards and pgxa. */
  static async open(options: StageOptions = {}): Promise<Stage> {
    const { shards, stop } = await startShards(options.shards ?? 2, {
      databases: [DATABASE],
      ...(options.settings === undefined ? {} : { settings: options.settings }),
    });
    const home = mkdtempSync(join(tmpdir(), "pgxa-system-"));
    try {
      const accounts = await Promise.all(
        shards.map((shard, i) => fill(shard, shards.length, i, options.accounts ?? 100)),
      );
      const stage = new Stage(shards, accounts, home, options.config ?? {}, stop);
      if (options.workers !== undefined) await stage.openWorkers(options.workers);
      else if (options.isOpen ?? true) await stage.openProxy();
      return stage;
    } catch (error) {
      await stop();
      rmSync(home, { recursive: true });
      throw error;
    }
  }

  get config(): Config {
    return parseConfig(this.configText, "pgxa.yaml", {});
  }

  get port(): number {
    return this.ports[0]!;
  }

  get proxy(): RunningProxy {
    return this.#proxy!;
  }

  /** Starts pgxa, with `sections` of the configuration replaced. */
  async openProxy(sections: Readonly<Record<string, unknown>> = {}): Promise<void> {
    this.writeConfig(sections);
    const { file } = this;
    const { raw, config } = loadFile(file, {});
    const source = { file, variables: {}, raw };
    const onShutdown = (): void => void this.closeProxy();
    this.#proxy = await startProxy(config, { log: silentLog, source, onShutdown });
  }

  /** Starts pgxa with `size` workers. */
  async openWorkers(size: number): Promise<void> {
    this.writeConfig();
    const { raw, config } = loadFile(this.file, {});
    const source = { file: this.file, variables: {}, raw };
    const reloading = new Reloading(source, silentLog, () => {});
    const world = { environment: systemEnvironment, log: silentLog, reloading, epoch: null, letEnd() {} };
    this.#workers = await startWorkers(config, size, { log: silentLog, source }, world);
  }

  get workers(): StageWorkers {
    return this.#workers!;
  }

  /** The ports of pgxa, one for each worker. */
  get ports(): readonly number[] {
    return (this.#workers?.proxies ?? [this.#proxy!]).map(({ port }) => port);
  }

  /** The file that the proxy reads again on RELOAD. */
  get file(): string {
    return join(this.home, "pgxa.yaml");
  }

  writeConfig(sections: Readonly<Record<string, unknown>> = {}): void {
    writeFileSync(this.file, stringify({ ...(parse(this.configText) as object), ...sections }));
  }

  /** Also waits for an end that has begun already. */
  async closeProxy(): Promise<void> {
    const proxy = this.#proxy;
    const workers = this.#workers;
    this.#proxy = null;
    this.#workers = null;
    if (proxy !== null) this.#closing = proxy.stop();
    if (workers !== null) this.#closing = workers.stop();
    await this.#closing;
  }

  /** A client of pgxa; it is ended with the stage at the latest. */
  async connect(options: pg.ClientConfig = {}): Promise<pg.Client> {
    const port = options.port ?? this.ports[this.#connected++ % this.ports.length]!;
    const client = new pg.Client({
      host: "127.0.0.1",
      port,
      database: DATABASE,
      user: "postgres",
      ...options,
    });
    client.on("error", () => {});
    await client.connect();
    this.#clients.push(client);
    return client;
  }

  /** Runs `sql` on each shard itself; the rows of each. */
  async onShards<Row extends pg.QueryResultRow>(sql: string, values: unknown[] = []): Promise<Row[][]> {
    return Promise.all(
      this.shards.map(async (shard) => {
        const client = await shard.connect();
        try {
          return (await client.query<Row>(sql, values)).rows;
        } finally {
          await client.end();
        }
      }),
    );
  }

  /** What each shard's log says of the statements that `work` caused (needs log_statement=all). */
  async logged(work: () => Promise<unknown>): Promise<string[]> {
    const logs = this.shards.map((shard) => join(shard.dataDirectory, SERVER_LOG));
    const before = logs.map((log) => readFileSync(log).length);
    await work();
    return logs.map((log, i) => readFileSync(log).subarray(before[i]).toString("utf8"));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.end().catch(() => {})));
    await this.closeProxy();
    await this.#stopShards();
    rmSync(this.home, { recursive: true, force: true });
  }
}

function configuration(
  shards: readonly TestShard[],
  home: string,
  sections: Readonly<Record<string, unknown>>,
): object {
  return {
    listen: { host: "127.0.0.1", port: 0 },
    database: DATABASE,
    fleet: "test",
    coordinator: "one",
    shards: shards.map(({ id, host, port, user }) => ({ name: id, host, port, database: DATABASE, user })),
    ...(shards.length > 1 ? { tables: TABLES } : {}),
    auth: { method: "trust" },
    console: { admin_users: "postgres" },
    ...sections,
    transaction: { log_directory: join(home, "decisions"), ...(sections.transaction as object) },
  };
}

/** Makes the tables and this shard's part of accounts 1 to `count`; returns their ids. */
async function fill(shard: TestShard, shards: number, index: number, count: number): Promise<number[]> {
  const { id, host, port, database, user } = shard;
  await makeSchema({ id, host, port, database, user, password: undefined });
  const client = await shard.connect();
  await client.query(SCHEMA);
  await client.query("INSERT INTO currencies VALUES ('EUR', 'Euro')");
  await client.query(
    `INSERT INTO accounts SELECT id, 'owner ' || id, ${OPENING_BALANCE} FROM generate_series(1::int8, ${count}) AS id
     WHERE satisfies_hash_partition('placement'::regclass, ${shards}, ${index}, id)`,
  );
  const { rows } = await client.query<{ id: string }>("SELECT id FROM accounts ORDER BY id");
  await client.end();
  return rows.map((row) => Number(row.id));
}
