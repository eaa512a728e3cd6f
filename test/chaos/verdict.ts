/**
 * The judgement after each phase and at the end: nothing is prepared, nothing runs, every transfer is what its client
 * was told, and no money was lost or made.
 */
import { setTimeout as delay } from "node:timers/promises";
import { ChaosFailure } from "./chaosFailure.ts";
import type { ChaosStage } from "./chaosStage.ts";
import { complaintAbout, type Entry, type Ledger } from "./ledger.ts";
import type { FoundRow, ShardWatch } from "./shardWatch.ts";

/** By then everything must be resolved; far more than it takes, for a machine that is busy. */
const PATIENCE_MS = 60_000;
const POLL_MS = 50;
/** How many inconsistent transfers are told of in full. */
const TOLD_MAX = 10;

/** Waits until nothing is left that was prepared before `healedMs`, in wall time. */
export async function untilResolved(stage: ChaosStage, healedMs: number): Promise<void> {
  await patiently(stage, "prepared before the fault was over", async () => {
    const found = await Promise.all(stage.watches.map((watch) => watch.prepared(healedMs)));
    return found.flatMap((all, i) => all.filter(({ isOld }) => isOld).map(({ gid }) => on(stage, i, gid)));
  });
}

/** While no transfer is under way: waits until no shard has anything prepared or running, seen twice. */
export async function untilQuiet(stage: ChaosStage): Promise<void> {
  for (let times = 0; times < 2; times += 1) {
    await patiently(stage, "still prepared or running although nobody does anything", async () => {
      const lines = await Promise.all(
        stage.watches.map(async (watch, i) => {
          const prepared = (await watch.prepared(Date.now())).map(({ gid }) =>
            on(stage, i, `prepared ${gid}`),
          );
          return [...prepared, ...(await watch.busy()).map((says) => on(stage, i, says))];
        }),
      );
      return lines.flat();
    });
  }
}

/** With the log on the shards: waits until no commit's row is kept any more. */
export async function untilForgotten(stage: ChaosStage): Promise<void> {
  if (stage.log !== "shard") return;
  await patiently(stage, "still kept as a decision although every shard has applied it", async () => {
    const text = "SELECT gtrid::text AS gtrid FROM pgxa.decision WHERE outcome = 'commit' LIMIT 5";
    const found = await Promise.all(stage.watches.map((watch) => watch.query<{ gtrid: string }>(text)));
    return found.flatMap((rows, i) => rows.map(({ gtrid }) => on(stage, i, gtrid)));
  });
}

/** Throws a ChaosFailure that names every transfer with an id in (after, upTo] that is not what it must be. */
export async function checkTransfers(
  stage: ChaosStage,
  ledger: Ledger,
  after: number,
  upTo: number,
): Promise<void> {
  const found = await Promise.all(stage.watches.map((watch) => watch.rows(after, upTo)));
  const byId = new Map<number, (FoundRow & { shard: number })[]>();
  for (const [shard, rows] of found.entries()) {
    for (const row of rows) {
      const known = byId.get(row.id);
      if (known === undefined) byId.set(row.id, [{ ...row, shard }]);
      else known.push({ ...row, shard });
    }
  }
  const complaints: string[] = [];
  for (let id = after + 1; id <= upTo; id += 1) {
    const entry = ledger.entries.get(id);
    const rows = byId.get(id) ?? [];
    byId.delete(id);
    if (entry === undefined) continue;
    const complaint = complaintAbout(entry, rows);
    if (complaint !== null) complaints.push(tell(stage, entry, complaint, found));
  }
  for (const id of byId.keys())
    complaints.push(`transfer ${id} has rows although it was taken back or never made`);
  if (complaints.length === 0) return;
  const more = complaints.length > TOLD_MAX ? [`and ${complaints.length - TOLD_MAX} more`] : [];
  throw new ChaosFailure([...complaints.slice(0, TOLD_MAX), ...more].join("\n"), complaints.length);
}

/** Throws a ChaosFailure if an account has not what its transfers make it, or the sum is not what it was. */
export async function checkMoney(stage: ChaosStage): Promise<void> {
  const wrong = await Promise.all(stage.watches.map((watch) => watch.wrongBalances()));
  const lines = wrong.flatMap((all, i) => all.map((says) => on(stage, i, says)));
  const totals = await Promise.all(stage.watches.map((watch) => watch.total()));
  const total = totals.reduce((sum, one) => sum + one, 0);
  if (total !== stage.openingTotal)
    lines.push(`all accounts have ${total} and not ${stage.openingTotal}: by shard ${totals.join(", ")}`);
  if (lines.length > 0) throw new ChaosFailure(lines.slice(0, TOLD_MAX).join("\n"), lines.length);
}

/** Throws a ChaosFailure if a pgxa has said of a decided commit that a shard did not apply it. */
export function checkLogs(stage: ChaosStage): void {
  const lines = stage.pgxas.flatMap(({ process }) => process.linesWith('"event":"resolver.evidence_lost"'));
  if (lines.length > 0) throw new ChaosFailure(lines.slice(0, TOLD_MAX).join("\n"), lines.length);
}

const on = (stage: ChaosStage, shard: number, says: string): string =>
  `${stage.bank.shardIds[shard]}: ${says}`;

/** Asks `what` until it finds nothing. A shard that does not answer is asked again; in the end that is told, too. */
async function patiently(stage: ChaosStage, what: string, find: () => Promise<string[]>): Promise<void> {
  const untilMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const found = await find().catch((error: Error) => [`a shard does not answer: ${error.message}`]);
    if (found.length === 0) return;
    if (performance.now() > untilMs) {
      const ends = stage.pgxas.map(
        ({ process }) => `the log of pgxa ${process.name} ends:\n${process.logEnd}`,
      );
      throw new ChaosFailure(
        [`${what}, for ${PATIENCE_MS / 1000} s:`, ...found, ...ends].join("\n"),
        found.length,
      );
    }
    await delay(POLL_MS);
  }
}

function tell(stage: ChaosStage, entry: Entry, complaint: string, found: readonly FoundRow[][]): string {
  const { transfer, told, words, pgxa, beganMs, endedMs } = entry;
  const lines = [
    `transfer ${transfer.id} ${complaint}`,
    `  told: ${told ?? "nothing yet"} (${words}) by pgxa ${stage.pgxas[pgxa]!.process.name}`,
    `  from ${seconds(beganMs)} to ${seconds(endedMs)}, during ${entry.phase}`,
    `  ${transfer.statements.join("; ")}; ${transfer.end}`,
  ];
  for (const [i, watch] of stage.watches.entries()) {
    const rows = found[i]!.filter(({ id }) => id === transfer.id);
    const had = transfer.steps.some(({ shard }) => shard === i);
    if (had || rows.length > 0) lines.push(`  ${on(stage, i, describe(rows, watch))}`);
  }
  return lines.join("\n");
}

function describe(rows: readonly FoundRow[], watch: ShardWatch): string {
  if (rows.length === 0) return "no row";
  return rows
    .map(({ account, amount, xmin }) => {
      const gid = watch.seen.get(xmin);
      const name = gid === undefined ? "not seen prepared" : `prepared as ${gid}`;
      return `account ${account}, ${amount}, transaction ${xmin}, ${name}`;
    })
    .join("; ");
}

/** On the clock of the timeline. */
export const seconds = (ms: number): string => `${(ms / 1000).toFixed(3)} s`;
