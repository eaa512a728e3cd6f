/**
 * Pgpool-II as a contender where it is installed: in front of one shard, pooling sessions, which is all it can.
 * https://www.pgpool.net/docs/latest/en/html/runtime-config.html
 */
import { chmod, chown, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Belongings, hasEnded } from "./belongings.ts";
import { complaint } from "./complaint.ts";
import { accepts, type Endpoint, freePort } from "./endpoint.ts";
import { NOBODY, type RunningProxy } from "./pgbouncer.ts";
import type { Tool } from "./tools.ts";

/** It forks so many processes, each for one client at a time. */
export const PGPOOL_CLIENTS_MAX = 64;
const START_TIMEOUT_MS = 20_000;

/** Throws if it does not come up. */
export async function startPgpool(
  tool: Tool,
  shard: Endpoint,
  belongings: Belongings,
  directory: string,
): Promise<RunningProxy> {
  const [port, controlPort] = [await freePort(), await freePort()];
  const home = join(directory, `pgpool-${port}`);
  await mkdir(home);
  const file = join(home, "pgpool.conf");
  await writeFile(file, settings(tool, shard, port, controlPort, home));
  const [control, access] = [join(home, "pcp.conf"), join(home, "pool_hba.conf")];
  await Promise.all([control, access].map((path) => writeFile(path, "")));
  const asNobody = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  if (process.getuid?.() === 0) await Promise.all([chown(home, NOBODY, NOBODY), chmod(directory, 0o755)]);
  const child = belongings.spawn(tool.command, ["-n", "-f", file, "-F", control, "-a", access], asNobody);
  if (!(await accepts(port, START_TIMEOUT_MS, () => hasEnded(child.process)))) {
    throw new Error(`Pgpool-II did not start: ${complaint("it", child.words())}`);
  }
  return {
    endpoint: { host: "127.0.0.1", port, database: shard.database, user: shard.user },
    pid: child.pid,
  };
}

function settings(
  { version }: Tool,
  shard: Endpoint,
  port: number,
  controlPort: number,
  home: string,
): string {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const hasOneSocket = major < 4 || (major === 4 && minor < 4);
  const lines = [
    "backend_clustering_mode = 'raw'",
    "listen_addresses = '127.0.0.1'",
    `port = ${port}`,
    `${hasOneSocket ? "socket_dir" : "unix_socket_directories"} = '${home}'`,
    `pcp_port = ${controlPort}`,
    `pcp_socket_dir = '${home}'`,
    `pid_file_name = '${join(home, "pgpool.pid")}'`,
    `work_dir = '${home}'`,
    `backend_hostname0 = '${shard.host}'`,
    `backend_port0 = ${shard.port}`,
    "backend_weight0 = 1",
    `num_init_children = ${PGPOOL_CLIENTS_MAX}`,
    "max_pool = 1",
    "connection_cache = on",
    "child_life_time = 0",
    "load_balance_mode = off",
    "memory_cache_enabled = off",
    "enable_pool_hba = off",
    "health_check_period = 0",
    "sr_check_period = 0",
    "log_min_messages = fatal",
  ];
  return `${lines.join("\n")}\n`;
}
