/**
 * Several pgxa of one fleet over real shards, with the decision log on the shards, as far as commits go: each is a commit
 * protocol, a resolver and a lease, as `compose.ts` puts them together. `kill` leaves what a dead process leaves.
 */
import { setTimeout as delay } from "node:timers/promises";
import { stringify } from "yaml";
import type { FaultPointListener } from "../../src/base/faultPoint.ts";
import { type Commits, startCommits } from "../../src/cli/composeCommits.ts";
import { makeSchema } from "../../src/cli/shardSchema.ts";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import { parseConfig } from "../../src/config/load.ts";
import { silentLog } from "../../src/observe/log.ts";
import { ServerConnection } from "../../src/pool/serverConnection.ts";
import type { CommitOutcome } from "../../src/txn/commitProtocol.ts";
import type { TestShard, TestShards } from "../support/shards.ts";
import { Branch, shardConfig } from "./commitStage.ts";

const REST_MS_MAX = 20_000;
const TABLE = "DROP TABLE IF EXISTS t; CREATE TABLE t (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)";

/** One pgxa of the fleet. */
export interface Member {
  readonly commits: Commits;
  readonly branches: Branch[];
}

export class FleetStage {
  readonly shards: readonly TestShard[];
  readonly #members: Member[] = [];

  private constructor(shards: readonly TestShard[]) {
    this.shards = shards;
  }

  static async open({ shards }: TestShards): Promise<FleetStage> {
    const stage = new FleetStage(shards);
    for (const [i, shard] of shards.entries()) {
      await makeSchema(shardConfig(shard));
      await stage.query(i, `${TABLE}; TRUNCATE pgxa.decision, pgxa.owner`);
    }
    return stage;
  }

  /** Starts a pgxa. */
  async join(
    coordinator: string,
    transaction: object = {},
    faultPoint: FaultPointListener = () => {},
  ): Promise<Member> {
    const text = stringify({
      database: "postgres",
      fleet: "f",
      coordinator,
      auth: { method: "trust" },
      shards: this.shards.map(({ id, host, port, user, database }) => ({
        name: id,
        host,
        port,
        user,
        database,
      })),
      transaction: {
        log: "shard",
        lease: "300ms",
        prepare_timeout: "3s",
        commit_timeout: "3s",
        resolve_interval: "200ms",
        ...transaction,
      },
    });
    const config = parseConfig(text, "fleet.yaml", {});
    const idle = { handoverPoint() {}, source: null, membership: null, onShutdown() {} };
    const world = { environment: systemEnvironment, log: silentLog, faultPoint, ...idle };
    const commits = await startCommits(config, world, [], null);
    const member = { commits, branches: [] };
    this.#members.push(member);
    return member;
  }

  /** Ends a pgxa in order. */
  async leave(member: Member): Promise<void> {
    this.#members.splice(this.#members.indexOf(member), 1);
    for (const { connection } of member.branches) connection.close();
    await member.commits.stop();
  }

  async close(): Promise<void> {
    for (const member of [...this.#members]) await this.leave(member);
  }

  /** An open transaction on a shard, in which `sql` was run. */
  async branch(member: Member, shard: number, sql: string, begin = "BEGIN"): Promise<Branch> {
    const connection = await ServerConnection.open({
      shard: shardConfig(this.shards[shard]!),
      environment: systemEnvironment,
      connectTimeoutMs: 5_000,
      identify: true,
      onClosed() {},
    });
    const branch = new Branch(connection);
    member.branches.push(branch);
    await connection.run(begin, 5_000);
    await connection.run(sql, 5_000);
    return branch;
  }

  /** Branches on shards 0 and 1 that inserted `value`; the second becomes the anchor. */
  async writers(member: Member, value: number): Promise<readonly [Branch, Branch]> {
    const sql = `INSERT INTO t VALUES (${value})`;
    return [await this.branch(member, 0, sql), await this.branch(member, 1, sql)];
  }

  commit(member: Member, ...branches: readonly Branch[]): Promise<CommitOutcome> {
    return member.commits.protocol.commit(
      branches.map((connection) => ({ connection, sawOnlyReads: false })),
    );
  }

  /** On how many shards `value` is to be seen. */
  async seen(value: number): Promise<number> {
    const rows = await Promise.all(
      this.shards.map((_, i) => this.query(i, `SELECT FROM t WHERE a = ${value}`)),
    );
    return rows.filter((row) => row.length > 0).length;
  }

  async query(shard: number, sql: string): Promise<readonly Record<string, unknown>[]> {
    const client = await this.shards[shard]!.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  }

  /** What is prepared and what is decided, over all shards. */
  async left(): Promise<{ readonly prepared: readonly string[]; readonly decisions: readonly string[] }> {
    const [prepared, decisions] = await Promise.all(
      [
        "SELECT gid AS name FROM pg_prepared_xacts",
        "SELECT outcome || ' ' || gtrid AS name FROM pgxa.decision",
      ].map(async (sql) => (await Promise.all(this.shards.map((_, i) => this.query(i, sql)))).flat()),
    );
    const names = (rows: readonly Record<string, unknown>[]) => rows.map(({ name }) => String(name));
    return { prepared: names(prepared!), decisions: names(decisions!) };
  }

  /** Waits until nothing is prepared and, if `isTidy`, no commit is decided any more. */
  async rest(isTidy = true): Promise<void> {
    const untilMs = performance.now() + REST_MS_MAX;
    for (;;) {
      const { prepared, decisions } = await this.left();
      const commits = decisions.filter((name) => name.startsWith("commit"));
      if (prepared.length === 0 && (commits.length === 0 || !isTidy)) return;
      const inDoubt = this.#members.flatMap(({ commits }) => commits.resolver.inDoubt);
      const state = JSON.stringify({ prepared, decisions, inDoubt });
      if (performance.now() > untilMs) throw new Error(`not at rest: ${state}`);
      await delay(10);
    }
  }
}
