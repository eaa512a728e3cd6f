/** Branches that somebody left prepared, and what an operator does about them: for the tests of transactions in doubt. */
import { rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type pg from "pg";
import { gidOf, gtridOf, type ShardId } from "../../src/base/brands.ts";
import { gid } from "../../src/txn/gid.ts";
import { type Command, run } from "../cli/command.ts";
import { Stage } from "./stage.ts";

const WAIT_MS_MAX = 20_000;

export interface DoubtRow {
  readonly gid: string | null;
  readonly gtrid: string;
  readonly shard: string;
  readonly coordinator: string;
  readonly database: string;
  readonly owner: string;
  readonly age_s: string;
  readonly xmin_age: string;
  readonly holds_back_vacuum: boolean;
  readonly locks: string;
  readonly waiting: string;
  readonly decision: string;
  readonly reason: string;
}

export type Ended = Awaited<ReturnType<typeof run>>;
export type { Command };

export class InDoubtStage {
  readonly stage: Stage;
  #seq = 0;

  private constructor(stage: Stage) {
    this.stage = stage;
  }

  /** Two shards, and no pgxa. */
  static async open(transaction: object): Promise<InDoubtStage> {
    const config = { transaction: { resolve_interval: "200ms", ...transaction } };
    return new InDoubtStage(await Stage.open({ isOpen: false, config }));
  }

  /** A name of a transaction of an earlier start, which no other has. */
  name(coordinator = "one", epoch = 7): string {
    this.#seq += 1;
    return `test:${coordinator}:${epoch.toString(36)}:${this.#seq.toString(36)}`;
  }

  shard(i: number): ShardId {
    return this.stage.shards[i]!.id;
  }

  /** The first account of a shard. */
  account(i: number): number {
    return this.stage.accounts[i]![0]!;
  }

  /** Leaves a branch of `transaction` prepared on shard `i`, which added 5 to its account; returns its gid. */
  async leave(transaction: string, i: number, anchor: ShardId | null = null): Promise<string> {
    const name = gid(gtridOf(transaction), this.shard(i), anchor);
    await this.sql(
      i,
      `BEGIN; UPDATE accounts SET balance = balance + 5 WHERE id = ${this.account(i)}; PREPARE TRANSACTION '${name}'`,
    );
    return gidOf(name);
  }

  async sql(i: number, text: string): Promise<readonly Record<string, unknown>[]> {
    const client = await this.stage.shards[i]!.connect();
    try {
      return (await client.query(text)).rows ?? [];
    } finally {
      await client.end();
    }
  }

  async balance(i: number): Promise<number> {
    const [row] = await this.sql(i, `SELECT balance::int FROM accounts WHERE id = ${this.account(i)}`);
    return Number(row!["balance"]);
  }

  /** What is prepared on all shards that run. */
  async prepared(): Promise<readonly string[]> {
    const running = this.stage.shards
      .map((shard, i) => (shard.serverPid === null ? -1 : i))
      .filter((i) => i >= 0);
    const rows = await Promise.all(running.map((i) => this.sql(i, "SELECT gid FROM pg_prepared_xacts")));
    return rows.flat().map((row) => String(row["gid"]));
  }

  /** Asks the console. */
  async ask<Row extends pg.QueryResultRow>(command: string): Promise<readonly Row[]> {
    const client = await this.stage.connect({ database: "pgxa" });
    try {
      return (await client.query<Row>(command)).rows;
    } finally {
      await client.end();
    }
  }

  /** The row of SHOW IN_DOUBT for that gid, once there is one that `isIt`. */
  async doubt(name: string | null, isIt: (row: DoubtRow) => boolean = () => true): Promise<DoubtRow> {
    for (const untilMs = performance.now() + WAIT_MS_MAX; ; ) {
      const rows = await this.ask<DoubtRow & pg.QueryResultRow>("SHOW IN_DOUBT");
      const row = rows.find((one) => one.gid === name && isIt(one));
      if (row !== undefined) return row;
      if (performance.now() > untilMs) throw new Error(`it is not shown: ${JSON.stringify(rows)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** What a disk that was lost leaves: pgxa must not run. */
  loseLog(): void {
    rmSync(join(this.stage.home, "decisions"), { recursive: true, force: true });
  }

  /** Runs `pgxa resolve`. */
  resolve(...args: readonly string[]): Promise<Ended> {
    return run(["resolve", ...args, "--config", this.stage.file]);
  }
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Resolves when `isSo`. */
export async function until(isSo: () => Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + WAIT_MS_MAX;
  while (!(await isSo()) && performance.now() < untilMs)
    await new Promise((resolve) => setTimeout(resolve, 20));
}
