/** Circles of transactions that wait for each other, closed on purpose, and how long it takes until one gives way. */
import type pg from "pg";
import { connect } from "./bank.ts";
import type { Endpoint } from "./endpoint.ts";

const UPDATE = "UPDATE accounts SET balance = balance + 1 WHERE id = $1";
const DEADLOCK_DETECTED = "40P01";
/** How long all but the last wait before the circle is closed, in ms: longer than any first look. */
const SETTLE_MS = 100;

/** One member of a circle: where it connects, the row it holds, the row it then wants. */
export interface Member {
  readonly endpoint: Endpoint;
  readonly holds: number;
  readonly wants: number;
}

/** Closes the circle `times` times; from the moment it is closed to the victim's error, in ms, each. */
export async function closeCircles(members: readonly Member[], times: number): Promise<readonly number[]> {
  const clients = await Promise.all(members.map(({ endpoint }) => connect(endpoint)));
  try {
    const elapsed: number[] = [];
    for (let i = 0; i < times; i++) elapsed.push(await closeCircle(clients, members));
    return elapsed;
  } finally {
    await Promise.all(clients.map((client) => client.end()));
  }
}

async function closeCircle(clients: readonly pg.Client[], members: readonly Member[]): Promise<number> {
  await Promise.all(clients.map((client) => client.query("BEGIN")));
  await Promise.all(clients.map((client, i) => client.query(UPDATE, [members[i]!.holds])));
  const last = clients.length - 1;
  const open = clients.slice(0, last).map((client, i) => want(client, members[i]!));
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const closed = performance.now();
  const ends = await Promise.all([...open, want(clients[last]!, members[last]!)]);
  const victims = ends.filter((endedAt) => endedAt !== null);
  if (victims.length !== 1) throw new Error(`${victims.length} of a circle of ${clients.length} gave way`);
  return victims[0]! - closed;
}

/** Asks for the second row and rolls back; when the client was told to give way, null if it was not. */
async function want(client: pg.Client, { wants }: Member): Promise<number | null> {
  let victimAt: number | null = null;
  await client.query(UPDATE, [wants]).catch((error: pg.DatabaseError) => {
    if (error.code !== DEADLOCK_DETECTED) throw error;
    victimAt = performance.now();
  });
  await client.query("ROLLBACK");
  return victimAt;
}
