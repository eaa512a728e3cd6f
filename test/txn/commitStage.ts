/**
 * Real shards with a commit protocol in front, and branches whose answers a test can lose. `restart` is what a crash of
 * pgxa leaves: the connections are gone, and a new protocol, resolver and log begin on the same directory.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { FaultPointListener } from "../../src/base/faultPoint.ts";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import type { ShardConfig, TransactionConfig } from "../../src/config/config.ts";
import { type Log, silentLog } from "../../src/observe/log.ts";
import type { ControlReply } from "../../src/pool/controlReply.ts";
import { ServerConnection } from "../../src/pool/serverConnection.ts";
import { type CommitOutcome, CommitProtocol } from "../../src/txn/commitProtocol.ts";
import { FileLog } from "../../src/txn/fileLog/fileLog.ts";
import type { BranchConnection } from "../../src/txn/participant.ts";
import { PreparedSlots } from "../../src/txn/preparedSlots.ts";
import { Resolver } from "../../src/txn/resolver.ts";
import { ShardControl } from "../../src/txn/shardControl.ts";
import type { KeptStatement } from "../../src/wire/keptStatement.ts";
import type { TestShard, TestShards } from "../support/shards.ts";

/** How a branch loses an answer: before the shard got the statement, or after it had done it. */
export type Loss = "before" | "after";

const CONFIG: Omit<TransactionConfig, "logDirectory"> = {
  log: "file",
  sync: "fdatasync",
  leaseMs: 1_000,
  prepareTimeoutMs: 3_000,
  commitTimeoutMs: 3_000,
  commitAck: "applied",
  onUnpreparable: "refuse",
  resolveIntervalMs: 200,
};

const REST_MS_MAX = 10_000;

export const shardConfig = (shard: TestShard, user = shard.user): ShardConfig => ({
  id: shard.id,
  host: shard.host,
  port: shard.port,
  database: shard.database,
  user,
  password: undefined,
});

/** A branch's connection; the first query whose last statement begins with a key of `losses` loses its answer. */
export class Branch implements BranchConnection {
  readonly connection: ServerConnection;
  readonly losses = new Map<string, Loss>();
  readonly said: string[] = [];

  constructor(connection: ServerConnection) {
    this.connection = connection;
  }

  get shard() {
    return this.connection.shard;
  }
  get pid() {
    return this.connection.pid;
  }
  get backendStart() {
    return this.connection.backendStart;
  }

  get timeline() {
    return this.connection.timeline;
  }

  get isInTransaction() {
    return this.connection.isInTransaction;
  }

  run(sql: string, timeoutMs: number): Promise<ControlReply> {
    this.said.push(sql);
    return this.#lossy(sql.split("; ").at(-1)!, () => this.connection.run(sql, timeoutMs));
  }

  runBehind(
    first: KeptStatement,
    values: readonly string[],
    sql: string,
    timeoutMs: number,
  ): Promise<ControlReply> {
    this.said.push(`${first.text}; ${sql}`);
    return this.#lossy(sql, () => this.connection.runBehind(first, values, sql, timeoutMs));
  }

  async #lossy(last: string, run: () => Promise<ControlReply>): Promise<ControlReply> {
    const loss = [...this.losses].find(([beginning]) => last.startsWith(beginning));
    if (loss === undefined) return run();
    this.losses.delete(loss[0]);
    if (loss[1] === "after") await run();
    this.connection.close();
    return { kind: "lost", reason: "lost by the test" };
  }
}

export class CommitStage {
  readonly shards: readonly TestShard[];
  readonly directory: string;
  readonly #branches: Branch[] = [];
  config: TransactionConfig;
  faultPoint: FaultPointListener = () => {};
  /** Where the resolver logs, from the next start on. */
  logTo: Log = silentLog;
  log!: FileLog;
  protocol!: CommitProtocol;
  resolver!: Resolver;
  slots!: PreparedSlots;
  controls: readonly ShardControl[] = [];

  private constructor(shards: readonly TestShard[], directory: string) {
    this.shards = shards;
    this.directory = directory;
    this.config = { ...CONFIG, logDirectory: directory };
  }

  static async open({ shards }: TestShards, config: Partial<TransactionConfig> = {}): Promise<CommitStage> {
    const stage = new CommitStage(shards, await mkdtemp(join(tmpdir(), "pgxa-commit-")));
    stage.config = { ...stage.config, ...config };
    for (let shard = 0; shard < shards.length; shard += 1) {
      await stage.query(
        shard,
        "DROP TABLE IF EXISTS t; CREATE TABLE t (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)",
      );
    }
    await stage.#start();
    return stage;
  }

  async #start(): Promise<void> {
    const faultPoint: FaultPointListener = (point, index) => this.faultPoint(point, index);
    this.log = await FileLog.open({ directory: this.directory, log: silentLog, wallMs: 1, faultPoint });
    this.controls = this.shards.map((shard) => new ShardControl(shardConfig(shard)));
    const { clock } = systemEnvironment;
    this.slots = new PreparedSlots({ clock, onShort: (shard) => this.resolver.wake(shard) });
    const parts = {
      fleet: "f",
      coordinator: "c",
      controls: this.controls,
      decisions: this.log,
      slots: this.slots,
      log: silentLog,
    };
    this.protocol = new CommitProtocol({ ...parts, config: this.config, faultPoint, clock });
    this.resolver = new Resolver({
      ...parts,
      log: this.logTo,
      isRunning: (gtrid) => this.protocol.isRunning(gtrid),
      environment: systemEnvironment,
      intervalMs: this.config.resolveIntervalMs,
    });
    this.protocol.resolver = this.resolver;
    await this.resolver.start();
  }

  async #stop(): Promise<void> {
    for (const { connection } of this.#branches.splice(0)) connection.close();
    this.resolver.stop();
    await Promise.all(this.controls.map((control) => control.close()));
    await this.log.close();
  }

  async restart(): Promise<void> {
    await this.#stop();
    await this.#start();
  }

  async close(): Promise<void> {
    await this.#stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** An open transaction on a shard, in which `sql` was run. */
  async branch(shard: number, sql: string, begin = "BEGIN"): Promise<Branch> {
    const connection = await ServerConnection.open({
      shard: shardConfig(this.shards[shard]!),
      environment: systemEnvironment,
      connectTimeoutMs: 5_000,
      identify: true,
      onClosed() {},
    });
    const branch = new Branch(connection);
    this.#branches.push(branch);
    await connection.run(begin, 5_000);
    await connection.run(sql, 5_000);
    return branch;
  }

  /** Branches on shards 0 and 1 that inserted `value`. */
  async writers(value: number): Promise<readonly [Branch, Branch]> {
    const sql = `INSERT INTO t VALUES (${value})`;
    return [await this.branch(0, sql), await this.branch(1, sql)];
  }

  commit(...branches: readonly Branch[]): Promise<CommitOutcome> {
    return this.protocol.commit(branches.map((connection) => ({ connection, sawOnlyReads: false })));
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

  async prepared(): Promise<number> {
    const lists = await Promise.all(
      this.shards.map((_, i) => this.query(i, "SELECT gid FROM pg_prepared_xacts")),
    );
    return lists.flat().length;
  }

  /** Waits until nothing is prepared and every commit is concluded. */
  async rest(): Promise<void> {
    const untilMs = performance.now() + REST_MS_MAX;
    while ((await this.prepared()) > 0 || this.log.unconcluded().length > 0) {
      if (performance.now() > untilMs)
        throw new Error(`not at rest: ${JSON.stringify(this.resolver.inDoubt)}`);
      await delay(10);
    }
  }
}
