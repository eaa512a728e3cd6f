/** The idle case: what thousands of clients that do nothing cost a proxy in memory. */
import { setTimeout as delay } from "node:timers/promises";
import type { IdleCase } from "./cases.ts";
import type { Endpoint } from "./endpoint.ts";
import type { IdleFigures } from "./idleFigures.ts";
import { type RunningProxy, startPgbouncer } from "./pgbouncer.ts";
import { startPgxa } from "./pgxa.ts";
import { memoryOf } from "./processMemory.ts";
import { type RawClient, RawClients } from "./rawClient.ts";
import type { Stage } from "./stage.ts";

/** How many clients log in, or send something, at the same time. */
const AT_ONCE = 50;
/** Clients that come and go before anything is counted, so that what a proxy needs once is there. */
const WARM_UP_CLIENTS = 200;
/** How long a proxy may tidy up before it is measured; for few clients less. */
const SETTLE_MS = 3_000;
const SETTLE_MS_EACH = 5;
const KIB = 1024;

export async function runIdleCase(
  one: IdleCase,
  stage: Stage,
): Promise<{ readonly idle: readonly IdleFigures[]; readonly leftOut: readonly string[] }> {
  const { shards, belongings, directory } = stage;
  // Proxies of its own: one that has run other cases has grown already.
  const contenders: readonly (readonly [name: string, start: () => Promise<RunningProxy>])[] = [
    ["pgbouncer", async () => startPgbouncer(stage.pgbouncerTool, shards[0]!, belongings, directory)],
    ["pgxa", () => startPgxa(shards.slice(0, 1), belongings, directory, [], { workers: stage.workers })],
  ];
  const idle: IdleFigures[] = [];
  const leftOut: string[] = [];
  for (const [contender, start] of contenders) {
    stage.progress.now(`${one.name} · ${contender} · ${one.clients} clients`);
    try {
      idle.push({ contender, clients: one.clients, ...(await measure(await start(), one.clients)) });
    } catch (error) {
      leftOut.push(`${contender} in ${one.name}: ${(error as Error).message}`);
    }
  }
  return { idle, leftOut };
}

async function measure(
  { endpoint, pid }: RunningProxy,
  count: number,
): Promise<Pick<IdleFigures, "baseMib" | "loggedInKib" | "usedKib">> {
  const raw = new RawClients();
  const settleMs = Math.min(SETTLE_MS, count * SETTLE_MS_EACH);
  const first = await open(raw, endpoint, Math.min(count, WARM_UP_CLIENTS));
  await each(first, (client) => client.query("SELECT 1"));
  await each(first, (client) => client.close());
  const base = await bytesAfter(settleMs, pid);
  const clients = await open(raw, endpoint, count);
  const loggedIn = await bytesAfter(settleMs, pid);
  await each(clients, (client) => client.query("SELECT 1"));
  const used = await bytesAfter(settleMs, pid);
  await each(clients, (client) => client.close());
  return {
    baseMib: base / KIB / KIB,
    loggedInKib: (loggedIn - base) / count / KIB,
    usedKib: (used - base) / count / KIB,
  };
}

async function open(raw: RawClients, endpoint: Endpoint, count: number): Promise<readonly RawClient[]> {
  const clients: RawClient[] = [];
  await each(Array.from({ length: count }), async () => void clients.push(await raw.open(endpoint)));
  return clients;
}

/** A few at a time. */
async function each<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  for (let from = 0; from < items.length; from += AT_ONCE)
    await Promise.all(items.slice(from, from + AT_ONCE).map(act));
}

async function bytesAfter(settleMs: number, pid: number): Promise<number> {
  await delay(settleMs);
  const memory = memoryOf(pid);
  if (memory === null) throw new Error("the memory of a process can be read on Linux only");
  return memory.residentBytes;
}
