/**
 * Many clients who move money between shards and take their locks in no order: deadlocks without end, and no harm done.
 *
 * PGXA_LOAD_SECONDS says how long (5); what came of it is printed.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type pg from "pg";
import type { DeadlockRecord } from "../../src/deadlock/history.ts";
import { assertCircle, DeadlockStage, later, unstuck } from "./deadlockStage.ts";
import { OPENING_BALANCE } from "./stage.ts";

const SECONDS = Number(process.env["PGXA_LOAD_SECONDS"] ?? 5);
const CLIENTS = 200;
const SHARDS = 3;
/** Few enough that clients get in each other's way. */
const ACCOUNTS = 90;
/** pgxa keeps the last 100 deadlocks; they have to be read before they are forgotten. */
const READ_EVERY_MS = 100;

let stage: DeadlockStage;

before(async () => {
  stage = await DeadlockStage.open({ shards: SHARDS, accounts: ACCOUNTS, config: { pool: { max: 20 } } });
});
after(() => stage?.stop());

interface Tally {
  transfers: number;
  victims: number;
  readonly errors: string[];
  /** The longest time between two transfers, or the start and the first one, in ms. */
  slowestMs: number;
  /** The most often it was a victim between two transfers. */
  defeats: number;
}

const pick = <Value>(values: readonly Value[]): Value => values[Math.floor(Math.random() * values.length)]!;

/** Two accounts on different shards. */
function pickTwo(): readonly [number, number] {
  const one = Math.floor(Math.random() * SHARDS);
  const other = (one + 1 + Math.floor(Math.random() * (SHARDS - 1))) % SHARDS;
  return [pick(stage.stage.accounts[one]!), pick(stage.stage.accounts[other]!)];
}

async function transfer(client: pg.Client, [from, to]: readonly [number, number]): Promise<void> {
  const move = "UPDATE accounts SET balance = balance + $2 WHERE id = $1";
  await client.query("BEGIN");
  await client.query(move, [from, -1]);
  await client.query(move, [to, 1]);
  await client.query("COMMIT");
}

/** Transfers until `endMs`, each as often as it takes. */
async function work(client: pg.Client, endMs: number): Promise<Tally> {
  const tally: Tally = { transfers: 0, victims: 0, errors: [], slowestMs: 0, defeats: 0 };
  while (performance.now() < endMs && tally.errors.length === 0) {
    const startedMs = performance.now();
    const accounts = pickTwo();
    for (let defeats = 0; ; defeats += 1) {
      const error = await transfer(client, accounts).then(
        () => null,
        (refused: pg.DatabaseError) => refused,
      );
      tally.defeats = Math.max(tally.defeats, defeats);
      if (error === null) break;
      await client.query("ROLLBACK").catch(() => {});
      if (error.code === "40P01") tally.victims += 1;
      else tally.errors.push(`${error.code} ${error.message}`);
      if (tally.errors.length > 0) return tally;
    }
    tally.transfers += 1;
    tally.slowestMs = Math.max(tally.slowestMs, performance.now() - startedMs);
  }
  return tally;
}

/** Reads what pgxa recorded until `isOver`. */
async function collect(records: Map<number, DeadlockRecord>, isOver: () => boolean): Promise<void> {
  for (;;) {
    const isLast = isOver();
    for (const record of await stage.records()) records.set(record.id, record);
    if (isLast) return;
    await later(READ_EVERY_MS);
  }
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

const tested = { timeout: (SECONDS + 50) * 1_000 };
test(`${CLIENTS} clients without an order of locks all get on, and no money is lost`, tested, async () => {
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => stage.stage.connect()));
  const records = new Map<number, DeadlockRecord>();
  let isOver = false;
  const endMs = performance.now() + SECONDS * 1_000;
  const collecting = collect(records, () => isOver);
  const working = Promise.all(clients.map((client) => work(client, endMs)));
  await later(SECONDS * 1_000);
  const tallies = await unstuck(working, "a client that has a transfer to finish");
  isOver = true;
  await collecting;

  const victims = sum(tallies.map((tally) => tally.victims));
  const broken = [...records.values()];
  const most = (of: (tally: Tally) => number): number => Math.max(...tallies.map(of));
  const sizes = Map.groupBy(broken, ({ cause, size }) => `${cause} ${size}`);
  const detections = broken.map(({ detectionMs }) => detectionMs).sort((a, b) => a - b);
  console.log({
    seconds: SECONDS,
    transfers: sum(tallies.map(({ transfers }) => transfers)),
    victims,
    sizes: Object.fromEntries([...sizes].map(([name, { length }]) => [name, length]).sort()),
    detectionMs: [0.5, 0.9, 0.99].map((part) => detections[Math.floor(part * detections.length)]),
    slowestClientMs: Math.round(most(({ slowestMs }) => slowestMs)),
    mostDefeatsInARow: most(({ defeats }) => defeats),
    fewestTransfersOfAClient: -most(({ transfers }) => -transfers),
    probes: await stage.metric("pgxa_deadlock_probes_total"),
  });

  assert.deepEqual(
    tallies.flatMap(({ errors }) => errors),
    [],
    "no other error than a deadlock's",
  );
  for (const { transfers } of tallies) assert.ok(transfers > 0, "every client gets on");
  assert.equal(broken.length, victims, "each victim has its circle on record");
  assert.equal(await stage.metric("pgxa_deadlocks_total"), victims);
  for (const record of broken) assertCircle(record);
  const balances = await stage.stage.onShards("SELECT sum(balance)::int AS balance FROM accounts");
  assert.equal(sum(balances.map(([row]) => row!["balance"])), ACCOUNTS * OPENING_BALANCE);
  assert.deepEqual((await stage.stage.onShards("SELECT gid FROM pg_prepared_xacts")).flat(), []);
  assert.deepEqual(await stage.waiting(), [0, 0, 0]);
});
