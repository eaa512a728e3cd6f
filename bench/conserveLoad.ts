/**
 * A thousand clients that transfer money through pgxa at once, while others read the total.
 *
 * Each transfer has an id and leaves a row on both shards, so that afterwards what the clients were told can be
 * held against what the shards have.
 */
import pg from "pg";
import { type AccountsByShard, connect } from "./bank.ts";
import type { Outcome } from "./conservation.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Part, Transfer } from "./transferClients.ts";
import { randomTransfer } from "./transferLoad.ts";

export interface ConserveOrder {
  readonly proxy: Endpoint;
  /** The names of the two shards. */
  readonly shardIds: readonly string[];
  readonly accounts: AccountsByShard;
  readonly clients: number;
  readonly transfersPerClient: number;
  /** The total that every untorn reading shows. */
  readonly total: number;
}

export interface ConserveReport {
  readonly outcomes: ReadonlyMap<number, Outcome>;
  readonly totalsRead: number;
  readonly totalsTorn: number;
}

const READERS = 4;
/** How many clients log in at the same time; the listen queue of a server is not endless. */
const LOGINS_AT_ONCE = 50;

/** Runs to the end of all transfers. */
export async function conserve(order: ConserveOrder): Promise<ConserveReport> {
  const clients = await connectMany(order.proxy, order.clients);
  const readers = await connectMany(order.proxy, READERS);
  const outcomes = new Map<number, Outcome>();
  const readings: number[] = [];
  const running = { transfers: true };
  const reading = readers.map((reader) => readTotals(reader, order.shardIds, running, readings));
  await Promise.all(clients.map((client, index) => transferOften(client, index, order, outcomes)));
  running.transfers = false;
  await Promise.all(reading);
  await Promise.all([...clients, ...readers].map((client) => client.end()));
  return {
    outcomes,
    totalsRead: readings.length,
    totalsTorn: readings.filter((total) => total !== order.total).length,
  };
}

async function transferOften(
  client: pg.Client,
  index: number,
  order: ConserveOrder,
  outcomes: Map<number, Outcome>,
): Promise<void> {
  for (let sequence = 0; sequence < order.transfersPerClient; sequence++) {
    const id = index * order.transfersPerClient + sequence;
    outcomes.set(id, "unknown");
    outcomes.set(id, await outcomeOf(client, id, randomTransfer(order.accounts)));
  }
}

async function outcomeOf(client: pg.Client, id: number, transfer: Transfer): Promise<Outcome> {
  try {
    await client.query("BEGIN");
    for (const part of transfer) await movePart(client, id, part);
  } catch {
    // COMMIT was never said: whatever became of the connection, this one is not applied.
    await client.query("ROLLBACK").catch(() => {});
    return "failed";
  }
  try {
    const { command } = await client.query("COMMIT");
    return command === "COMMIT" ? "acknowledged" : "failed";
  } catch (error) {
    return isRefusal(error) ? "failed" : "unknown";
  }
}

async function movePart(client: pg.Client, id: number, { account, amount }: Part): Promise<void> {
  await client.query("UPDATE accounts SET balance = balance + $1 WHERE id = $2", [amount, account]);
  await client.query("INSERT INTO transfers (account_id, id, amount) VALUES ($1, $2, $3)", [
    account,
    id,
    amount,
  ]);
}

/** An error of COMMIT that says the transaction was rolled back: any but those of a lost connection. */
function isRefusal(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code !== undefined && !/^(08|57P)/.test(error.code);
}

/** Reads both shards' sums in one transaction, again and again. */
async function readTotals(
  client: pg.Client,
  shardIds: readonly string[],
  running: { readonly transfers: boolean },
  readings: number[],
): Promise<void> {
  while (running.transfers) {
    let total = 0;
    await client.query("BEGIN");
    for (const id of shardIds) {
      const sql = `/* pgxa: shard=${id} */ SELECT sum(balance)::int8 AS sum FROM accounts`;
      total += Number((await client.query<{ sum: string }>(sql)).rows[0]!.sum);
    }
    await client.query("COMMIT");
    readings.push(total);
  }
}

async function connectMany(proxy: Endpoint, count: number): Promise<pg.Client[]> {
  const clients: pg.Client[] = [];
  while (clients.length < count) {
    const next = Math.min(LOGINS_AT_ONCE, count - clients.length);
    clients.push(...(await Promise.all(Array.from({ length: next }, () => quietConnect(proxy)))));
  }
  return clients;
}

/** A lost connection shows as an error of the query that needed it; without a listener it would end the process. */
async function quietConnect(proxy: Endpoint): Promise<pg.Client> {
  const client = await connect(proxy);
  client.on("error", () => {});
  return client;
}
