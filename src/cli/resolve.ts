/**
 * `pgxa resolve`: an operator says how a transaction in doubt is to end, where pgxa cannot know.
 *
 * A pgxa that runs with the decision log in files has it in hand, so there it is done through its console. Otherwise
 * this process asks the shards itself, and takes the log's directory for as long as that takes.
 */
import { statSync } from "node:fs";
import { userInfo } from "node:os";
import { createInterface } from "node:readline/promises";
import type { ResolveRemark, ResolveRequest } from "../admin/operations.ts";
import { Fault } from "../base/fault.ts";
import type { Config, ShardConfig } from "../config/config.ts";
import { createLog } from "../observe/log.ts";
import { FileLog } from "../txn/fileLog/fileLog.ts";
import { isOwned } from "../txn/fileLog/ownerLock.ts";
import type { Resolution } from "../txn/heuristic/resolution.ts";
import { remarksOn } from "../txn/heuristic/risk.ts";
import { ShardControl } from "../txn/shardControl.ts";
import { createHeuristics, recordsOf } from "./composeHeuristics.ts";
import { explain, loadOrComplain } from "./configFile.ts";
import { ConsoleResolution } from "./resolveConsole.ts";
import { type ResolveOptions, readResolveOptions } from "./resolveOptions.ts";
import { systemEnvironment } from "./systemEnvironment.ts";

const HELP = `Usage: pgxa resolve GTRID commit|rollback --config FILE [OPTIONS]

Ends a transaction in doubt as you say, for what pgxa cannot decide itself: its decision log is lost or damaged, or
the shard with its decision is gone for ever. Shows first what stands where and what may go wrong, and asks. What is
decided, or in the hands of a pgxa that lives, is refused. SHOW IN_DOUBT on the console has the names.

If a pgxa runs that has the decision log, it is asked to do it, by its console. Otherwise run this as the same system
user as pgxa.

Options:
  --config FILE, -c FILE  the YAML file
  --reason TEXT           why; kept with the outcome, and shown by SHOW HEURISTICS
  --yes, -y               do not ask
  --user NAME, -U NAME    on the console; default: the first of console.admin_users. Its password: PGPASSWORD, or as
                          users has it
  --help, -h              show this help

Exit code: 0 if it is done, 1 if it was refused or something is left, 2 for a wrong command line or configuration.
`;

/** Who does it: this process, or one that runs. */
export interface Resolver {
  /** What it would mean; rejects with a Fault if it is refused. */
  look(): Promise<readonly ResolveRemark[]>;
  /** Does it, and tells what became of each branch. */
  resolve(): Promise<readonly (ResolveRemark & { readonly isDone: boolean })[]>;
  close(): Promise<void>;
}

/** Resolves with the exit code. */
export async function runResolve(args: readonly string[]): Promise<number> {
  const read = readResolveOptions(args);
  if (read.kind === "help") {
    console.log(HELP);
    return 0;
  }
  if (read.kind === "wrong") {
    console.error(read.says);
    return 2;
  }
  const { options } = read;
  const config = loadOrComplain(options.file)?.config ?? null;
  if (config === null) return 2;
  try {
    if (config.shards.length < 2) throw new Fault("resolve.not_possible");
    const resolver = await openResolver(config, options);
    try {
      return await run(resolver, options);
    } finally {
      await resolver.close();
    }
  } catch (error) {
    console.error(error instanceof Fault ? explain(error) : (error as Error).message);
    return 1;
  }
}

async function run(resolver: Resolver, { gtrid, outcome, isSure }: ResolveOptions): Promise<number> {
  const verb = outcome === "commit" ? "COMMIT" : "ROLLBACK";
  console.log(`${verb} of transaction ${gtrid}`);
  for (const remark of await resolver.look()) console.log(lineOf(remark));
  if (!isSure && !(await isConfirmed(gtrid))) {
    console.error("Nothing was done.");
    return 1;
  }
  const ended = await resolver.resolve();
  for (const remark of ended) console.log(lineOf(remark));
  if (ended.every(({ isDone }) => isDone)) return 0;
  console.error("Something is left; the outcome is recorded, and pgxa ends what is left by it.");
  return 1;
}

const lineOf = ({ shard, says }: ResolveRemark): string =>
  shard === null ? `  ${says}` : `  shard ${shard}: ${says}`;

