/**
 * The clients of the transfer case: each makes one transfer after the other for the length of a round.
 * Connections stay open between rounds, as an application's do.
 */
import type { AccountsByShard } from "./bank.ts";
import { DecisionFile } from "./decisionFile.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Measurement } from "./stats.ts";
import {
  type Ending,
  handwrittenClient,
  plainClient,
  proxiedClient,
  type Transfer,
  type TransferClient,
} from "./transferClients.ts";

export type Way = "handwritten" | "plain" | "pgxa";

export interface TransferOrder {
  readonly way: Way;
  readonly shards: readonly Endpoint[];
  /** Where pgxa listens; the other ways go to the shards. */
  readonly proxy: Endpoint | null;
  readonly accounts: AccountsByShard;
  readonly clients: number;
  /** Unique to this process among those of the run. */
  readonly name: string;
  /** Where the hand-written commit writes its decisions. */
  readonly decisionPath: string;
}

const AMOUNT_MAX = 10;

export async function openClients(order: TransferOrder): Promise<TransferClient[]> {
  const decisions = order.way === "handwritten" ? await DecisionFile.open(order.decisionPath) : null;
  return Promise.all(
    Array.from({ length: order.clients }, (_, index) => {
      if (order.way === "pgxa") return proxiedClient(order.proxy!);
      if (order.way === "plain") return plainClient(order.shards);
      return handwrittenClient(order.shards, decisions!, `${order.name}:${index}`);
    }),
  );
}

/** One round; a transfer that was begun in time is finished and counted. */
export async function runClients(
  clients: readonly TransferClient[],
  accounts: AccountsByShard,
  seconds: number,
  ending: Ending = "commit",
): Promise<Measurement> {
  const latenciesMs: number[] = [];
  const cpuBefore = process.cpuUsage();
  const began = performance.now();
  const until = began + seconds * 1000;
  await Promise.all(
    clients.map(async (client) => {
      for (let start = began; start < until; start = performance.now()) {
        await client.transfer(randomTransfer(accounts), ending);
        latenciesMs.push(performance.now() - start);
      }
    }),
  );
  const { user, system } = process.cpuUsage(cpuBefore);
  return {
    transactions: latenciesMs.length,
    elapsedSeconds: (performance.now() - began) / 1000,
    latenciesMs,
    loadCpuUs: user + system,
  };
}

/** An account of each shard; what the others get or give, the last one gives or gets. */
export function randomTransfer(accounts: AccountsByShard): Transfer {
  const amount = 1 + Math.floor(Math.random() * AMOUNT_MAX);
  const each = Math.random() < 0.5 ? amount : -amount;
  const last = accounts.length - 1;
  return accounts.map((ids, shard) => ({
    account: oneOf(ids),
    amount: shard < last ? each : -each * last,
  }));
}

function oneOf(ids: readonly number[]): number {
  return ids[Math.floor(Math.random() * ids.length)]!;
}
