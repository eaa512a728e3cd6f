/** What the tests of the traps share: asking an outcome what it is, waiting for Postgres, a synchronous standby that is not there. */
import { setTimeout as delay } from "node:timers/promises";
import { Fault } from "../../src/base/fault.ts";
import type { CommitOutcome } from "../../src/txn/commitProtocol.ts";
import type { TestShard, TestShards } from "../support/shards.ts";
import { CommitStage } from "../txn/commitStage.ts";

const WAIT_MS_MAX = 15_000;
/** Nothing is found by the resolver's own rhythm, only by being woken: what is not woken for stays. */
const NEVER_MS = 30_000;

export const sqlstateOf = (outcome: CommitOutcome): string | undefined =>
  outcome.kind === "aborted" ? outcome.error.sqlstate : undefined;

export const faultOf = (outcome: CommitOutcome): string | undefined =>
  outcome.kind === "aborted" && outcome.error instanceof Fault ? outcome.error.id : undefined;

/** A stage whose resolver looks only when it is told to; what a test that failed left prepared is gone. */
export async function openUnswept(shards: TestShards, config: object = {}): Promise<CommitStage> {
  for (const shard of shards.shards) {
    const left = await on(shard, "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()");
    for (const { gid } of left) await on(shard, `ROLLBACK PREPARED '${gid}'`);
  }
  return CommitStage.open(shards, { resolveIntervalMs: NEVER_MS, ...config });
}

/** Waits until `isTrue`; throws after a long time. */
export async function until(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  waitMsMax = WAIT_MS_MAX,
): Promise<void> {
  const untilMs = performance.now() + waitMsMax;
  while (!(await isTrue())) {
    if (performance.now() > untilMs) throw new Error(`never: ${what}`);
    await delay(10);
  }
}

/** Runs `sql` on a shard, each statement by itself; the rows of the last. */
export async function on(shard: TestShard, ...statements: readonly string[]): Promise<readonly Row[]> {
  const client = await shard.connect();
  try {
    let rows: readonly Row[] = [];
    for (const sql of statements) ({ rows } = await client.query(sql));
    return rows;
  } finally {
    await client.end();
  }
}
type Row = Readonly<Record<string, unknown>>;

/** Waits until a backend (`pid`, or any) waits for the standby; returns its process id. */
export async function waitsForStandby(shard: TestShard, pid?: number): Promise<number> {
  let found = 0;
  const whose = pid === undefined ? "" : ` AND pid = ${pid}`;
  await until("somebody waits for the standby", async () => {
    const rows = await on(shard, `SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'${whose}`);
    found = Number(rows[0]?.["pid"] ?? 0);
    return found !== 0;
  });
  return found;
}

/** A deferred trigger of `t` on a shard: `body` runs at PREPARE. Gone with the stage's table. */
export const atPrepare = (shard: TestShard, body: string): Promise<unknown> =>
  on(
    shard,
    `CREATE OR REPLACE FUNCTION at_prepare() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body}; RETURN NULL; END $$`,
    "CREATE CONSTRAINT TRIGGER at_prepare AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_prepare()",
  );

/** Until `isOpen` the branch does not hear what begins with `beginning`. */
export function hold(
  branch: { run: (sql: string, timeoutMs: number) => Promise<unknown> },
  beginning: string,
): () => void {
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const target = branch as { run: (sql: string, timeoutMs: number) => Promise<unknown> };
  const run = target.run.bind(branch);
  target.run = async (sql, timeoutMs) => {
    if (sql.startsWith(beginning)) await gate;
    return run(sql, timeoutMs);
  };
  return open;
}
