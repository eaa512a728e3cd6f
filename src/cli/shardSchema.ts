/** Makes what the `shard` decision log needs on one shard; safe to run again, and at the same time as another. */
import { type Client, escapeIdentifier } from "pg";
import type { ShardConfig } from "../config/config.ts";
import { controlClient } from "../pool/controlClient.ts";
import { READ_VERSION, SCHEMA_VERSION, schemaScript } from "../txn/shardLog/schema.ts";

export type Made = "made" | "was there";

const TIMEOUT_MS = 30_000;

/** The script for whoever has the rights that pgxa's role lacks. */
export const scriptFor = ({ user }: ShardConfig): string => schemaScript(escapeIdentifier(user));

/** Rejects when the shard cannot be reached, or the role may not create a schema in the database (42501). */
export async function makeSchema(shard: ShardConfig): Promise<Made> {
  const client = controlClient(shard, "pgxa shards init", TIMEOUT_MS);
  client.on("error", () => {}); // what ran is rejected
  try {
    await client.connect();
    if ((await installedVersion(client)) === SCHEMA_VERSION) return "was there";
    await client.query(scriptFor(shard)); // several statements in one query are one transaction
    return "made";
  } finally {
    client.end().catch(() => {}); // it may never have been open
  }
}

/** Null if there is none. */
export async function installedVersion(client: Client): Promise<number | null> {
  const { rows: found } = await client.query("SELECT to_regclass('pgxa.installed') IS NOT NULL AS is_there");
  if (found[0]?.is_there !== true) return null;
  const { rows } = await client.query<{ version: number }>(READ_VERSION);
  return rows[0]?.version ?? null;
}
