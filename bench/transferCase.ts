/**
 * The transfer case: a hand-written two-phase commit, two plain COMMITs, and pgxa: as it is unless told otherwise, with its
 * decisions on the shards, and with them in files.
 */
import { cpus } from "node:os";
import { join } from "node:path";
import type { Belongings } from "./belongings.ts";
import type { TransferCase } from "./cases.ts";
import { type Contender, type Turns, takeTurns } from "./contender.ts";
import { LoadProcess } from "./loadProcess.ts";
import type { CaseDone } from "./pgbenchCase.ts";
import type { RunningProxy } from "./pgbouncer.ts";
import type { Bank, Stage } from "./stage.ts";
import { type Measurement, rowsOf } from "./stats.ts";
import type { Way } from "./transferLoad.ts";

export async function runTransferCase(one: TransferCase, stage: Stage, turns: Turns): Promise<CaseDone> {
  const bank = await stage.bank();
  const contenders = [
    await transferContender("handwritten", one.clients, bank, null, stage),
    await transferContender("plain", one.clients, bank, null, stage),
  ];
  const absent: string[] = [];
  for (const log of ["shard", "file"] as const) {
    try {
      const contender = await transferContender("pgxa", one.clients, bank, await stage.pgxa(2, log), stage);
      contenders.push(log === "shard" ? contender : { ...contender, name: "pgxa file log" });
    } catch (error) {
      absent.push(`${one.name}, log on ${log}: ${(error as Error).message}`);
    }
  }
  for (const line of absent) stage.progress.say(`left out: ${line}`);
  const done = await takeTurns(one.name, contenders, turns, stage.progress);
  return { rows: rowsOf(one.name, one.clients, done.rounds), leftOut: [...absent, ...done.leftOut] };
}

/** Starts the load processes and logs their clients in. */
export async function transferContender(
  way: Way,
  clients: number,
  bank: Bank,
  proxy: RunningProxy | null,
  place: LoadPlace,
): Promise<Contender> {
  const loads = await openLoads(way, clients, bank, proxy, place);
  return {
    name: way,
    proxyPid: proxy?.pid ?? null,
    run: async (seconds) => together(await Promise.all(loads.map((load) => load.run(seconds)))),
  };
}

/** Who stops the load processes, and where the hand-written commit writes its decisions. */
export interface LoadPlace {
  readonly belongings: Belongings;
  readonly directory: string;
}

export async function openLoads(
  way: Way,
  clients: number,
  bank: Bank,
  proxy: RunningProxy | null,
  place: LoadPlace,
): Promise<readonly LoadProcess[]> {
  return Promise.all(
    sharesOf(clients).map(async (share, index) => {
      const load = new LoadProcess(place.belongings);
      await load.open({
        way,
        shards: bank.shards,
        proxy: proxy?.endpoint ?? null,
        accounts: bank.accounts,
        clients: share,
        name: `${way}:${index}`,
        decisionPath: join(place.directory, `decisions-${index}`),
      });
      return load;
    }),
  );
}

/** How many clients each load process has: half the cores make load, and leave the rest to those who bear it. */
export function sharesOf(clients: number): number[] {
  const processes = Math.min(clients, Math.max(1, Math.floor(cpus().length / 2)));
  return Array.from({ length: processes }, (_, index) => Math.floor((clients + index) / processes));
}

/** What several load processes measured at the same time. */
export function together(parts: readonly Measurement[]): Measurement {
  const sum = (of: (part: Measurement) => number) => parts.reduce((total, part) => total + of(part), 0);
  return {
    transactions: sum((part) => part.transactions),
    elapsedSeconds: Math.max(...parts.map((part) => part.elapsedSeconds)),
    latenciesMs: parts.flatMap((part) => part.latenciesMs),
    loadCpuUs: sum((part) => part.loadCpuUs ?? 0),
  };
}
