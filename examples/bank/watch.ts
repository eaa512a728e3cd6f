/**
 * Watches the two-phase commit from outside: what is prepared on each shard, asked of the shards themselves.
 *
 *     npx node examples/bank/watch.ts --ports 41001,41002
 *
 * Between its PREPARE and its COMMIT PREPARED a branch stands in pg_prepared_xacts; it lives there for a millisecond or
 * two, or for as long as pgxa is dead. The part of the gid after `pgxa:fleet:` is the transaction's own name.
 */
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import pg from "pg";

const { values } = parseArgs({
  options: {
    ports: { type: "string" },
    every: { type: "string", default: "500" },
  },
});
if (values.ports === undefined) throw new Error("--ports says which shards, for example --ports 41001,41002");
const ports = values.ports.split(",").map(Number);
const SHOWN = 2;

for (;;) {
  const lines = await Promise.all(ports.map((port) => prepared(port).catch(() => `${port}: down`)));
  console.log(`${new Date().toISOString().slice(11, 23)}  ${lines.join("   ")}`);
  await delay(Number(values.every));
}

async function prepared(port: number): Promise<string> {
  const client = new pg.Client({ host: "127.0.0.1", port, database: "bank", user: "postgres" });
  client.on("error", () => {}); // told by the query, too
  await client.connect();
  const { rows } = await client
    .query<{ gid: string }>("SELECT gid FROM pg_prepared_xacts ORDER BY prepared")
    .finally(() => client.end());
  const gids = rows.slice(0, SHOWN).map(({ gid }) => gid);
  const rest = rows.length > SHOWN ? ` and ${rows.length - SHOWN} more` : "";
  return rows.length === 0 ? `${port}: -` : `${port}: ${gids.join(" ")}${rest}`;
}
