/**
 * What the cells of one run share: shards with or without slow flushes, a bank for each number of participants, and
 * the proxies in front of it. A new bank or new shards take the place of what was there before.
 */
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startShards, type TestShards } from "../../test/support/shards.ts";
import { connect, openBank } from "../bank.ts";
import type { Belongings } from "../belongings.ts";
import { type RunningPgxa, type ShardEndpoint, startPgxa, type Workers } from "../pgxa.ts";
import type { Bank } from "../stage.ts";
import { type CitusCluster, startCitus } from "./citus.ts";
import { compile } from "./compiled.ts";
import type { Flush } from "./plan.ts";
import { buildSlowFlush, hasSlowFlush, preload } from "./slowFlush.ts";

/** As an operator would set a shard that takes part in two-phase commits; durability is never switched off. */
const SHARD_SETTINGS = {
  shared_buffers: "128MB",
  max_connections: "1000",
  max_prepared_transactions: "500",
  fsync: "on",
  synchronous_commit: "on",
};

/** `file alone` is the log of files without group commit. */
export type ProxyKind = "shard" | "file" | "file alone";

const ALONE = ["--import", join(import.meta.dirname, "eachDecisionAlone.ts")];

export class CommitStage {
  readonly belongings: Belongings;
  readonly directory: string;
  readonly #workers: Workers;
  #shards: TestShards | null = null;
  #bank: Bank | null = null;
  #cProgram: Promise<string> | null = null;
  readonly #proxies = new Map<ProxyKind, Promise<RunningPgxa>>();
  #citus: Promise<CitusCluster> | null = null;

  private constructor(belongings: Belongings, directory: string, workers: Workers) {
    this.belongings = belongings;
    this.#workers = workers;
    this.directory = directory;
  }

  static async set(belongings: Belongings, workers: Workers = 1): Promise<CommitStage> {
    const directory = await mkdtemp(join(tmpdir(), "pgxa-bench-"));
    await chmod(directory, 0o755); // shards run as another user, and load a library from it
    belongings.keep("the temporary directory", () => rm(directory, { recursive: true, force: true }));
    const stage = new CommitStage(belongings, directory, workers);
    belongings.keep("the shards", async () => stage.#shards?.stop());
    return stage;
  }

  /** Starts `count` shards in place of those before. Rejects with one line where flushes cannot be made slow. */
  async startShards(count: number, flush: Flush): Promise<void> {
    await this.#stopProxies();
    await this.#shards?.stop();
    this.#shards = null;
    preload(null);
    if (flush === "slow") preload(await buildSlowFlush(this.directory));
    const shards = await startShards(count, { settings: SHARD_SETTINGS });
    this.#shards = shards;
    if (flush === "slow" && !shards.shards.every(({ serverPid }) => hasSlowFlush(serverPid!)))
      throw new Error("the preloaded library does not reach Postgres");
  }

  async postgresVersion(): Promise<string> {
    const client = await connect(this.#shards!.shards[0]!);
    const { rows } = await client.query<{ server_version: string }>("SHOW server_version");
    await client.end();
    return rows[0]!.server_version;
  }

  /** The bank on the first shards, new if the one before had another number of them. */
  async bank(participants: number): Promise<Bank> {
    if (this.#bank?.shards.length === participants) return this.#bank;
    await this.#stopProxies();
    // Plain data: load processes are told of it.
    const shards = this.#shards!.shards.slice(0, participants).map(
      ({ id, host, port, database, user }): ShardEndpoint => ({ id, host, port, database, user }),
    );
    const accounts = await openBank(shards);
    for (const shard of shards) {
      const client = await connect(shard);
      await client.query(
        "CREATE TABLE IF NOT EXISTS hand_decision (client text, seq int8, PRIMARY KEY (client, seq))",
      );
      await client.end();
    }
    this.#bank = { shards, accounts };
    return this.#bank;
  }

  /** pgxa in front of the bank. */
  proxy(kind: ProxyKind): Promise<RunningPgxa> {
    const log = kind === "shard" ? "shard" : "file";
    const made =
      this.#proxies.get(kind) ??
      startPgxa(this.#bank!.shards, this.belongings, this.directory, kind === "file alone" ? ALONE : [], {
        log,
        workers: this.#workers,
      });
    this.#proxies.set(kind, made);
    return made;
  }

  /** A Citus cluster with as many workers as the bank has shards. Rejects with one line where there is none. */
  citus(): Promise<CitusCluster> {
    this.#citus ??= startCitus(this.#bank!.shards.length, this.belongings, this.directory);
    return this.#citus;
  }

  /** The client in C. Rejects with one line where it cannot be built. */
  cProgram(): Promise<string> {
    this.#cProgram ??= this.#buildClient();
    return this.#cProgram;
  }

  async #buildClient(): Promise<string> {
    if (process.platform !== "linux") throw new Error("the client in C needs Linux (epoll)");
    const target = join(this.directory, "commitClient");
    await compile(join(import.meta.dirname, "../c/commitClient.c"), target, ["-pthread"]);
    return target;
  }

  async #stopProxies(): Promise<void> {
    this.#bank = null;
    const citus = this.#citus;
    this.#citus = null;
    const running = [...this.#proxies.values(), ...(citus === null ? [] : [citus])];
    this.#proxies.clear();
    for (const one of await Promise.allSettled(running))
      if (one.status === "fulfilled") await one.value.stop();
  }
}
