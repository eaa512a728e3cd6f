/** What pgxa takes for an obstacle to PREPARE TRANSACTION is one for Postgres, and nothing else of what texts show is. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type pg from "pg";
import { loadParser, parse } from "../../src/routing/parse.ts";
import { aboutPreparing } from "../../src/routing/prepareObstacle.ts";
import { Transaction } from "../../src/txn/transaction.ts";
import { SeededRandom } from "../sim/seededRandom.ts";
import { startShards, type TestShards } from "../support/shards.ts";

const TIMEOUT = { timeout: 60_000 };

let stage: TestShards;

before(async () => {
  await loadParser();
  stage = await startShards(1);
});
after(() => stage.stop());

const STEPS: readonly string[] = [
  "SAVEPOINT a",
  "SAVEPOINT b",
  "RELEASE a",
  "RELEASE b",
  "ROLLBACK TO a",
  "ROLLBACK TO b",
  "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
  "DECLARE d CURSOR WITH HOLD FOR SELECT 1",
  "CLOSE c",
  "CLOSE ALL",
  "NOTIFY news",
  "SELECT pg_notify('news', '')",
  "LISTEN news",
  "SELECT * FROM accounts",
  "SELECT pg_temp.f()",
  "SELECT pg_export_snapshot()",
  "CREATE TEMP TABLE made (a int) ON COMMIT DROP",
];

/** Plays one transaction on `shard`, as pgxa notes it; what pgxa and the shard say of PREPARE, null if it was given up. */
async function play(
  shard: pg.Client,
  steps: readonly string[],
): Promise<{ noted: boolean; actual: boolean } | null> {
  const transaction = new Transaction("", false);
  await shard.query("BEGIN; UPDATE accounts SET balance = balance WHERE id = 0");
  for (const sql of steps) {
    const [, verb, name = ""] = /^(SAVEPOINT|RELEASE|ROLLBACK TO) (\w+)$/.exec(sql) ?? [];
    if (verb !== undefined && verb !== "SAVEPOINT" && !transaction.hasSavepoint(name)) continue;
    const { obstacles, closes } = aboutPreparing(parse(sql));
    for (const cursor of closes ?? []) transaction.obstacles?.close(0, cursor);
    for (const obstacle of obstacles ?? []) transaction.noteObstacle(0, obstacle);
    try {
      await shard.query(sql);
      if (verb === "SAVEPOINT") transaction.savepoint(name);
      if (verb === "RELEASE") transaction.release(name);
      if (verb === "ROLLBACK TO") transaction.rollbackTo(name);
    } catch {
      const back = ["a", "b"].find((savepoint) => transaction.hasSavepoint(savepoint));
      if (back === undefined) {
        await shard.query("ROLLBACK");
        return null;
      }
      await shard.query(`ROLLBACK TO ${back}`);
      transaction.rollbackTo(back);
    }
  }
  const noted = (transaction.obstacles?.on(0) ?? null) !== null;
  try {
    await shard.query("PREPARE TRANSACTION 'played'");
    await shard.query("ROLLBACK PREPARED 'played'");
    return { noted, actual: false };
  } catch (error) {
    assert.equal((error as pg.DatabaseError).code, "0A000");
    return { noted, actual: true };
  }
}

test(
  "Postgres says the same of what can be prepared, whatever savepoints undo and errors leave",
  TIMEOUT,
  async (context) => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
    context.diagnostic(`SEED=${seed}`);
    const random = new SeededRandom(seed);
    const shard = await stage.shards[0]!.connect();
    await shard.query("CREATE TABLE accounts (id int, balance int)");
    await shard.query("CREATE FUNCTION pg_temp.f() RETURNS int RETURN 1");
    const seen = { true: 0, false: 0 };
    for (let run = 0; run < 200; run++) {
      // Temporary objects are for ever, so they are in few runs.
      const kinds = STEPS.length - (random.fraction() < 0.8 ? 1 : 0);
      const steps = Array.from({ length: 1 + random.below(8) }, () => STEPS[random.below(kinds)]!);
      const said = await play(shard, steps);
      if (said === null) continue;
      assert.equal(said.noted, said.actual, steps.join("; "));
      seen[`${said.actual}`] += 1;
    }
    assert.ok(seen.true > 20 && seen.false > 20, JSON.stringify(seen));
    await shard.end();
  },
);
