/**
 * What a transfer over two shards, or more, costs pgxa itself: BEGIN, an UPDATE on each shard, COMMIT, over the real session, the
 * real protocol of the commit and streams that are no sockets. The shards answer at once, so what is left is pgxa's own
 * work; the system's calls, a write and a read for each of those counted here, come on top of it.
 *
 * Run by hand: `npx node bench/micro/commit.ts [--log shard|file] [--participants N] [--transfers N] [--rounds N]`.
 */
import { parseArgs } from "node:util";
import type { Clock } from "../../src/base/environment.ts";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import { loadParser } from "../../src/routing/parse.ts";
import { type LogKind, TransferRig } from "./transferRig.ts";

export interface CommitFigure {
  readonly log: LogKind;
  readonly transfers: number;
  /** What one transfer makes of them. */
  readonly writes: number;
  readonly timers: number;
  /** Statements with a name that a shard parsed. */
  readonly made: number;
  /** The least of the rounds: what else the machine does only adds. */
  readonly microseconds: number;
}

/** The figure for one client that makes one transfer after the other, after as many to warm up. The parser has been loaded. */
export async function commitFigure(
  log: LogKind,
  transfers: number,
  rounds: number,
  clock: Clock = systemEnvironment.clock,
  participants = 2,
): Promise<CommitFigure> {
  const rig = await TransferRig.open(log, clock, participants);
  for (let i = 0; i < transfers; i += 1) await rig.transfer();
  const before = rig.counts();
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const { user, system } = process.cpuUsage();
    for (let i = 0; i < transfers; i += 1) await rig.transfer();
    const after = process.cpuUsage();
    times.push((after.user + after.system - user - system) / transfers);
  }
  const { writes, timers, made } = rig.counts();
  const all = transfers * rounds;
  return {
    log,
    transfers,
    writes: (writes - before.writes) / all,
    timers: (timers - before.timers) / all,
    made: (made - before.made) / all,
    microseconds: Math.min(...times),
  };
}

async function main(argv: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      log: { type: "string" },
      participants: { type: "string", default: "2" },
      transfers: { type: "string", default: "2000" },
      rounds: { type: "string", default: "40" },
    },
  });
  await loadParser();
  const logs: readonly LogKind[] =
    values.log === undefined ? ["shard", "file"] : [values.log === "file" ? "file" : "shard"];
  const counts = [Number(values.transfers), Number(values.rounds)] as const;
  for (const log of logs) {
    const figure = await commitFigure(log, ...counts, undefined, Number(values.participants));
    const { writes, timers, microseconds } = figure;
    process.stdout.write(
      `${log.padEnd(6)} ${microseconds.toFixed(1).padStart(6)} µs, ${writes} writes, ${timers.toFixed(2)} timers a transfer\n`,
    );
  }
}

if (import.meta.main) await main(process.argv.slice(2));
