/**
 * A bank's application: many clients move money between accounts, most of them on different shards.
 *
 *     npx node examples/bank/transfers.ts --port 6432
 *
 * To the application pgxa is one Postgres. Three things are worth a look:
 *
 * - The two accounts are always locked in the order of their ids, so that no two transfers wait for each other.
 * - A transfer has an id that the application chose. If the connection is lost during COMMIT, the outcome is not
 *   known; the id says whether the transfer is there, and only if it is not is it repeated.
 * - The total is read shard by shard, with a hint in a comment that says which one is meant.
 */
import { randomInt, randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import pg from "pg";

const { values } = parseArgs({
  options: {
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "6432" },
    clients: { type: "string", default: "16" },
    seconds: { type: "string", default: "10" },
    accounts: { type: "string", default: "10000" },
    shards: { type: "string", default: "east,north,west" },
  },
});
const server = { host: values.host, port: Number(values.port), database: "bank", user: "postgres" };
const accounts = Number(values.accounts);
const shards = values.shards.split(",");
const RETRY_MS = 200;

interface Transfer {
  readonly id: string;
  readonly from: number;
  readonly to: number;
  readonly amount: number;
}

const counts = { done: 0, refused: 0, repeated: 0, interrupted: 0 };
let isOver = false;

const before = await total();
console.log(`total before: ${before}`);
setTimeout(() => (isOver = true), Number(values.seconds) * 1000);
const reporter = setInterval(report, 1000);
await Promise.all(Array.from({ length: Number(values.clients) }, work));
clearInterval(reporter);
report();
const after = await total();
console.log(
  `total after:  ${after}  ${after === before ? "✓ no money was lost or made" : "✗ MONEY WAS LOST OR MADE"}`,
);
process.exitCode = after === before ? 0 : 1;

/** One client: transfers until time is up. */
async function work(): Promise<void> {
  let client = await connect();
  while (!isOver) {
    const transfer = { id: randomUUID(), ...twoAccounts(), amount: randomInt(1, 50) };
    while (!(await settle(transfer))) counts.repeated++;
  }
  await client.end();

  /** False if the transfer is to be repeated. */
  async function settle(transfer: Transfer): Promise<boolean> {
    try {
      await run(client, transfer);
      counts.done++;
      return true;
    } catch (error) {
      const code = (error as { code?: string }).code;
      if (code === "23514") return ++counts.refused > 0; // the balance would be negative
      const isUnknown = code === undefined || code === "08007" || !/^[0-9A-Z]{5}$/.test(code);
      if (!isUnknown && client.isAlive) return false; // rolled back: by 40001 for example
      counts.interrupted++;
      client = await reconnect(client);
      return wasApplied(transfer);
    }
  }

  /** Asks the data itself. Until recovery has settled the transfer, its row cannot be read or written. */
  async function wasApplied(transfer: Transfer): Promise<boolean> {
    const find = "SELECT FROM transfers WHERE account_id = $1 AND id = $2";
    try {
      await client.query("SELECT FROM accounts WHERE id = $1 FOR UPDATE", [transfer.from]);
      const { rowCount } = await client.query(find, [transfer.from, transfer.id]);
      return rowCount === 1;
    } catch {
      client = await reconnect(client);
      return wasApplied(transfer);
    }
  }
}

async function run(client: pg.Client, { id, from, to, amount }: Transfer): Promise<void> {
  const steps = [
    { account: from, change: -amount },
    { account: to, change: amount },
  ].sort((one, other) => one.account - other.account);
  try {
    await client.query("BEGIN");
    for (const { account, change } of steps) {
      await client.query("UPDATE accounts SET balance = balance + $2 WHERE id = $1", [account, change]);
      await client.query("INSERT INTO transfers (account_id, id, amount) VALUES ($1, $2, $3)", [
        account,
        id,
        change,
      ]);
    }
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK").catch(() => {});
    throw error;
  }
}

type LiveClient = pg.Client & { isAlive: boolean };

/** Tries until pgxa is there. */
async function connect(): Promise<LiveClient> {
  for (;;) {
    const client = Object.assign(new pg.Client(server), { isAlive: true });
    client.on("error", () => (client.isAlive = false));
    client.on("end", () => (client.isAlive = false));
    try {
      await client.connect();
      return client;
    } catch {
      await delay(RETRY_MS);
    }
  }
}

async function reconnect(client: pg.Client): Promise<LiveClient> {
  await client.end().catch(() => {});
  return connect();
}

/** The sum of all balances, exact as text. */
async function total(): Promise<string> {
  const client = await connect();
  let cents = 0n;
  for (const shard of shards) {
    const { rows } = await client.query<{ cents: string }>(
      `/* pgxa: shard=${shard} */ SELECT (sum(balance) * 100)::int8 AS cents FROM accounts`,
    );
    cents += BigInt(rows[0]!.cents);
  }
  await client.end();
  return `${cents / 100n}.${String(cents % 100n).padStart(2, "0")}`;
}

function twoAccounts(): { from: number; to: number } {
  const from = randomInt(1, accounts + 1);
  const to = randomInt(1, accounts);
  return { from, to: to < from ? to : to + 1 };
}

function report(): void {
  const { done, refused, repeated, interrupted } = counts;
  console.log(`${done} transfers done, ${refused} refused, ${interrupted} interrupted, ${repeated} repeated`);
}
