/** A `pg` client for pgxa's own questions to a shard. */
import type { Socket } from "node:net";
import { Client } from "pg";
import type { ShardConfig } from "../config/config.ts";
import type { ShardTls } from "./loginExchange.ts";
import { shardDuplex } from "./shardDuplex.ts";

/**
 * Not connected yet. It logs in as the configuration says and no other way: pg by itself would look into PGPASSWORD,
 * .pgpass and PGSSLMODE. Connecting and each query take at most `timeoutMs`. `options`: settings of the
 * session, as `-c name=value`.
 */
export function controlClient(
  shard: ShardConfig,
  applicationName: string,
  timeoutMs: number,
  options?: string,
): Client {
  const client = new Client({
    host: shard.host,
    port: shard.port,
    database: shard.database,
    user: shard.user,
    password: () => shard.password ?? "",
    ssl: false, // the stream sees to it
    stream: () => shardDuplex(shard, (tls) => bindTo(client, tls)) as unknown as Socket,
    application_name: applicationName,
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
    ...(options === undefined ? {} : { options }),
  });
  return client;
}

/** The login is bound to the shard's certificate if it can be; pg looks at this when the shard has made its offer. */
function bindTo(client: Client, tls: ShardTls | null): void {
  const binding = client as unknown as { enableChannelBinding: boolean };
  binding.enableChannelBinding = tls !== null && tls.endPointHash !== null;
}
