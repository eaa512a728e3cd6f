/**
 * What a test of deadlocks stands on: a stage, an observer on each shard who sees what waits there, and parties that
 * get into each other's way.
 *
 * Whether somebody waits is asked of the shards, so that no test has to guess how long that takes.
 */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import type pg from "pg";
import type { DeadlockRecord } from "../../src/deadlock/history.ts";
import { Stage, type StageOptions } from "./stage.ts";

/** Nothing here takes so long, unless somebody is stuck. */
export const STUCK_MS = 20_000;
/** For each test. */
export const LIMIT = { timeout: 50_000 };
/** What there is of each account, and what a touch adds. */
const POLL_MS = 5;

export const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** How a statement ended: with null, or with its error. */
export type Outcome = pg.DatabaseError | null;

export const outcome = (statement: Promise<unknown>): Promise<Outcome> =>
  statement.then(
    () => null,
    (error: pg.DatabaseError) => error,
  );

/** `promise`, or an error that says who is stuck. */
export async function unstuck<Value>(promise: Promise<Value>, who: string): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const stuck = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`stuck: ${who}`)), STUCK_MS);
  });
  try {
    return await Promise.race([promise, stuck]);
  } finally {
    clearTimeout(timer);
  }
}

/** A client of pgxa that takes part in a circle. */
export class Party {
  readonly client: pg.Client;

  constructor(client: pg.Client) {
    this.client = client;
  }

  /** What pgxa calls it. */
  get id(): number {
    return (this.client as unknown as { processID: number }).processID;
  }

  async begin(): Promise<void> {
    await this.client.query("BEGIN");
  }

  /** Runs statements one after the other. */
  async run(...texts: readonly string[]): Promise<void> {
    for (const text of texts) await this.client.query(text);
  }

  async touch(...accounts: readonly number[]): Promise<void> {
    for (const account of accounts) await this.client.query(touching(account));
  }

  /** Runs the statement and, once it is through, COMMIT. */
  wants(text: string, values?: readonly unknown[]): Promise<Outcome> {
    const statement = values === undefined ? this.client.query(text) : this.client.query(text, [...values]);
    return outcome(statement.then(() => this.client.query("COMMIT")));
  }

  async rollback(): Promise<void> {
    await this.client.query("ROLLBACK");
  }
}

export const touching = (account: number): string =>
  `UPDATE accounts SET balance = balance + 1 WHERE id = ${account}`;

export const on = (shard: string, sql: string): string => `${sql} /* pgxa: shard=${shard} */`;

export class DeadlockStage {
  readonly stage: Stage;
  readonly #observers: readonly pg.Client[];
  readonly #metricsPort: number;
  readonly #taken: number[];
  readonly #consoles: pg.Client[] = [];

  constructor(stage: Stage, observers: readonly pg.Client[], metricsPort: number) {
    this.stage = stage;
    this.#observers = observers;
    this.#metricsPort = metricsPort;
    this.#taken = stage.shards.map(() => 0);
  }

  static async open(options: StageOptions = {}): Promise<DeadlockStage> {
    const metricsPort = await freePort();
    const config = { metrics: { port: metricsPort }, ...options.config };
    const stage = await Stage.open({ accounts: 400, ...options, config });
    const observers = await Promise.all(stage.shards.map((shard) => shard.connect()));
    return new DeadlockStage(stage, observers, metricsPort);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#observers.map((observer) => observer.end().catch(() => {})));
    await this.stage.stop();
  }

  async party(): Promise<Party> {
    return new Party(await this.stage.connect());
  }

  parties(count: number): Promise<Party[]> {
    return Promise.all(Array.from({ length: count }, () => this.party()));
  }

