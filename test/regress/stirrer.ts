/**
 * Clients that take and return server connections all the time.
 *
 * A client that is alone gets the same connection again and again, and state that a pooler loses stays hidden. While
 * these are about, its next transaction is likely to go elsewhere. Their transactions are empty: they take no snapshot
 * and no lock that a regression file could see.
 */
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { SHARD_HOST, SHARD_USER } from "../../src/cli/embeddedShards.ts";
import { DATABASE } from "./cluster.ts";

const CLIENTS = 3;
const HOLD_MS_MAX = 12;

/** Starts the clients; the returned function ends them. */
export async function stir(port: number): Promise<() => Promise<void>> {
  let isOver = false;
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connect(port)));
  const work = clients.map(async (client, i) => {
    for (let turn = 0; !isOver; turn += 1) {
      await client.query("BEGIN");
      await delay(1 + ((turn * (2 * i + 3)) % HOLD_MS_MAX));
      await client.query("COMMIT");
      await delay(1 + ((turn * (i + 5)) % HOLD_MS_MAX));
    }
    await client.end();
  });
  const ended = Promise.allSettled(work);
  return async () => {
    isOver = true;
    await ended;
  };
}

async function connect(port: number): Promise<pg.Client> {
  const client = new pg.Client({ host: SHARD_HOST, port, user: SHARD_USER, database: DATABASE });
  client.on("error", () => {});
  await client.connect();
  return client;
}
