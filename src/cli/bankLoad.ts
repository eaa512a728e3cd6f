/**
 * Fills the bank through pgxa, as an application would: rows of one shard go together in one INSERT.
 *
 * An INSERT of several rows is sent on only if all of them belong to one shard, so the accounts are sorted by shard
 * first. The router that pgxa itself uses says where an account belongs.
 */
import pg from "pg";
import { Fault } from "../base/fault.ts";
import type { Config } from "../config/config.ts";
import type { ShardIndex } from "../routing/plan.ts";
import { Router } from "../routing/router.ts";
import { ACCOUNTS, BANK_SCHEMA, CURRENCIES, OPENING_BALANCE_CENTS, ownerOf } from "./bankSchema.ts";

const ROWS_PER_INSERT = 500;
const LOADERS = 4;

/** The accounts of each shard, in the order of the shards. */
export function accountsByShard(config: Config): readonly (readonly number[])[] {
  const router = new Router(
    config.shards.map((shard) => shard.id),
    config.tables,
  );
  const accounts: number[][] = config.shards.map(() => []);
  for (let id = 1; id <= ACCOUNTS; id++) accounts[shardOf(router, id)]!.push(id);
  return accounts;
}

/** Makes the tables anew on one shard. */
export async function createBank(shard: pg.ClientConfig): Promise<void> {
  await withClient(shard, (client) => client.query(BANK_SCHEMA));
}

/** Inserts currencies and accounts through pgxa; `onLoaded` is told how many accounts are in. */
export async function loadBank(
  pgxa: pg.ClientConfig,
  accounts: readonly (readonly number[])[],
  onLoaded: (count: number) => void,
): Promise<void> {
  await withClient(pgxa, loadCurrencies);
  const inserts = accounts.flatMap((ids) => slices(ids, ROWS_PER_INSERT));
  let loaded = 0;
  const work = inserts.values();
  const loader = (client: pg.Client) =>
    forEach(work, async (ids) => {
      await insertAccounts(client, ids);
      onLoaded((loaded += ids.length));
    });
  await Promise.all(Array.from({ length: LOADERS }, () => withClient(pgxa, loader)));
}

async function loadCurrencies(client: pg.Client): Promise<void> {
  await client.query("BEGIN");
  for (const currency of CURRENCIES) {
    await client.query("INSERT INTO currencies (code, name) VALUES ($1, $2)", [...currency]);
  }
  await client.query("COMMIT");
}

async function insertAccounts(client: pg.Client, ids: readonly number[]): Promise<void> {
  const balance = (OPENING_BALANCE_CENTS / 100).toFixed(2);
  const rows = ids.map((_, i) => `($${3 * i + 1}, $${3 * i + 2}, $${3 * i + 3})`);
  const values = ids.flatMap((id) => [id, ownerOf(id), balance]);
  await client.query(`INSERT INTO accounts (id, owner, balance) VALUES ${rows.join(", ")}`, values);
}

function shardOf(router: Router, id: number): ShardIndex {
  const shard = router.shardByKey(String(id));
  if (shard instanceof Fault) throw shard;
  return shard;
}

/** Several callers may share one iterator: each item goes to one of them. */
async function forEach<T>(items: Iterator<T>, act: (item: T) => Promise<void>): Promise<void> {
  for (let next = items.next(); !next.done; next = items.next()) await act(next.value);
}

function slices<T>(items: readonly T[], length: number): (readonly T[])[] {
  const count = Math.ceil(items.length / length);
  return Array.from({ length: count }, (_, i) => items.slice(i * length, (i + 1) * length));
}

async function withClient<T>(config: pg.ClientConfig, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(config);
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
