/**
 * What the cases of one run share: the shards, the programs, a directory, and one pgxa for each set of shards.
 * Each is made when the first case asks for it and kept until the run ends.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startShards } from "../test/support/shards.ts";
import { type AccountsByShard, connect, openBank } from "./bank.ts";
import type { Belongings } from "./belongings.ts";
import type { Case, Login } from "./cases.ts";
import { type ClientIdentity, clientIdentity } from "./clientIdentity.ts";
import type { Versions } from "./machine.ts";
import { Pgbench } from "./pgbench.ts";
import { NOBODY, type RunningProxy, startPgbouncer } from "./pgbouncer.ts";
import { startPgpool } from "./pgpool.ts";
import {
  type DecisionLogKind,
  type RunningPgxa,
  type ShardEndpoint,
  startPgxa,
  type Workers,
} from "./pgxa.ts";
import type { Progress } from "./progress.ts";
import { findTool, type Tool } from "./tools.ts";

/** As an operator would set a shard that takes part in two-phase commits; durability is never switched off. */
const SHARD_SETTINGS = {
  shared_buffers: "256MB",
  max_connections: "800",
  max_prepared_transactions: "300",
  fsync: "on",
  synchronous_commit: "on",
};

export interface Bank {
  readonly shards: readonly ShardEndpoint[];
  readonly accounts: AccountsByShard;
}

export class Stage {
  readonly belongings: Belongings;
  readonly progress: Progress;
  readonly directory: string;
  readonly shards: readonly ShardEndpoint[];
  /** How many processes each pgxa is. */
  readonly workers: Workers;
  readonly #tools: Tools;
  readonly #scale: number;
  readonly #made = new Map<string, Promise<unknown>>();

  private constructor(parts: Parts, tools: Tools, directory: string, shards: readonly ShardEndpoint[]) {
    this.belongings = parts.belongings;
    this.progress = parts.progress;
    this.workers = parts.workers;
    this.#scale = parts.scale;
    this.#tools = tools;
    this.directory = directory;
    this.shards = shards;
  }

  /** Finds or installs the programs and starts the shards that `cases` need. */
  static async set(cases: readonly Case[], parts: Parts): Promise<Stage> {
    const say = (line: string) => parts.progress.say(line);
    const needs = (kinds: readonly Case["kind"][]) => cases.some((one) => kinds.includes(one.kind));
    const needsPgbench = needs(["pgbench", "connect", "routed"]);
    const needsPgbouncer = needs(["pgbench", "connect", "fairness", "idle", "stream"]);
    const tools: Tools = {
      pgbench: needsPgbench ? await findTool("pgbench", parts.mayInstall, say) : "not needed",
      pgbouncer: needsPgbouncer ? await findTool("pgbouncer", parts.mayInstall, say) : "not needed",
      pgpool: parts.hasPgpool && needs(["pgbench"]) ? await findTool("pgpool", false, say) : "not needed",
    };
    const directory = await mkdtemp(join(tmpdir(), "pgxa-bench-"));
    parts.belongings.keep("the temporary directory", () => rm(directory, { recursive: true, force: true }));
    const needed = needs(["routed"]) ? 3 : needs(["transfer", "conserve", "deadlock"]) ? 2 : 1;
    const count = Math.max(needed, parts.shardsMin ?? 1);
    say(`starting ${count === 1 ? "one shard" : `${count} shards`}…`);
    const running = await startShards(count, { settings: SHARD_SETTINGS });
    parts.belongings.keep("the shards", () => running.stop());
    // Plain data: load processes are told of it.
    const shards = running.shards.map(({ id, host, port, database, user }) => ({
      id,
      host,
      port,
      database,
      user,
    }));
    return new Stage(parts, tools, directory, shards);
  }

