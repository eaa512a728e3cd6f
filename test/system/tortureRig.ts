/**
 * What the torture tests stand on: pgxa in a process of its own, and the question whether it is as it was before.
 *
 * That nothing is held is asked from outside: the shard shows no transaction, no lock and no more connections than the
 * pool may have, and as many clients as there are server connections can be in a transaction at once.
 */
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import type { Memory, Message } from "./measuredProxy.ts";
import { query, RawClient } from "./rawClient.ts";
import { Stage } from "./stage.ts";

const PROXY = join(import.meta.dirname, "measuredProxy.ts");
const IDLE_WITHIN_MS = 20_000;
const POLL_MS = 20;
export const MB = 1024 * 1024;
/** What may be kept once all clients are gone: buffers of connections, caches of statements, compiled code. */
const KEPT_BYTES_MAX = 32 * MB;

/** Backends that serve clients of pgxa, beside sessions of its own ("pgxa notifications" and the like). */
const POOLED = `backend_type = 'client backend' AND application_name !~ '^pgxa .' AND pid <> ALL($1::int[])`;

const LOOK = `
  SELECT (SELECT count(*)::int FROM pg_stat_activity WHERE ${POOLED}) AS connections,
    (SELECT array_agg(state || ': ' || left(query, 60)) FROM pg_stat_activity
      WHERE ${POOLED} AND state <> 'idle') AS busy,
    (SELECT array_agg(locktype || ' ' || mode) FROM pg_locks
      WHERE pid IN (SELECT pid FROM pg_stat_activity WHERE ${POOLED})) AS locks,
    (SELECT array_agg(gid) FROM pg_prepared_xacts) AS prepared`;

interface Looked {
  readonly connections: number;
  readonly busy: readonly string[] | null;
  readonly locks: readonly string[] | null;
  readonly prepared: readonly string[] | null;
}

export interface RigOptions {
  readonly shards?: number;
  readonly poolMax: number;
  readonly config?: Readonly<Record<string, unknown>>;
  /** Whether clients need a password: then the rig itself does not log in. */
  readonly isLocked?: boolean;
}

export class Rig {
  readonly stage: Stage;
  readonly #isLocked: boolean;
  readonly poolMax: number;
  readonly #controls: readonly pg.Client[];
  /** The backends on each shard that are not pgxa's. */
  readonly #ownPids: readonly number[];
  #proxy: ChildProcess | null = null;
  #said = "";
  #port = 0;
  #memoryAtStart: Memory = { rss: 0, used: 0 };

  private constructor(
    stage: Stage,
    { poolMax, isLocked }: RigOptions,
    controls: readonly pg.Client[],
    ownPids: readonly number[],
  ) {
    this.stage = stage;
    this.#isLocked = isLocked ?? false;
    this.poolMax = poolMax;
    this.#controls = controls;
    this.#ownPids = ownPids;
  }

  static async open(options: RigOptions): Promise<Rig> {
    const { shards = 1, poolMax, config } = options;
    const stage = await Stage.open({
      shards,
      isOpen: false,
      config: { ...config, pool: { max: poolMax, ...(config?.pool as object) } },
    });
    const controls = await Promise.all(stage.shards.map((shard) => shard.connect()));
    const pids = controls.map((control) => (control as unknown as { processID: number }).processID);
    const rig = new Rig(stage, options, controls, pids);
    try {
      await rig.#openProxy();
    } catch (error) {
      await rig.stop();
      throw error;
    }
    return rig;
  }

  get port(): number {
    return this.#port;
  }

  /** A client of the first shard itself, which is not counted among those of pgxa. */
  direct(): Promise<RawClient> {
    return RawClient.login(this.stage.shards[0]!.port, { application_name: "pgxa not" });
  }

  /** A session on the first shard that is not pgxa's. */
  get control(): pg.Client {
    return this.#controls[0]!;
  }

