/**
 * Where it all happens: three real shards, two pgxa processes in front of them, and forwarders between everybody.
 *
 * With the log on the shards both processes are one fleet and run from the same file; with the log in files each has a
 * directory of its own. What differs between them (ports, names, directories, when they answer a COMMIT) is in the
 * environment.
 */
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { freePort, SERVER_LOG } from "../../src/cli/postmaster.ts";
import { Stage } from "../system/stage.ts";
import { Forwarder } from "./forwarder.ts";
import { guard } from "./guard.ts";
import type { LogKind } from "./options.ts";
import { PgxaProcess } from "./pgxaProcess.ts";
import { ShardWatch } from "./shardWatch.ts";
import { SmallDisk } from "./smallDisk.ts";
import type { Bank } from "./transfer.ts";

/** As it stands in the configuration file. */
const variable = (name: string): string => `\${PGXA_${name}}`;

const SHARDS = 3;
/** One tells clients when every shard has applied the commit, the other when it is decided. */
const PROCESSES = [
  { name: "one", ack: "applied" },
  { name: "two", ack: "decided" },
] as const;
const ACCOUNTS = 1_500;
/** Room for the data and its write-ahead log, and no more than memory has to give. */
const SHARD_DISK_MEBIBYTES = 640;
const PGXA_DISK_MEBIBYTES = 40;

/** Shorter than an operator would set them, so that much happens in little time. */
const SECTIONS = {
  pool: { max: 24, checkout_timeout: "5s", connect_timeout: "2s" },
  health: { interval: "500ms", timeout: "1s", backoff_max: "500ms" },
  timeouts: { idle_in_transaction: "8s" },
  deadlock: { lock_timeout: "5s" },
  restart: { start_timeout: "20s", timeout: "5s" },
};
const TRANSACTION = {
  lease: "1s",
  prepare_timeout: "2s",
  commit_timeout: "2s",
  resolve_interval: "1s",
  commit_ack: variable("ACK"),
};

const SETTINGS = {
  max_wal_size: "64MB",
  min_wal_size: "32MB",
  log_line_prefix: "%m [%p] %x ",
  deadlock_timeout: "500ms",
};

/** Money moved by a function: that it writes is in the text of no statement. */
const MOVE = `
  CREATE FUNCTION move(account int8, transfer int8, amount int8) RETURNS void LANGUAGE sql AS $$
    UPDATE accounts SET balance = balance + $3 WHERE id = $1;
    INSERT INTO transfers (account_id, id, amount) VALUES ($1, $2, $3) $$;
  CREATE INDEX ON transfers (id)`;

export interface Pgxa {
  readonly process: PgxaProcess;
  /** Between clients and it. */
  readonly front: Forwarder;
  /** Between it and each shard. */
  readonly back: readonly Forwarder[];
  /** What its decision log is on, if that can be filled. */
  readonly disk: SmallDisk | null;
}

export interface ChaosStageOptions {
  readonly log: LogKind;
  /** The directory for logs and decisions; it is there. */
  readonly home: string;
  /** Whether disks are to be such that they can be filled. */
  readonly hasDisks: boolean;
}

export class ChaosStage {
  readonly stage: Stage;
  readonly log: LogKind;
  readonly pgxas: readonly Pgxa[];
  readonly watches: readonly ShardWatch[];
  readonly bank: Bank;
  readonly openingTotal: number;
  /** What the last shard's data is on, if that can be filled. */
  readonly shardDisk: SmallDisk | null;
  readonly #home: string;
  readonly #letGo: () => Promise<void>;

  private constructor(
    stage: Stage,
    pgxas: readonly Pgxa[],
    shardDisk: SmallDisk | null,
    options: ChaosStageOptions,
    letGo: () => Promise<void>,
  ) {
    this.stage = stage;
    this.log = options.log;
    this.pgxas = pgxas;
    this.shardDisk = shardDisk;
    this.watches = stage.shards.map((shard) => new ShardWatch(shard));
    this.bank = { shardIds: stage.shards.map(({ id }) => id), accounts: stage.accounts };
    this.openingTotal = stage.accounts.flat().length * 1_000;
    this.#home = options.home;
    this.#letGo = letGo;
  }

