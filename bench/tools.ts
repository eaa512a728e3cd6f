/**
 * The programs that are not ours: pgbench, PgBouncer and Pgpool-II.
 *
 * Where the machine lets us (root, with apt-get) a missing one is installed from Debian's packages; elsewhere we
 * say what is missing and how to get it, and go on with the contenders that are there.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Tool {
  readonly command: string;
  readonly version: string;
}

/** Debian's package for each program. */
const PACKAGES = { pgbench: "postgresql", pgbouncer: "pgbouncer", pgpool: "pgpool2" } as const;

type ToolName = keyof typeof PACKAGES;

/** The tool, installed if need be and allowed; or a sentence that says what is missing and how to get it. */
export async function findTool(
  name: ToolName,
  mayInstall: boolean,
  say: (line: string) => void,
): Promise<Tool | string> {
  const found = await look(name);
  if (found) return found;
  if (!mayInstall || !canInstall()) return missing(name);
  say(`installing ${name} (apt-get install ${PACKAGES[name]})…`);
  try {
    await install(PACKAGES[name]);
  } catch (error) {
    return `${missing(name)} (apt-get failed: ${(error as Error).message.split("\n")[0]})`;
  }
  return (await look(name)) ?? missing(name);
}

async function look(name: string): Promise<Tool | null> {
  // Debian keeps daemons where an ordinary user's PATH does not look.
  for (const command of [name, `/usr/sbin/${name}`]) {
    const version = await versionOf(command);
    if (version !== null) return { command, version };
  }
  return null;
}

async function versionOf(command: string): Promise<string | null> {
  try {
    const { stdout, stderr } = await run(command, ["--version"]);
    return /\d+(\.\d+)+/.exec(stdout + stderr)?.[0] ?? "unknown";
  } catch {
    return null;
  }
}

function canInstall(): boolean {
  return process.platform === "linux" && process.getuid?.() === 0;
}

async function install(name: string): Promise<void> {
  // Debian starts a daemon when it installs one; in run level 1 it does not.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  await run("apt-get", ["update", "-qq"], { env });
  await run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", name], { env });
}

function missing(name: ToolName): string {
  return `${name} is missing: apt-get install ${PACKAGES[name]} (Debian, Ubuntu) or brew install ${
    name === "pgbench" ? "postgresql" : name
  } (macOS)`;
}
