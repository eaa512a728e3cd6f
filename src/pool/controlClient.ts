/** A `pg` client for pgxa's own questions to a shard. */
import { Client } from "pg";
import type { ShardConfig } from "../config/config.ts";

/**
 * Not connected yet. It logs in as the configuration says and no other way: pg by itself would look into PGPASSWORD,
 * .pgpass and PGSSLMODE. Connecting and each query take at most `timeoutMs`.
 */
export const controlClient = (
  { host, port, database, user, password }: ShardConfig,
  applicationName: string,
  timeoutMs: number,
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
  });

const END_TIMEOUT_MS = 1_000;

/** Ends `client`; at the latest after a second, for a server that hangs never says goodbye. Never rejects. */
export async function endClient(client: Client): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const enough = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, END_TIMEOUT_MS);
  });
  await Promise.race([client.end().catch(() => {}), enough]); // it may never have begun
  clearTimeout(timer);
  const { stream } = (client as unknown as { connection: { stream: { destroy(): void } } }).connection;
  stream.destroy();
}
