/**
 * PgBouncer as a contender: transaction pooling in front of one shard, set up as its manual advises for a
 * trusted loopback. https://www.pgbouncer.org/config.html
 */
import { chmod, chown, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Belongings, hasEnded } from "./belongings.ts";
import { POOL_SIZE } from "./cases.ts";
import { complaint } from "./complaint.ts";
import { accepts, type Endpoint, freePort } from "./endpoint.ts";
import type { Tool } from "./tools.ts";

const START_TIMEOUT_MS = 10_000;
/** PgBouncer refuses to run as root; this is `nobody` wherever we could be root. */
const NOBODY = 65_534;

export interface RunningProxy {
  readonly endpoint: Endpoint;
  readonly pid: number;
}

/** Prepared statements survive transaction pooling since 1.21. */
export function knowsPreparedStatements(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 1 || (major === 1 && minor >= 21);
}

/** Users who share one pool, for all of them are one role on the shard. */
export interface SharedPool {
  readonly poolSize: number;
  readonly users: readonly string[];
}

/** Throws if it does not come up. */
export async function startPgbouncer(
  tool: Tool,
  shard: Endpoint,
  belongings: Belongings,
  directory: string,
  shared?: SharedPool,
): Promise<RunningProxy> {
  const port = await freePort();
  const home = join(directory, `pgbouncer-${port}`);
  await mkdir(home);
  const file = join(home, "pgbouncer.ini");
  await writeFile(file, settings(tool, shard, port, home, shared));
  const users = [shard.user, ...(shared?.users ?? [])];
  await writeFile(join(home, "users.txt"), users.map((user) => `"${user}" ""\n`).join(""));
  const asNobody = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  if (process.getuid?.() === 0) await Promise.all([chown(home, NOBODY, NOBODY), chmod(directory, 0o755)]);
  const child = belongings.spawn(tool.command, ["-q", file], asNobody);
  if (!(await accepts(port, START_TIMEOUT_MS, () => hasEnded(child.process)))) {
    throw new Error(`PgBouncer did not start: ${complaint("it", child.words())}`);
  }
  return {
    endpoint: { host: "127.0.0.1", port, database: shard.database, user: shard.user },
    pid: child.pid,
  };
}

function settings(tool: Tool, shard: Endpoint, port: number, home: string, shared?: SharedPool): string {
  const role = shared === undefined ? "" : ` user=${shard.user}`;
  const lines = [
    "[databases]",
    `${shard.database} = host=${shard.host} port=${shard.port} dbname=${shard.database}${role}`,
    "[pgbouncer]",
    "listen_addr = 127.0.0.1",
    `listen_port = ${port}`,
    "unix_socket_dir =",
    "auth_type = trust",
    `auth_file = ${join(home, "users.txt")}`,
    "pool_mode = transaction",
    `default_pool_size = ${shared?.poolSize ?? POOL_SIZE}`,
    "max_client_conn = 1000",
    "ignore_startup_parameters = extra_float_digits",
    ...(knowsPreparedStatements(tool.version) ? ["max_prepared_statements = 200"] : []),
  ];
  return `${lines.join("\n")}\n`;
}
