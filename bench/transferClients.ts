/**
 * Three ways to move money between two shards, each as an application would write it with the `pg` driver.
 *
 * The work is the same: one parameterised UPDATE on the first shard, then one on the second. The order is fixed
 * because a circle of waits over two shards is broken by nobody there. What differs is who commits.
 */
import type pg from "pg";
import { connect } from "./bank.ts";
import type { DecisionFile } from "./decisionFile.ts";
import type { Endpoint } from "./endpoint.ts";

/** One account of the first shard, one of the second, and what goes from one to the other. */
export interface Transfer {
  readonly first: number;
  readonly second: number;
  readonly amount: number;
}

export interface TransferClient {
  /** Resolves when the application may rely on it. */
  transfer(transfer: Transfer): Promise<void>;
  close(): Promise<void>;
}

const UPDATE = "UPDATE accounts SET balance = balance + $1 WHERE id = $2";

/** Through pgxa: one connection, and COMMIT does the rest. */
export async function proxiedClient(proxy: Endpoint): Promise<TransferClient> {
  const client = await connect(proxy);
  return {
    async transfer({ first, second, amount }) {
      await client.query("BEGIN");
      await update(client, -amount, first);
      await update(client, amount, second);
      await client.query("COMMIT");
    },
    close: () => client.end(),
  };
}

/** COMMIT on both shards at once: not atomic, shown for what atomicity costs. */
export async function plainClient(shards: readonly Endpoint[]): Promise<TransferClient> {
  const clients = await both(shards);
  return {
    async transfer(transfer) {
      await updateBoth(clients, transfer);
      await Promise.all(clients.map((client) => client.query("COMMIT")));
    },
    close: () => closeBoth(clients),
  };
}

/** The application's own two-phase commit, both phases on both shards at once. `name` is unique to the client. */
export async function handwrittenClient(
  shards: readonly Endpoint[],
  decisions: DecisionFile,
  name: string,
): Promise<TransferClient> {
  const clients = await both(shards);
  let sequence = 0;
  return {
    async transfer(transfer) {
      const gtrid = `hand:${name}:${++sequence}`;
      await updateBoth(clients, transfer);
      await Promise.all(clients.map((client) => prepare(client, gtrid)));
      await decisions.commit(gtrid);
      await Promise.all(clients.map((client) => client.query(`COMMIT PREPARED '${gtrid}'`)));
    },
    close: () => closeBoth(clients),
  };
}

/** A vote is yes only if the tag says so: PREPARE of a failed transaction answers ROLLBACK, without an error. */
async function prepare(client: pg.Client, gtrid: string): Promise<void> {
  const { command } = await client.query(`PREPARE TRANSACTION '${gtrid}'`);
  if (command !== "PREPARE") throw new Error(`a shard answered ${command} to PREPARE TRANSACTION`);
}

type Both = readonly [pg.Client, pg.Client];

/** Both shards get their BEGIN at once; the second shard's is over before its UPDATE comes. */
async function updateBoth([first, second]: Both, transfer: Transfer): Promise<void> {
  const begun = [first.query("BEGIN"), second.query("BEGIN")];
  await Promise.all([...begun, update(first, -transfer.amount, transfer.first)]);
  await update(second, transfer.amount, transfer.second);
}

async function update(client: pg.Client, amount: number, id: number): Promise<void> {
  const { rowCount } = await client.query(UPDATE, [amount, id]);
  if (rowCount !== 1) throw new Error(`account ${id} is not on the shard that was asked`);
}

async function both(shards: readonly Endpoint[]): Promise<Both> {
  return Promise.all([connect(shards[0]!), connect(shards[1]!)]);
}

async function closeBoth(clients: Both): Promise<void> {
  await Promise.all(clients.map((client) => client.end()));
}
