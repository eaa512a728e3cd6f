/**
 * The bank of the transfer cases: accounts on all shards, each on the shard where PostgreSQL's own hash
 * partitioning puts its id, because that is where pgxa looks for it.
 * https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-PARTITION
 */
import pg from "pg";
import type { Endpoint } from "./endpoint.ts";

export const ACCOUNTS = 10_000;
const OPENING_BALANCE = 1000;
/** The sum of all balances, for ever. */
export const TOTAL = ACCOUNTS * OPENING_BALANCE;

/** The ids of the accounts on each shard, in the order of the shards. */
export type AccountsByShard = readonly (readonly number[])[];

/** Makes the tables anew and fills them; a shard's accounts are those whose hash names its index. */
export async function openBank(shards: readonly Endpoint[]): Promise<AccountsByShard> {
  return Promise.all(
    shards.map((shard, index) => withClient(shard, (client) => fill(client, shards.length, index))),
  );
}

async function fill(client: pg.Client, shards: number, index: number): Promise<number[]> {
  await client.query(`
    DROP TABLE IF EXISTS accounts, transfers, refusals;
    CREATE TABLE accounts (id int8 PRIMARY KEY, owner text NOT NULL, balance int8 NOT NULL);
    CREATE TABLE transfers (account_id int8, id int8, amount int8 NOT NULL, PRIMARY KEY (account_id, id));
    CREATE TABLE refusals (id int8 PRIMARY KEY, account int8 REFERENCES accounts DEFERRABLE INITIALLY DEFERRED);
    CREATE TEMPORARY TABLE placement (id int8) PARTITION BY HASH (id);
    INSERT INTO accounts SELECT id, 'owner ' || id, ${OPENING_BALANCE} FROM generate_series(1::int8, ${ACCOUNTS}) AS id
      WHERE satisfies_hash_partition('placement'::regclass, ${shards}, ${index}, id)`);
  await client.query("VACUUM ANALYZE accounts");
  const { rows } = await client.query<{ id: string }>("SELECT id FROM accounts");
  return rows.map((row) => Number(row.id));
}

/** The sum of all balances, asked of the shards themselves. */
export async function totalBalance(shards: readonly Endpoint[]): Promise<number> {
  return sum(shards, "SELECT coalesce(sum(balance), 0)::int8 AS value FROM accounts");
}

/** Prepared transactions left on the shards, whoever prepared them. */
export async function preparedCount(shards: readonly Endpoint[]): Promise<number> {
  return sum(shards, "SELECT count(*) AS value FROM pg_prepared_xacts");
}

/** The ids of the transfers that each shard holds a part of. */
export async function transfersByShard(shards: readonly Endpoint[]): Promise<ReadonlySet<number>[]> {
  return Promise.all(
    shards.map((shard) =>
      withClient(shard, async (client) => {
        const { rows } = await client.query<{ id: string }>("SELECT id FROM transfers");
        return new Set(rows.map((row) => Number(row.id)));
      }),
    ),
  );
}

async function sum(shards: readonly Endpoint[], sql: string): Promise<number> {
  const values = await Promise.all(
    shards.map((shard) =>
      withClient(shard, async (client) =>
        Number((await client.query<{ value: string }>(sql)).rows[0]!.value),
      ),
    ),
  );
  return values.reduce((total, value) => total + value, 0);
}

async function withClient<T>(endpoint: Endpoint, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await connect(endpoint);
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** A connection that is logged in. */
export async function connect({ host, port, database, user }: Endpoint): Promise<pg.Client> {
  const client = new pg.Client({ host, port, database, user });
  await client.connect();
  return client;
}
