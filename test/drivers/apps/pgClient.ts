/** Sessions of node-postgres for its checks. */
import pg from "pg";
import { databaseUrl } from "./checks.ts";

/** `work` with a session of its own. */
export async function withClient<T>(
  work: (client: pg.Client) => Promise<T>,
  config: pg.ClientConfig = {},
): Promise<T> {
  const client = new pg.Client({ connectionString: databaseUrl(), ...config });
  client.on("error", () => {}); // of an idle connection; its next query fails
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The first value of the first row. */
export const one = async (
  client: pg.Client | pg.Pool | pg.PoolClient,
  sql: string,
  values: unknown[] = [],
): Promise<unknown> => Object.values((await client.query(sql, values)).rows[0] ?? {})[0];

/** Fewer than a proxy's pool has, more than the checks before have used at once and left. */
const OTHERS = 18;

/** `work` while others are in transactions on the server connections that are there: what it does meets new ones. */
export async function amongOthers<T>(work: () => Promise<T>): Promise<T> {
  const others = await Promise.all(Array.from({ length: OTHERS }, openTransaction));
  try {
    return await work();
  } finally {
    await Promise.all(others.map((other) => other.end()));
  }
}

/** What `sql` gives in other sessions, which are on all the server connections that are not taken. */
export async function askOthers(sql: string): Promise<readonly unknown[]> {
  const others = await Promise.all(Array.from({ length: OTHERS }, openTransaction));
  try {
    return await Promise.all(others.map((other) => one(other, sql)));
  } finally {
    await Promise.all(others.map((other) => other.end()));
  }
}

async function openTransaction(): Promise<pg.Client> {
  const client = new pg.Client(databaseUrl());
  await client.connect();
  await client.query("BEGIN");
  await client.query("SELECT 1");
  return client;
}
