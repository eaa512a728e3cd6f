/** Asks a shard how many slots for prepared transactions its server has, and who else has taken some. */
import type { PreparedSlots } from "./preparedSlots.ts";
import type { ShardControl } from "./shardControl.ts";

/** Of every database, for they share the slots; the function and not the view, which would lock the catalog of roles. */
const COUNT =
  "SELECT pg_catalog.current_setting('max_prepared_transactions')::int4 AS max, " +
  "pg_catalog.pg_postmaster_start_time()::text AS started, " +
  "(SELECT pg_catalog.count(*)::int4 FROM pg_catalog.pg_prepared_xact() WHERE NOT pg_catalog.starts_with(gid, $1)) AS others";

/** `ownPrefix`: with this the gids begin that this process gives. Rejects when the shard cannot be asked. */
export async function countSlots(
  control: ShardControl,
  slots: PreparedSlots,
  ownPrefix: string,
): Promise<void> {
  const [row] = await control.ask(COUNT, [ownPrefix]);
  if (row === undefined || control.server === null) return;
  // Servers that began as copies of one another have the same identity, and did not start at the same microsecond.
  const server = `${control.server} ${row["started"]}`;
  slots.learn(control.id, server, Number(row["max"]), Number(row["others"]));
}
