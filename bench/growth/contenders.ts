/** Who takes turns in the growth case: pgxa, and whoever does the same otherwise. */
import type { PgbenchLoad } from "../cases.ts";
import { application, type Made } from "../commit/contenders.ts";
import { HANDWRITTEN } from "../commit/names.ts";
import type { Cell } from "../commit/plan.ts";
import type { CommitStage } from "../commit/stage.ts";
import type { Contender } from "../contender.ts";
import type { Endpoint } from "../endpoint.ts";
import type { Stage } from "../stage.ts";
import { CLIENTS, type DimensionName, TRANSFER_CLIENTS } from "./plan.ts";
import { pipelineOf, rowsOfSize, selects } from "./scripts.ts";

/** Whom pgxa is compared with where pgbench makes the load. */
export interface Peer {
  readonly name: string;
  readonly endpoint: Endpoint;
  readonly pid: number | null;
}

/** PgBouncer, or Postgres directly where there is none. */
export async function peerOf(stage: Stage, leaveOut: (line: string) => void): Promise<Peer> {
  try {
    return { name: "pgbouncer", ...(await stage.pgbouncer()) };
  } catch (error) {
    leaveOut(`pgbouncer in growth, whose place Postgres takes: ${(error as Error).message}`);
    return { name: "direct", endpoint: stage.shards[0]!, pid: null };
  }
}

/** Over shards pgxa has no peer. */
export function pgbenchContenders(
  dimension: DimensionName,
  value: number,
  scale: number,
  stage: Stage,
  peer: Peer,
): readonly Promise<Contender>[] {
  const load = loadOf(dimension, value, scale, stage);
  const pgxa = stage.pgxa(dimension === "shards" ? value : 1).then((proxy) => ({ name: "pgxa", ...proxy }));
  const each = dimension === "pipelining" ? value : 1;
  const sides = dimension === "shards" ? [pgxa] : [Promise.resolve(peer), pgxa];
  return sides.map(async (starting) => {
    const [side, made] = await Promise.all([starting, load]); // both may fail
    return pgbenchContender(side, made, each, stage);
  });
}

async function loadOf(
  dimension: DimensionName,
  value: number,
  scale: number,
  stage: Stage,
): Promise<PgbenchLoad> {
  if (dimension === "rows") return rowsOfSize(value, stage.directory);
  if (dimension === "pipelining") return pipelineOf(value, scale, stage.directory);
  if (dimension === "shards") await stage.fillAllShards();
  return selects(dimension === "clients" ? value : CLIENTS);
}

/** `each`: how many of what is counted a transaction of pgbench has. */
async function pgbenchContender(
  { name, endpoint, pid }: Peer,
  load: PgbenchLoad,
  each: number,
  stage: Stage,
): Promise<Contender> {
  const pgbench = await stage.pgbench();
  const run = async (seconds: number) => {
    const measured = await pgbench.run(load, endpoint, seconds);
    return { ...measured, transactions: measured.transactions * each };
  };
  return { name, proxyPid: pid, run };
}

/** A hand-written two-phase commit, and pgxa with either decision log; whoever can't take part is left out. */
export async function transferContenders(
  participants: number,
  stage: CommitStage,
  leaveOut: (line: string) => void,
): Promise<Made> {
  const cell: Cell = { kind: "commits", participants, clients: TRANSFER_CLIENTS };
  const bank = await stage.bank(participants);
  const made: Made[] = [];
  for (const log of [null, "file", "shard"] as const) {
    const name = log === null ? HANDWRITTEN : `pgxa ${log}`;
    try {
      const proxy = log === null ? null : await stage.proxy(log);
      made.push(await application(name, cell, ["commit"], proxy, stage, bank));
    } catch (error) {
      leaveOut(`${name} in growth, participants: ${participants}: ${(error as Error).message}`);
    }
  }
  return {
    contenders: made.flatMap(({ contenders }) => contenders),
    close: async () => void (await Promise.all(made.map(({ close }) => close()))),
  };
}