  /** An account on the shard of that index which no test has used yet. */
  account(shard: number): number {
    const id = this.stage.accounts[shard]![this.#taken[shard]!];
    assert.ok(id !== undefined, "the stage has accounts enough");
    this.#taken[shard]! += 1;
    return id;
  }

  /** A connection to the shard of that index itself, which the caller need not end. */
  observer(shard: number): pg.Client {
    return this.#observers[shard]!;
  }

  // --- what goes on on the shards ---

  /** How many processes wait for a lock on each shard. */
  waiting(): Promise<number[]> {
    return Promise.all(
      this.#observers.map(async (observer) => {
        const { rows } = await observer.query(
          "SELECT count(DISTINCT pid)::int AS waiting FROM pg_locks WHERE NOT granted",
        );
        return rows[0].waiting as number;
      }),
    );
  }

  /** Resolves when `count` processes wait for locks, over all shards. */
  async untilWaiting(count: number): Promise<void> {
    await this.until(`${count} wait`, async () => {
      const waiting = await this.waiting();
      return waiting.reduce((sum, one) => sum + one, 0) >= count;
    });
  }

  async until(what: string, isSo: () => Promise<boolean>): Promise<void> {
    const endMs = performance.now() + STUCK_MS;
    while (!(await isSo())) {
      assert.ok(performance.now() < endMs, `did not come: ${what}`);
      await later(POLL_MS);
    }
  }

  /** Fails if anybody holds a lock on the account of that shard. */
  async isFree(shard: number, account: number): Promise<void> {
    const observer = this.#observers[shard]!;
    await observer.query("SELECT FROM accounts WHERE id = $1 FOR UPDATE NOWAIT", [account]);
  }

  async balance(shard: number, account: number): Promise<number> {
    const { rows } = await this.#observers[shard]!.query("SELECT balance FROM accounts WHERE id = $1", [
      account,
    ]);
    return Number(rows[0].balance);
  }

  // --- what pgxa says of it ---

  /** On the console of worker `at`, if there are several. */
  async show<Row extends pg.QueryResultRow>(command: string, at = 0): Promise<Row[]> {
    this.#consoles[at] ??= await this.stage.connect({ database: "pgxa", port: this.stage.ports[at]! });
    return (await this.#consoles[at].query<Row>(command)).rows;
  }

  async records(): Promise<DeadlockRecord[]> {
    const all = new Map<string, DeadlockRecord>();
    for (const at of this.stage.ports.keys()) {
      for (const { json } of await this.show<{ json: DeadlockRecord }>("SHOW DEADLOCKS", at))
        all.set(`${json.atMs} ${json.victim}`, json);
    }
    return [...all.values()].sort((one, other) => one.atMs - other.atMs);
  }

  /** The deadlocks that were broken while `work` ran. */
  async broken(work: () => Promise<unknown>): Promise<DeadlockRecord[]> {
    const keyOf = ({ atMs, victim }: DeadlockRecord): string => `${atMs} ${victim}`;
    const before = new Set((await this.records()).map(keyOf));
    await work();
    return (await this.records()).filter((record) => !before.has(keyOf(record)));
  }

  /** The sum of a counter over its labels. */
  async metric(name: string): Promise<number> {
    const response = await fetch(`http://127.0.0.1:${this.#metricsPort}/metrics`);
    const lines = (await response.text()).split("\n").filter((line) => line.match(/^\w+/)?.[0] === name);
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
  }
}

/** The one of `outcomes` that is a deadlock; all others have to be null. */
export function onlyVictim(outcomes: readonly Outcome[]): { index: number; error: pg.DatabaseError } {
  const victims = outcomes.flatMap((error, index) => (error === null ? [] : [{ index, error }]));
  assert.equal(victims.length, 1, `one victim: ${victims.map(({ error }) => error.message)}`);
  assertDeadlock(victims[0]!.error);
  return victims[0]!;
}

export function assertDeadlock(error: Outcome): asserts error is pg.DatabaseError {
  assert.equal(error?.code, "40P01", String(error));
  assert.equal(error.message, "deadlock detected");
  assert.match(error.hint ?? "", /Repeat the transaction/);
}

/** Each wait of the circle is for the next one's transaction, the last for the first's; it begins with the victim. */
export function assertCircle({ size, circle, victim }: DeadlockRecord): void {
  assert.equal(circle.length, size);
  assert.ok(size >= 2, "nobody waits for itself");
  assert.equal(circle[0]!.client, victim);
  for (const [i, { blockedBy }] of circle.entries()) {
    const next = circle[(i + 1) % circle.length]!;
    const name =
      next.client === null ? `process ${next.pid} of shard "${next.shard}"` : `client ${next.client}`;
    assert.ok(
      blockedBy.some((one) => one.endsWith(name)),
      `${blockedBy.join(", ")} is ${name}`,
    );
  }
  const waiters = circle.map(({ client, shard, pid }) => client ?? `${shard} ${pid}`);
  assert.equal(new Set(waiters).size, waiters.length, "nobody is in it twice");
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
