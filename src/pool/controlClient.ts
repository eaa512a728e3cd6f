/** A `pg` client for pgxa's own questions to a shard. */
import { Client } from "pg";
import type { ShardConfig } from "../config/config.ts";

/**
 * Not connected yet. It logs in as the configuration says and no other way: pg by itself would look into PGPASSWORD,
 * .pgpass and PGSSLMODE. Connecting and each query take at most `timeoutMs`. `options`: settings of the
 * session, as `-c name=value`.
 */
export const controlClient = (
  { host, port, database, user, password }: ShardConfig,
  applicationName: string,
  timeoutMs: number,
  options?: string,
): Client =>
  new Client({
    host,
    port,
    database,
    user,
    password: () => password ?? "",
    ssl: false,
    application_name: applicationName,
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
    keepAlive: true,
    ...(options === undefined ? {} : { options }),
  });