  async versions(): Promise<Versions> {
    const client = await connect(this.shards[0]!);
    const { rows } = await client.query<{ server_version: string }>("SHOW server_version");
    await client.end();
    const version = (tool: Tool | string) => (typeof tool === "string" ? null : tool.version);
    return {
      postgres: rows[0]!.server_version,
      pgbench: version(this.#tools.pgbench),
      pgbouncer: version(this.#tools.pgbouncer),
    };
  }

  /** pgbench, with its tables filled on the first shard. Throws a sentence if there is none. */
  pgbench(): Promise<Pgbench> {
    return this.#once("pgbench", async () => {
      const pgbench = new Pgbench(present(this.#tools.pgbench).command, this.belongings, this.directory);
      this.progress.say(`filling pgbench's tables, scale ${this.#scale}…`);
      await pgbench.initialize(this.shards[0]!, this.#scale);
      return pgbench;
    });
  }

  /** Throws a sentence if there is none. */
  get pgbouncerTool(): Tool {
    return present(this.#tools.pgbouncer);
  }

  /** PgBouncer in front of the first shard. Throws a sentence if there is none. */
  pgbouncer(login: Login | null = null): Promise<RunningProxy & { readonly version: string }> {
    return this.#once(`pgbouncer ${login}`, async () => {
      const tool = present(this.#tools.pgbouncer);
      const options = login === null ? {} : { identity: await this.identity(login) };
      const running = await startPgbouncer(tool, this.shards[0]!, this.belongings, this.directory, options);
      return { ...running, version: tool.version };
    });
  }

  /** Whether it is to take part. */
  get hasPgpool(): boolean {
    return this.#tools.pgpool !== "not needed";
  }

  /** Pgpool-II in front of the first shard. Throws a sentence if there is none. */
  pgpool(): Promise<RunningProxy> {
    return this.#once("pgpool", async () =>
      startPgpool(present(this.#tools.pgpool), this.shards[0]!, this.belongings, this.directory),
    );
  }

  /** How clients prove who they are. */
  identity(login: Login): Promise<ClientIdentity> {
    const ownerId = process.getuid?.() === 0 ? NOBODY : null;
    return this.#once(`identity ${login}`, () => clientIdentity(login, this.directory, ownerId));
  }

  /** pgxa in front of the first shard, with that way to log in. */
  pgxaWithLogin(login: Login): Promise<RunningPgxa> {
    return this.#once(`pgxa ${login}`, async () => {
      const identity = await this.identity(login);
      return startPgxa(this.shards.slice(0, 1), this.belongings, this.directory, [], {
        identity,
        workers: this.workers,
      });
    });
  }

  /** pgbench's tables, all of their rows, on every shard. */
  async fillAllShards(): Promise<void> {
    const pgbench = await this.pgbench();
    await this.#once("other shards' tables", () =>
      Promise.all(this.shards.slice(1).map((shard) => pgbench.initialize(shard, this.#scale))),
    );
  }

  /** pgxa in front of the first `count` shards. */
  pgxa(count: number, log: DecisionLogKind = "file"): Promise<RunningPgxa> {
    return this.#once(`pgxa ${count} ${log}`, () =>
      startPgxa(this.shards.slice(0, count), this.belongings, this.directory, [], {
        log,
        workers: this.workers,
      }),
    );
  }

  /** The bank on the two shards. */
  bank(): Promise<Bank> {
    return this.#once("bank", async () => {
      const shards = this.shards.slice(0, 2);
      this.progress.say("opening the bank…");
      return { shards, accounts: await openBank(shards) };
    });
  }

  #once<T>(what: string, make: () => Promise<T>): Promise<T> {
    const made = this.#made.get(what) ?? make();
    this.#made.set(what, made);
    return made as Promise<T>;
  }
}

interface Parts {
  readonly belongings: Belongings;
  readonly progress: Progress;
  /** pgbench's scale factor. */
  readonly scale: number;
  readonly mayInstall: boolean;
  /** Whether Pgpool-II takes part where it is installed. */
  readonly hasPgpool: boolean;
  readonly workers: Workers;
  /** Shards that are started even if the cases need fewer. */
  readonly shardsMin?: number;
}

/** A string says why there is none. */
interface Tools {
  readonly pgbench: Tool | string;
  readonly pgbouncer: Tool | string;
  readonly pgpool: Tool | string;
}

function present(tool: Tool | string): Tool {
  if (typeof tool === "string") throw new Error(tool);
  return tool;
}