async function isConfirmed(gtrid: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new Promise<string>((resolve) => lines.once("close", () => resolve("")));
  const answer = await Promise.race([lines.question("Type the name of the transaction to do it: "), closed]);
  lines.close();
  return answer.trim() === gtrid;
}

async function openResolver(config: Config, options: ResolveOptions): Promise<Resolver> {
  const { log, logDirectory } = config.transaction;
  const request: ResolveRequest = {
    ...{ gtrid: options.gtrid, outcome: options.outcome, reason: options.reason },
    isConfirmed: true,
    by: `system user "${userInfo().username}" with pgxa resolve`,
  };
  const viaConsole = (): Promise<Resolver> => ConsoleResolution.open(config, request, options.user);
  const isNew = log === "file" && statSync(logDirectory, { throwIfNoEntry: false }) === undefined;
  const files = logDirectory === "" ? null : await openFiles(logDirectory);
  if (files === "owned" && log === "file") return viaConsole();
  const own = await OwnResolution.open(config, request, files === "owned" ? null : files);
  if (isNew)
    console.log(`There was no decision log in ${logDirectory}: is this the machine that pgxa runs on?`);
  if (files !== "owned" || (await own.isAnchored())) return own;
  await own.close();
  return viaConsole();
}

/** The log, or that a process which lives has it. */
async function openFiles(directory: string): Promise<FileLog | "owned"> {
  refuseOthersDirectory(directory);
  try {
    const { clock } = systemEnvironment;
    return await FileLog.open({
      ...{ directory, log: createLog("error"), wallMs: clock.wallMs() },
      faultPoint: () => {},
    });
  } catch (error) {
    if (isOwned(error)) return "owned";
    throw error;
  }
}

/** Files that pgxa could not write afterwards must not be made. */
function refuseOthersDirectory(directory: string): void {
  const uid = statSync(directory, { throwIfNoEntry: false })?.uid;
  if (uid === undefined || process.geteuid === undefined || process.geteuid() === uid) return;
  throw new Error(
    `${directory} belongs to another system user (${uid}).\nRun pgxa resolve as that one, as pgxa is.`,
  );
}

class OwnResolution implements Resolver {
  readonly #controls: readonly ShardControl[];
  readonly #files: FileLog | null;
  readonly #resolution: Resolution;
  readonly #request: ResolveRequest;

  private constructor(
    config: Config,
    controls: readonly ShardControl[],
    files: FileLog | null,
    request: ResolveRequest,
  ) {
    const { clock } = systemEnvironment;
    this.#controls = controls;
    this.#files = files;
    this.#request = request;
    const records = recordsOf(config, controls, clock);
    this.#resolution = createHeuristics({
      ...{ config, controls, decisions: files, records, clock, log: createLog("error") },
      epoch: () => 0,
      isRunning: () => false,
    }).resolution;
  }

  static async open(config: Config, request: ResolveRequest, files: FileLog | null): Promise<OwnResolution> {
    const controls = await Promise.all(config.shards.map(primaryOf));
    return new OwnResolution(config, controls, files, request);
  }

  /** Whether its decision is on a shard. */
  async isAnchored(): Promise<boolean> {
    const found = await this.#resolution.look(this.#request.gtrid).catch(() => null);
    return found !== null && found.anchor !== null;
  }

  async look(): Promise<readonly ResolveRemark[]> {
    const { gtrid, outcome } = this.#request;
    const found = await this.#resolution.look(gtrid);
    return remarksOn(found, outcome, this.#resolution.rule(found, outcome));
  }

  resolve() {
    return this.#resolution.resolve(this.#request.gtrid, this.#request);
  }

  async close(): Promise<void> {
    await Promise.all(this.#controls.map((control) => control.close()));
    await this.#files?.close();
  }
}

/** A session at the server of `shard` that can end transactions; a standby cannot. */
async function primaryOf(shard: ShardConfig): Promise<ShardControl> {
  const servers = (shard.hosts ?? [shard]).map(({ host, port }) => ({ ...shard, host, port }));
  for (const server of servers.slice(0, -1)) {
    const control = new ShardControl(server);
    const isPrimary = await control.connect().then(
      () => true,
      () => false,
    );
    if (isPrimary) return control;
    await control.close();
  }
  return new ShardControl(servers.at(-1)!);
}
