/**
 * Three ways to move money between shards, each as an application would write it with the `pg` driver.
 *
 * The work is the same: one parameterised UPDATE on each shard, one after the other. The order is fixed because a
 * circle of waits over several shards is broken by nobody there. What differs is who commits.
 */
import type pg from "pg";
import { connect } from "./bank.ts";
import type { DecisionFile } from "./decisionFile.ts";
import type { Endpoint } from "./endpoint.ts";

/** What one account gets; the parts of a transfer lie on one shard each, in the order of the shards, and sum to 0. */
export interface Part {
  readonly account: number;
  readonly amount: number;
}

export type Transfer = readonly Part[];

/**
 * How it ends: with COMMIT; with the application's ROLLBACK after all was written; or with a COMMIT that the last shard
 * refuses, for a constraint that is checked no sooner.
 */
export type Ending = "commit" | "rollback" | "refused";

export interface TransferClient {
  /** Resolves when the application may rely on it. */
  transfer(transfer: Transfer, ending?: Ending): Promise<void>;
  close(): Promise<void>;
}

const UPDATE = "UPDATE accounts SET balance = balance + $1 WHERE id = $2";
/** There is no account -1, which the shard notices at PREPARE or COMMIT. */
const REFUSED = "INSERT INTO refusals (id, account) VALUES ($1, -1)";
const NO_SUCH_ACCOUNT = "23503";

/** Through pgxa: one connection, and COMMIT does the rest. */
export async function proxiedClient(proxy: Endpoint): Promise<TransferClient> {
  const client = await connect(proxy);
  return {
    async transfer(transfer, ending = "commit") {
      await client.query("BEGIN");
      for (const part of transfer) await update(client, part);
      if (ending === "refused") await client.query(REFUSED, [transfer.at(-1)!.account]);
      const ended = client.query(ending === "rollback" ? "ROLLBACK" : "COMMIT");
      if (ending === "refused") await expectRefusal(ended);
      else await ended;
    },
    close: () => client.end(),
  };
}

/** COMMIT on all shards at once: not atomic, shown for what atomicity costs. */
export async function plainClient(shards: readonly Endpoint[]): Promise<TransferClient> {
  const clients = await connectAll(shards);
  return {
    async transfer(transfer, ending = "commit") {
      if (ending === "refused") throw new Error("COMMIT on each shard cannot be refused as a whole");
      await updateAll(clients, transfer);
      await queryAll(clients, ending === "rollback" ? "ROLLBACK" : "COMMIT");
    },
    close: () => closeAll(clients),
  };
}

/** The application's own two-phase commit, both phases on all shards at once. `name` is unique to the client. */
export async function handwrittenClient(
  shards: readonly Endpoint[],
  decisions: DecisionFile,
  name: string,
): Promise<TransferClient> {
  const clients = await connectAll(shards);
  let sequence = 0;
  return {
    async transfer(transfer, ending = "commit") {
      const gtrid = `hand:${name}:${++sequence}`;
      await updateAll(clients, transfer);
      if (ending === "rollback") return queryAll(clients, "ROLLBACK");
      if (ending === "refused") return refused(clients, transfer, gtrid);
      await Promise.all(clients.map((client) => prepare(client, gtrid)));
      await decisions.commit(gtrid);
      await queryAll(clients, `COMMIT PREPARED '${gtrid}'`);
    },
    close: () => closeAll(clients),
  };
}

/** The last shard says no: the others, which said yes, are rolled back. Nothing needs to be written down. */
async function refused(clients: readonly pg.Client[], transfer: Transfer, gtrid: string): Promise<void> {
  const [yes, no] = [clients.slice(0, -1), clients.at(-1)!];
  await no.query(REFUSED, [transfer.at(-1)!.account]);
  await Promise.all([...yes.map((client) => prepare(client, gtrid)), expectRefusal(prepare(no, gtrid))]);
  await queryAll(yes, `ROLLBACK PREPARED '${gtrid}'`);
}

async function expectRefusal(ended: Promise<unknown>): Promise<void> {
  const error = await ended.then(
    () => null,
    (reason: pg.DatabaseError) => reason,
  );
  if (error === null) throw new Error("a commit that had to be refused was not");
  if (error.code !== NO_SUCH_ACCOUNT) throw error;
}

/** A vote is yes only if the tag says so: PREPARE of a failed transaction answers ROLLBACK, without an error. */
async function prepare(client: pg.Client, gtrid: string): Promise<void> {
  const { command } = await client.query(`PREPARE TRANSACTION '${gtrid}'`);
  if (command !== "PREPARE") throw new Error(`a shard answered ${command} to PREPARE TRANSACTION`);
}

/** All shards get their BEGIN at once; those of the later ones are over before their UPDATE comes. */
async function updateAll(clients: readonly pg.Client[], transfer: Transfer): Promise<void> {
  const begun = clients.map((client) => client.query("BEGIN"));
  await Promise.all([...begun, update(clients[0]!, transfer[0]!)]);
  for (let shard = 1; shard < clients.length; shard++) await update(clients[shard]!, transfer[shard]!);
}

async function update(client: pg.Client, { account, amount }: Part): Promise<void> {
  const { rowCount } = await client.query(UPDATE, [amount, account]);
  if (rowCount !== 1) throw new Error(`account ${account} is not on the shard that was asked`);
}

async function queryAll(clients: readonly pg.Client[], sql: string): Promise<void> {
  await Promise.all(clients.map((client) => client.query(sql)));
}

async function connectAll(shards: readonly Endpoint[]): Promise<readonly pg.Client[]> {
  return Promise.all(shards.map(connect));
}

async function closeAll(clients: readonly pg.Client[]): Promise<void> {
  await Promise.all(clients.map((client) => client.end()));
}