  /** If it fails, what it has made goes with this process. */
  static async open(options: ChaosStageOptions): Promise<ChaosStage> {
    const letGo = guard(options.home);
    const config = { ...SECTIONS, transaction: { ...TRANSACTION, log: options.log } };
    const stage = await Stage.open({
      shards: SHARDS,
      accounts: ACCOUNTS,
      isOpen: false,
      settings: SETTINGS,
      config,
    });
    await stage.onShards(MOVE);
    const shardDisk = options.hasDisks ? await onSmallDisk(stage, options.home) : null;
    const configFile = join(options.home, "pgxa.yaml");
    writeFileSync(configFile, configuration(stage, options));
    const pgxas: Pgxa[] = [];
    for (const one of PROCESSES) pgxas.push(await openPgxa(one, configFile, stage, options));
    const opened = new ChaosStage(stage, pgxas, shardDisk, options, letGo);
    try {
      await Promise.all(pgxas.map(({ process }) => process.start()));
    } catch (error) {
      await opened.close(true);
      throw error;
    }
    return opened;
  }

  get forwarders(): readonly Forwarder[] {
    return this.pgxas.flatMap(({ front, back }) => [front, ...back]);
  }

  /** Stops everything; with `keeps` the logs of all stay in the home. */
  async close(keeps: boolean): Promise<void> {
    await Promise.all(this.pgxas.map(({ process }) => process.stop()));
    await Promise.all(this.forwarders.map((forwarder) => forwarder.close()));
    await Promise.all(this.watches.map((watch) => watch.close()));
    await Promise.all(this.stage.shards.map((shard) => shard.stop()));
    if (keeps) {
      for (const { id, dataDirectory } of this.stage.shards)
        copyFileSync(join(dataDirectory, SERVER_LOG), join(this.#home, `${id}.log`));
    }
    for (const { disk, process } of this.pgxas)
      disk?.unmount(keeps ? join(this.#home, `${process.name}-decisions-kept`) : undefined);
    this.shardDisk?.unmount();
    await this.stage.stop();
    await this.#letGo();
    if (!keeps) rmSync(this.#home, { recursive: true, force: true });
  }
}

/** The data of the last shard, moved to a disk that can be filled. */
async function onSmallDisk(stage: Stage, home: string): Promise<SmallDisk> {
  const shard = stage.shards.at(-1)!;
  await shard.stop();
  const disk = SmallDisk.mount(shard.dataDirectory, SHARD_DISK_MEBIBYTES, join(home, "mounts"));
  await shard.restart();
  return disk;
}

/** One file for both processes. */
function configuration(stage: Stage, { log }: ChaosStageOptions): string {
  const config = parse(stage.configText) as { shards: object[]; transaction: object };
  const { log_directory: _, ...transaction } = config.transaction as { log_directory: string };
  return stringify({
    ...config,
    fleet: "chaos",
    coordinator: variable("NAME"),
    pid_file: `${variable("HOME")}/${variable("NAME")}.pid`,
    listen: { host: "127.0.0.1", port: variable("PORT") },
    shards: config.shards.map((shard, i) => ({ ...shard, port: variable(`SHARD_${i}`) })),
    transaction:
      log === "shard"
        ? transaction
        : { ...transaction, log_directory: `${variable("HOME")}/${variable("NAME")}-decisions` },
  });
}

async function openPgxa(
  { name, ack }: (typeof PROCESSES)[number],
  configFile: string,
  stage: Stage,
  options: ChaosStageOptions,
): Promise<Pgxa> {
  const port = await freePort();
  const back: Forwarder[] = [];
  for (const shard of stage.shards) back.push(await Forwarder.open(`${name} to ${shard.id}`, shard.port));
  const decisions = join(options.home, `${name}-decisions`);
  mkdirSync(decisions, { recursive: true });
  const isOnSmallDisk = options.hasDisks && options.log === "file";
  const shardPorts = back.map((forwarder, i) => [`PGXA_SHARD_${i}`, String(forwarder.port)]);
  const process = new PgxaProcess({
    name,
    home: options.home,
    configFile,
    port,
    variables: {
      ...Object.fromEntries(shardPorts),
      PGXA_NAME: name,
      PGXA_ACK: ack,
      PGXA_HOME: options.home,
      PGXA_PORT: String(port),
    },
  });
  return {
    process,
    front: await Forwarder.open(`clients to ${name}`, port),
    back,
    disk: isOnSmallDisk
      ? SmallDisk.mount(decisions, PGXA_DISK_MEBIBYTES, join(options.home, "mounts"))
      : null,
  };
}
