/**
 * `npx node bench/failover.ts [--clients N] [--seconds N] [--how SIGKILL|SIGINT|SIGSTOP]`: a primary goes under load, its
 * standby is promoted, and what the clients saw of it is printed.
 *
 * SIGKILL is a crash, SIGINT a fast shutdown, SIGSTOP a machine that hangs. The primary waits for its standby at each
 * commit, so that whatever was acknowledged must be there afterwards. The exit code is 1 if it is not, or if a client
 * lost its session.
 */
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import type pg from "pg";
import { Pair } from "../test/support/pair.ts";

interface Tally {
  readonly acknowledged: number[];
  readonly errors: Map<string, number>;
  /** When statements were acknowledged, in ms. */
  lastBeforeMs: number;
  firstAfterMs: number;
  slowestMs: number;
  lostSessions: number;
}

const HOWS = ["SIGKILL", "SIGINT", "SIGSTOP"] as const;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      clients: { type: "string", default: "20" },
      seconds: { type: "string", default: "5" },
      how: { type: "string", default: "SIGKILL" },
    },
  });
  const how = HOWS.find((one) => one === values.how);
  const [clients, seconds] = [Number(values.clients), Number(values.seconds)];
  if (how === undefined || !(clients > 0 && seconds > 0)) {
    process.stderr.write(`--how is one of ${HOWS.join(", ")}; --clients and --seconds are numbers\n`);
    return 2;
  }
  const pair = await Pair.open("CREATE TABLE noted (id int PRIMARY KEY)");
  try {
    return await run(pair, clients, seconds, how);
  } finally {
    await pair.stop();
  }
}

async function run(pair: Pair, count: number, seconds: number, how: (typeof HOWS)[number]): Promise<number> {
  await pair.untilReplayed();
  const first = await pair.first.connect();
  await first.query("ALTER SYSTEM SET synchronous_standby_names = '*'");
  await first.query("SELECT pg_reload_conf()");
  await first.end();
  const tally: Tally = {
    acknowledged: [],
    errors: new Map(),
    lastBeforeMs: 0,
    firstAfterMs: 0,
    slowestMs: 0,
    lostSessions: 0,
  };
  const clients = await Promise.all(Array.from({ length: count }, () => pair.connect()));
  const ids = { next: 0, isOver: false };
  const working = clients.map((client) => work(client, ids, tally));
  await delay(seconds * 1_000);
  const goneMs = performance.now();
  if (how === "SIGSTOP") pair.first.signalAll("SIGSTOP");
  else await pair.first.kill(how);
  await pair.promote();
  const promotedMs = performance.now();
  tally.firstAfterMs = 0;
  tally.lastBeforeMs = promotedMs;
  while (tally.firstAfterMs === 0) await delay(5);
  await delay(seconds * 1_000);
  ids.isOver = true;
  await Promise.all(working);
  const missing = await countMissing(clients, tally);
  await Promise.all(clients.map((client) => client.end().catch(() => {})));
  if (how === "SIGSTOP") await pair.first.kill("SIGKILL");
  report(how, count, tally, missing, { goneMs, promotedMs });
  return missing === 0 && tally.lostSessions === 0 ? 0 : 1;
}

async function work(client: pg.Client, ids: { next: number; isOver: boolean }, tally: Tally): Promise<void> {
  client.once("end", () => {
    if (!ids.isOver) tally.lostSessions += 1;
  });
  while (!ids.isOver) {
    const id = ids.next++;
    const startedMs = performance.now();
    try {
      await client.query("INSERT INTO noted VALUES ($1)", [id]);
      tally.acknowledged.push(id);
      if (tally.firstAfterMs === 0 && startedMs >= tally.lastBeforeMs && tally.lastBeforeMs > 0)
        tally.firstAfterMs = performance.now();
    } catch (error) {
      const { code, message } = error as Error & { code?: string };
      tally.errors.set(code ?? message, (tally.errors.get(code ?? message) ?? 0) + 1);
      await delay(10); // as an application would
    }
    tally.slowestMs = Math.max(tally.slowestMs, performance.now() - startedMs);
  }
}

async function countMissing([client]: readonly pg.Client[], { acknowledged }: Tally): Promise<number> {
  const { rows } = await client!.query<{ id: number }>("SELECT id FROM noted");
  const there = new Set(rows.map(({ id }) => id));
  return acknowledged.filter((id) => !there.has(id)).length;
}

function report(
  how: string,
  clients: number,
  { acknowledged, errors, firstAfterMs, slowestMs, lostSessions }: Tally,
  missing: number,
  { goneMs, promotedMs }: { readonly goneMs: number; readonly promotedMs: number },
): void {
  const ms = (value: number): string => `${Math.round(value)} ms`;
  const lines = [
    `${clients} clients, the primary gone by ${how}, its standby promoted at once`,
    `  acknowledged                        ${acknowledged.length}, of which missing afterwards: ${missing}`,
    `  sessions lost                       ${lostSessions}`,
    `  errors                              ${[...errors].map(([code, n]) => `${code}: ${n}`).join(", ") || "none"}`,
    `  gone until promoted                 ${ms(promotedMs - goneMs)}`,
    `  promoted until the first success    ${ms(firstAfterMs - promotedMs)}`,
    `  gone until the first success        ${ms(firstAfterMs - goneMs)}`,
    `  the longest that one statement took ${ms(slowestMs)}`,
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

process.exitCode = await main();
