/**
 * `npx node bench/shardFault.ts [--clients N] [--seconds N]`: what the clients of one shard feel when another one is
 * restarted, is killed, or falls silent.
 *
 * Clients of the healthy shard run short transactions all the time, and as many others work on the shard with the
 * fault. Printed are the healthy ones' throughput and latency without a fault, then with each fault, side by side in
 * one run; and the errors of the others. The exit code is 1 if a statement for the healthy shard failed.
 */
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import type pg from "pg";
import { Stage } from "../test/system/stage.ts";

interface Figures {
  readonly latenciesMs: number[];
  readonly errors: Map<string, number>;
}

const count = (errors: Map<string, number>, error: unknown): void => {
  const { code, message } = error as Error & { code?: string };
  errors.set(code ?? message, (errors.get(code ?? message) ?? 0) + 1);
};

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { clients: { type: "string", default: "10" }, seconds: { type: "string", default: "15" } },
  });
  const [clients, seconds] = [Number(values.clients), Number(values.seconds)];
  if (!(clients > 0 && seconds > 0)) {
    process.stderr.write("--clients and --seconds are numbers\n");
    return 2;
  }
  const stage = await Stage.open();
  try {
    return await run(stage, clients, seconds);
  } finally {
    stage.shards[0]!.signalAll("SIGCONT");
    await stage.stop();
  }
}

async function run(stage: Stage, clients: number, seconds: number): Promise<number> {
  const faulty = stage.shards[0]!;
  const faults: readonly (readonly [string, () => Promise<void>, () => Promise<void>])[] = [
    ["none", async () => {}, async () => {}],
    ["restarted", () => faulty.restart(), async () => {}],
    ["killed", () => faulty.kill("SIGKILL"), () => faulty.restart()],
    ["silent", async () => faulty.signalAll("SIGSTOP"), async () => faulty.signalAll("SIGCONT")],
  ];
  const update = (shard: number): string =>
    `UPDATE accounts SET balance = balance + 1 WHERE id = ${stage.accounts[shard]![0]}`;
  const others = await Promise.all(Array.from({ length: clients }, () => stage.connect()));
  const healthy = await Promise.all(Array.from({ length: clients }, () => stage.connect()));
  process.stdout.write(
    "fault       healthy shard: tx/s   p50 ms   p99 ms   max ms   errors | errors of the other\n",
  );
  let failures = 0;
  for (const [name, begin, end] of faults) {
    const state = { isOver: false };
    const [good, bad] = [figures(), figures()];
    const working = [
      ...healthy.map((client, i) => work(client, accountUpdate(stage, 1, i), state, good)),
      ...others.map((client) => work(client, update(0), state, bad)),
    ];
    await delay(1_000);
    await begin();
    await delay(seconds * 1_000);
    await end();
    state.isOver = true;
    await Promise.all(working);
    failures += good.errors.size;
    report(name, good, bad, seconds + 1);
    await untilServed(others[0]!, update(0));
  }
  return failures === 0 ? 0 : 1;
}

const figures = (): Figures => ({ latenciesMs: [], errors: new Map() });

/** Each client of the healthy shard has a row of its own. */
const accountUpdate = (stage: Stage, shard: number, i: number): string => {
  const accounts = stage.accounts[shard]!;
  return `UPDATE accounts SET balance = balance + 1 WHERE id = ${accounts[i % accounts.length]}`;
};

async function work(
  client: pg.Client,
  sql: string,
  state: { isOver: boolean },
  into: Figures,
): Promise<void> {
  while (!state.isOver) {
    const startedMs = performance.now();
    try {
      await client.query("BEGIN");
      await client.query(sql);
      await client.query("COMMIT");
      into.latenciesMs.push(performance.now() - startedMs);
    } catch (error) {
      count(into.errors, error);
      await client.query("ROLLBACK").catch(() => {});
      await delay(10);
    }
  }
}

async function untilServed(client: pg.Client, sql: string): Promise<void> {
  for (let isServed = false; !isServed; ) {
    isServed = await client.query(sql).then(
      () => true,
      () => delay(50, false),
    );
  }
}

function report(name: string, good: Figures, bad: Figures, seconds: number): void {
  const sorted = good.latenciesMs.sort((a, b) => a - b);
  const at = (share: number): string =>
    (sorted[Math.floor((sorted.length - 1) * share)] ?? 0).toFixed(1).padStart(9);
  const errorsOf = ({ errors }: Figures): string =>
    [...errors].map(([code, n]) => `${code}: ${n}`).join(", ") || "none";
  const rate = (sorted.length / seconds).toFixed(0).padStart(20);
  process.stdout.write(
    `${name.padEnd(12)}${rate}${at(0.5)}${at(0.99)}${at(1)}   ${errorsOf(good).padEnd(6)} | ${errorsOf(bad)}\n`,
  );
}

process.exitCode = await main();