  async memory(): Promise<Memory> {
    this.#assertUp();
    this.#proxy!.send({});
    return (await this.#next("memory")).memory;
  }

  login(parameters: Readonly<Record<string, string>> = {}): Promise<RawClient> {
    return RawClient.login(this.port, parameters);
  }

  /** Waits until a pooled backend of the first shard runs, or last ran, something like `part`. */
  async untilSeen(part: string, where = "state = 'active'"): Promise<void> {
    const sql = `SELECT FROM pg_stat_activity WHERE ${POOLED} AND position($2 IN query) > 0 AND ${where}`;
    await this.#until(`"${part}" with ${where}`, async () => {
      const { rowCount } = await this.control.query(sql, [this.#ownPids, part]);
      return (rowCount ?? 0) > 0;
    });
  }

  /** Nothing is held, on no shard, and every server connection can be had. */
  async assertIdle(): Promise<void> {
    this.#assertUp();
    let looked: readonly Looked[] = [];
    const isIdle = async (): Promise<boolean> => {
      looked = await this.#look();
      return looked.every(
        ({ connections, busy, locks, prepared }) =>
          connections <= this.poolMax && busy === null && locks === null && prepared === null,
      );
    };
    await this.#until("idle shards", isIdle, () => JSON.stringify(looked));
    await this.#assertAllCanBeHad();
  }

  /** Waits until memory is near what it was at the start; resolves with what it was and is. */
  async assertMemoryIsBack(): Promise<string> {
    let now = this.#memoryAtStart;
    const grownMb = (): number => Math.round((now.used - this.#memoryAtStart.used) / MB);
    const isBack = async (): Promise<boolean> => {
      now = await this.memory();
      return now.used - this.#memoryAtStart.used < KEPT_BYTES_MAX;
    };
    await this.#until("memory as at the start", isBack, () => `${grownMb()} MB more are in use.`);
    const [rssThen, rss] = [this.#memoryAtStart.rss, now.rss].map((bytes) => Math.round(bytes / MB));
    return `rss ${rssThen} MB, now ${rss} MB; in use ${grownMb()} MB more`;
  }

  async stop(): Promise<void> {
    const proxy = this.#proxy;
    if (proxy !== null && proxy.exitCode === null && proxy.signalCode === null) {
      const exited = once(proxy, "exit");
      proxy.disconnect();
      await exited;
    }
    await Promise.all(this.#controls.map((control) => control.end()));
    await this.stage.stop();
  }

  // --- inside ---

  async #openProxy(): Promise<void> {
    const file = join(this.stage.home, "pgxa.yaml");
    writeFileSync(file, this.stage.configText);
    this.#proxy = fork(PROXY, [file], { stdio: ["ignore", "inherit", "pipe", "ipc"] });
    this.#proxy.stderr!.setEncoding("utf8").on("data", (text: string) => (this.#said += text));
    this.#port = (await this.#next("listening")).port;
    await this.#assertAllCanBeHad();
    this.#memoryAtStart = await this.memory();
  }

  #next<Name extends Message["kind"]>(kind: Name): Promise<Extract<Message, { kind: Name }>> {
    const proxy = this.#proxy!;
    return new Promise((resolve, reject) => {
      const gone = () => reject(new Error(`pgxa ended: ${this.#said}`));
      proxy.once("exit", gone);
      const take = (message: Message) => {
        if (message.kind !== kind) return;
        proxy.removeListener("message", take);
        proxy.removeListener("exit", gone);
        resolve(message as Extract<Message, { kind: Name }>);
      };
      proxy.on("message", take);
    });
  }

  #assertUp(): void {
    const { exitCode, signalCode } = this.#proxy!;
    assert.ok(exitCode === null && signalCode === null, `pgxa ended: ${this.#said}`);
  }

  #look(): Promise<readonly Looked[]> {
    return Promise.all(
      this.#controls.map(async (control) => {
        const { rows } = await control.query<Looked>(LOOK, [this.#ownPids]);
        return rows[0]!;
      }),
    );
  }

  async #until(what: string, isSo: () => Promise<boolean>, details = () => ""): Promise<void> {
    for (let waitedMs = 0; waitedMs < IDLE_WITHIN_MS; waitedMs += POLL_MS) {
      if (await isSo()) return;
      this.#assertUp();
      await delay(POLL_MS);
    }
    assert.fail(`${what}: not within ${IDLE_WITHIN_MS} ms. ${details()}`);
  }

  async #assertAllCanBeHad(): Promise<void> {
    if (this.#isLocked) return;
    const clients = await Promise.all(Array.from({ length: this.poolMax }, () => this.login()));
    try {
      for (const accounts of this.stage.accounts) {
        const find = `SELECT id FROM accounts WHERE id = ${accounts[0]}`;
        const holding = clients.map(async (client) => {
          client.send(query("BEGIN"), query(find));
          await client.until("Z");
          return (await client.until("Z")).at(-1)!.body.toString();
        });
        for (const status of await Promise.all(holding)) assert.equal(status, "T", "a connection can be had");
        for (const client of clients) client.send(query("COMMIT"));
        await Promise.all(clients.map((client) => client.until("Z")));
      }
    } finally {
      for (const client of clients) client.close();
    }
  }
}
