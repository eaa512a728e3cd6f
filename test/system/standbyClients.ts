/** What the tests of reads from standbys have in common. */
import type pg from "pg";
import type { Pair } from "../support/pair.ts";

export const WAIT = { timeout: 180_000 };
export const OPTIONS = {
  health: { interval: "200ms", backoff_max: "200ms" },
  standbys: { reads: "read_only", lag_max: "2s" },
  console: { admin_users: "app" },
};
export const SCHEMA =
  "CREATE TABLE noted (id int PRIMARY KEY); CREATE SEQUENCE numbers; INSERT INTO noted VALUES (1)";
export const HINT = "/* pgxa: standby */";
export const PORT = "SELECT inet_server_port() AS port";

export type Client = pg.Client;

export const sqlstateOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    (error: Error & { code?: string }) => error.code ?? error.message,
  );

export const portOf = async (client: Client, hint = ""): Promise<number> =>
  (await client.query(`${PORT} ${hint}`)).rows[0].port;

/** Where a transaction that begins with `begin` runs. */
export async function portWithin(client: Client, begin: string): Promise<number> {
  await client.query(begin);
  const port = await portOf(client);
  await client.query("COMMIT");
  return port;
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 20));

export async function until(isTrue: () => Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await pause();
}

export function clientsOf(pair: () => Pair) {
  const clients: Client[] = [];
  return {
    async connect(): Promise<Client> {
      const client = await pair().connect();
      clients.push(client);
      return client;
    },
    async end(): Promise<void> {
      await Promise.all(clients.splice(0).map((client) => client.end()));
    },
  };
}
