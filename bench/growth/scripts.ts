/** The loads of the growth case that pgbench has no script of its own for. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { PgbenchLoad } from "../cases.ts";
import { CLIENTS } from "./plan.ts";

/** Of pgbench, for each unit of its scale factor. */
const ACCOUNTS = 100_000;
/** What of the log is kept, which this case does not need. */
const SAMPLING_RATE = 0.01;

/** pgbench's own select, by so many clients. */
export const selects = (clients: number): PgbenchLoad => ({
  script: "select-only",
  protocol: "simple",
  clients,
  samplingRate: SAMPLING_RATE,
});

/** A select that returns one row of that size, which the shard makes as it goes: no disk and no cache is measured. */
export async function rowsOfSize(bytes: number, directory: string): Promise<PgbenchLoad> {
  const file = join(directory, `row-${bytes}.sql`);
  await writeFile(file, `SELECT repeat('x', ${bytes});\n`);
  return { ...selects(CLIENTS), script: { file } };
}

/** `depth` selects that are sent before the first answer is awaited, and one Sync after them. */
export async function pipelineOf(depth: number, scale: number, directory: string): Promise<PgbenchLoad> {
  const select = [
    `\\set aid random(1, ${ACCOUNTS * scale})`,
    "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;",
  ];
  const lines = ["\\startpipeline", ...Array.from({ length: depth }, () => select).flat(), "\\endpipeline"];
  const file = join(directory, `pipeline-${depth}.sql`);
  await writeFile(file, `${lines.join("\n")}\n`);
  return { ...selects(CLIENTS), protocol: "extended", script: { file } };
}
