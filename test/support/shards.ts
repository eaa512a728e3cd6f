/**
 * Real shards for tests: Postgres servers on free ports of 127.0.0.1, in a directory that is gone afterwards.
 *
 * `initdb` takes seconds, so its result is kept in the temporary directory and copied; whichever test process makes
 * it first renames it into place. Whatever ends the test process, its servers end with it
 * (`keeper.ts`).
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { lstatSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import type { ShardId } from "../../src/base/brands.ts";
import {
  type EmbeddedPostgres,
  findEmbeddedPostgres,
  runAs,
  sharedTemporary,
} from "../../src/cli/embeddedPostgres.ts";
import {
  embeddedShardIds,
  ensureDatabase,
  initializeDataDirectory,
  makeDirectoryFor,
  SHARD_HOST,
  SHARD_SETTINGS,
  SHARD_USER,
  startEmbeddedShard,
} from "../../src/cli/embeddedShards.ts";
import { childrenOf, signalProcess } from "../../src/cli/osProcess.ts";
import { type Postmaster, SERVER_LOG, type ServerSettings } from "../../src/cli/postmaster.ts";
import { keep } from "./keeper.ts";

export interface ShardsOptions {
  /** Added to, and stronger than, `SHARD_SETTINGS`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Databases to make on every shard; the first is `TestShard.database`. Default: only `postgres`. */
  readonly databases?: readonly string[];
}

export interface TestShards {
  readonly shards: readonly TestShard[];
  /** Stops every server and removes the data. */
  stop(): Promise<void>;
}

/** Starts `count` shards; they are up when it resolves. */
export async function startShards(count: number, options: ShardsOptions = {}): Promise<TestShards> {
  const programs = findEmbeddedPostgres();
  const template = await dataDirectoryTemplate(programs);
  const home = mkdtempSync(join(sharedTemporary(programs.runner), "pgxa-shards-"));
  makeDirectoryFor(programs.runner, home);
  const settings = { ...SHARD_SETTINGS, ...options.settings };
  const shards = embeddedShardIds(count).map(
    (id) => new TestShard(id, join(home, id), programs, settings, options.databases?.[0] ?? "postgres"),
  );
  const clear = keep(home);
  const stop = async () => {
    await Promise.all(shards.map((shard) => shard.stop()));
    await clear();
  };
  try {
    await Promise.all(shards.map((shard) => shard.open(template, options.databases ?? [])));
  } catch (error) {
    await stop();
    throw error;
  }
  return { shards, stop };
}

export class TestShard {
  readonly id: ShardId;
  readonly host = SHARD_HOST;
  readonly user = SHARD_USER;
  readonly database: string;
  readonly dataDirectory: string;
  readonly #programs: EmbeddedPostgres;
  readonly #settings: ServerSettings;
  #server: Postmaster | null = null;
  #port = 0;

  constructor(
    id: ShardId,
    dataDirectory: string,
    programs: EmbeddedPostgres,
    settings: ServerSettings,
    database: string,
  ) {
    this.id = id;
    this.dataDirectory = dataDirectory;
    this.#programs = programs;
    this.#settings = settings;
    this.database = database;
  }

  /** Stays the same over restarts. */
  get port(): number {
    return this.#port;
  }

  /** The postmaster's pid; null while it does not run. */
  get serverPid(): number | null {
    return this.#server?.pid ?? null;
  }

  /** A connection that is logged in; the caller ends it. An error of an idle one is left to its next query. */
  async connect(database = this.database): Promise<pg.Client> {
    const client = new pg.Client({ host: this.host, port: this.port, user: this.user, database });
    client.on("error", () => {});
    await client.connect();
    return client;
  }

  /** Copies the template and starts the server. */
  async open(template: string, databases: readonly string[]): Promise<void> {
    await copyAs(this.#programs, template, this.dataDirectory);
    this.#server = await startEmbeddedShard(this.#programs, this.dataDirectory, 0, this.#settings);
    this.#port = this.#server.port;
    for (const database of databases) await ensureDatabase(this.port, database);
  }

  /**
   * A hot standby of it, made of a copy of its data while it was stopped; both run when it resolves. Whoever asks for
   * it stops it.
   */
  async makeStandby(): Promise<TestShard> {
    const directory = `${this.dataDirectory}-standby`;
    await this.stop();
    rmSync(join(this.dataDirectory, SERVER_LOG), { force: true }); // the tests' own, not the runner's
    await copyAs(this.#programs, this.dataDirectory, directory);
    writeFileSync(join(directory, "standby.signal"), "");
    await this.restart();
    const conninfo = `host=${this.host} port=${this.port} user=${this.user}`;
    const settings = { ...this.#settings, primary_conninfo: conninfo };
    const standby = new TestShard(this.id, directory, this.#programs, settings, this.database);
    standby.#server = await startEmbeddedShard(this.#programs, directory, 0, settings);
    standby.#port = standby.#server.port;
    return standby;
  }

  /** Sends `signal` to the server and its processes, as they are now; it may be SIGSTOP or SIGCONT. */
  signalAll(signal: NodeJS.Signals): void {
    const pid = this.serverPid;
    if (pid === null) return;
    const isStop = signal === "SIGSTOP";
    if (isStop) signalProcess(pid, signal); // it starts no more of them
    for (const child of childrenOf(pid)) signalProcess(child, signal);
    if (!isStop) signalProcess(pid, signal);
  }

  /** Sends `signal` to the server (SIGKILL: to all its processes) and waits until it is gone. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    await this.#server?.kill(signal);
    this.#server = null;
  }

  /** Starts the server again on the same port and data, stopping it in order first if it runs. */
  async restart(): Promise<void> {
    await this.stop();
    this.#server = await startEmbeddedShard(this.#programs, this.dataDirectory, this.port, this.#settings);
  }

  /** Stops the server in order; nothing if it does not run. */
  async stop(): Promise<void> {
    await this.#server?.stop();
    this.#server = null;
  }
}

async function dataDirectoryTemplate(programs: EmbeddedPostgres): Promise<string> {
  const owner = programs.runner?.uid ?? process.getuid?.() ?? 0;
  const template = join(sharedTemporary(programs.runner), `pgxa-initdb-${programs.version}-${owner}`);
  const existing = lstatSync(template, { throwIfNoEntry: false });
  if (existing === undefined) return makeTemplate(programs, template);
  if (existing.uid !== owner) throw new Error(`${template} belongs to somebody else; remove it`);
  return template;
}

/** Whoever renames first wins; the other's is the same. */
async function makeTemplate(programs: EmbeddedPostgres, template: string): Promise<string> {
  const aside = `${template}-${process.pid}`;
  rmSync(aside, { recursive: true, force: true });
  await initializeDataDirectory(programs, aside);
  try {
    renameSync(aside, template);
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    rmSync(aside, { recursive: true, force: true });
  }
  return template;
}

/** A copy that belongs to the runner, like its source. */
async function copyAs(programs: EmbeddedPostgres, source: string, target: string): Promise<void> {
  const child = spawn("cp", ["-a", source, target], {
    cwd: "/",
    stdio: "inherit",
    ...runAs(programs.runner),
  });
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`could not copy ${source} to ${target}`);
}
