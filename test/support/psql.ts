/** psql, where the machine has it: PostgreSQL's own client, with libpq's own TLS. */
import { execFileSync, spawn } from "node:child_process";
import { text } from "node:stream/consumers";

export interface PsqlAnswer {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** For a test's `skip`: false, or why it cannot run. */
export const PSQL_MISSING: false | string = findPsql() ? false : "psql is not installed";

/** Runs one command; `where` is a connection string. */
export async function psql(
  where: Readonly<Record<string, string | number>>,
  sql: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<PsqlAnswer> {
  const target = Object.entries(where)
    .map(([name, value]) => `${name}='${value}'`)
    .join(" ");
  const child = spawn("psql", ["-X", "-w", "-A", "-t", "-c", sql, target], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: process.env.PATH, HOME: "/nonexistent", ...environment },
  });
  const ended = new Promise<number>((resolve) => child.once("close", (code) => resolve(code ?? -1)));
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: await ended, out: out.trim(), err: err.trim() };
}

function findPsql(): boolean {
  try {
    execFileSync("psql", ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
