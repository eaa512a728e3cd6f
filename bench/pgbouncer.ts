/**
 * PgBouncer as a contender: transaction pooling in front of one shard, set up as its manual advises for a
 * trusted loopback. https://www.pgbouncer.org/config.html
 */
import { chmod, chown, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Belongings, hasEnded } from "./belongings.ts";
import { POOL_SIZE } from "./cases.ts";
import type { ClientIdentity } from "./clientIdentity.ts";
import { complaint } from "./complaint.ts";
import { accepts, type Endpoint, freePort } from "./endpoint.ts";
import type { Tool } from "./tools.ts";

const START_TIMEOUT_MS = 10_000;
/** PgBouncer refuses to run as root; this is `nobody` wherever we could be root. */
export const NOBODY = 65_534;

export interface RunningProxy {
  readonly endpoint: Endpoint;
  readonly pid: number;
}

/** Prepared statements survive transaction pooling since 1.21. */
export function knowsPreparedStatements(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 1 || (major === 1 && minor >= 21);
}

export interface BouncerOptions {
  readonly poolSize?: number;
  /** Users who share one pool, for all of them are one role on the shard. */
  readonly users?: readonly string[];
  /** How clients get in; by default without proving anything. */
  readonly identity?: ClientIdentity;
}

/** Throws if it does not come up. */
export async function startPgbouncer(
  tool: Tool,
  shard: Endpoint,
  belongings: Belongings,
  directory: string,
  options: BouncerOptions = {},
): Promise<RunningProxy> {
  const port = await freePort();
  const home = join(directory, `pgbouncer-${port}`);
  await mkdir(home);
  const file = join(home, "pgbouncer.ini");
  await writeFile(file, settings(tool, shard, port, home, options));
  const users = [shard.user, ...(options.users ?? [])];
  const secret = options.identity?.scramSecret ?? "";
  await writeFile(join(home, "users.txt"), users.map((user) => `"${user}" "${secret}"\n`).join(""));
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

function settings(
  tool: Tool,
  shard: Endpoint,
  port: number,
  home: string,
  { poolSize = POOL_SIZE, users, identity }: BouncerOptions,
): string {
  const role = users === undefined ? "" : ` user=${shard.user}`;
  const tls = identity?.tls ?? null;
  const lines = [
    "[databases]",
    `${shard.database} = host=${shard.host} port=${shard.port} dbname=${shard.database}${role}`,
    "[pgbouncer]",
    "listen_addr = 127.0.0.1",
    `listen_port = ${port}`,
    "unix_socket_dir =",
    `auth_type = ${identity?.scramSecret ? "scram-sha-256" : "trust"}`,
    `auth_file = ${join(home, "users.txt")}`,
    "pool_mode = transaction",
    `default_pool_size = ${poolSize}`,
    "max_client_conn = 6000",
    "ignore_startup_parameters = extra_float_digits",
    ...(tls === null
      ? []
      : [
          "client_tls_sslmode = require",
          `client_tls_cert_file = ${tls.certFile}`,
          `client_tls_key_file = ${tls.keyFile}`,
        ]),
    ...(knowsPreparedStatements(tool.version) ? ["max_prepared_statements = 200"] : []),
  ];
  return `${lines.join("\n")}\n`;
}
