// Pure.
/**
 * The configuration file that the demo writes: a real one, for its user to read and to start from.
 */
import { stringify } from "yaml";
import type { ShardId } from "../base/brands.ts";
import { BANK_DATABASE, BANK_TABLES } from "./bankSchema.ts";
import { SHARD_HOST, SHARD_USER } from "./embeddedShards.ts";

const HEADER = `# Written by \`pgxa demo\` at every start: changes are lost.
# To run pgxa on shards of your own, copy it and start \`pgxa up --config FILE\`.

`;

export interface DemoConfigFacts {
  readonly port: number;
  readonly shards: readonly { readonly id: ShardId; readonly port: number }[];
  /** The directory of the decision log. */
  readonly decisions: string;
}

export function demoConfig({ port, shards, decisions }: DemoConfigFacts): string {
  return (
    HEADER +
    stringify({
      listen: { host: "127.0.0.1", port },
      database: BANK_DATABASE,
      fleet: "demo",
      coordinator: "demo",
      shards: shards.map(({ id, port }) => ({
        name: id,
        host: SHARD_HOST,
        port,
        database: BANK_DATABASE,
        user: SHARD_USER,
      })),
      tables: BANK_TABLES,
      users: [{ name: "postgres" }],
      auth: { trust_loopback: true },
      console: { admin_users: "postgres" },
      transaction: { log_directory: decisions, resolve_interval: "1s" },
    })
  );
}
