/**
 * A crash at every moment of the commit path, on real shards: pgxa dies, a shard dies, or both.
 *
 * Each time one transfer between two shards is committed. Whatever died is started again; then, within two seconds,
 * nothing may be left prepared, both shards must hold the transfer or neither, and what the client was told must be
 * true. Where pgxa alone dies the moment also says which outcome it has to be: before the decision is written it is
 * abort, after it is durable it is commit.
 */
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { FAULT_POINTS, type FaultPoint } from "../../src/base/faultPoint.ts";
import { areGone } from "../../src/cli/osProcess.ts";
import type { Message, Order } from "./crashingProxy.ts";
import { DATABASE, OPENING_BALANCE, Stage } from "./stage.ts";
import "../support/compileCache.ts";

const PROXY = join(import.meta.dirname, "crashingProxy.ts");
const RECOVERED_WITHIN_MS = 2_000;
const STRUCK_WITHIN_MS = 10_000;
const AMOUNT = 7;
const TAKES_ALL = process.env["PGXA_EVERY_MOMENT"] !== undefined;

/** Points that each participant passes that is prepared. */
const PER_PARTICIPANT: readonly FaultPoint[] = [
  "prepare.before-send",
  "prepare.after-send",
  "vote.received",
  "commit-prepared.before-send",
  "commit-prepared.after-send",
  "commit-prepared.acknowledged",
];
interface Moment {
  readonly point: FaultPoint;
  readonly index: number;
}

/** A kind of decision log, by the moments of a commit with it. */
interface Kind {
  readonly name: string;
  readonly moments: readonly Moment[];
  /** From here on the decision is on a disk. */
  readonly firstDecided: FaultPoint;
  /** Where a process's death may lose what it was about to write, and need not. */
  readonly undecided: FaultPoint;
  readonly transaction: object;
}

const momentsOf = (prepared: readonly number[], without: string): readonly Moment[] =>
  FAULT_POINTS.filter((point) => !point.startsWith(without)).flatMap((point) =>
    (PER_PARTICIPANT.includes(point) ? prepared : [0]).map((index) => ({ point, index })),
  );

const KINDS: readonly Kind[] = [
  {
    name: "in files",
    moments: momentsOf([0, 1], "anchor."),
    firstDecided: "decision.after-sync",
    undecided: "decision.before-sync",
    transaction: {},
  },
  {
    // The second shard is the anchor: it is the one that is written to last.
    name: "on shards",
    moments: momentsOf([0], "decision."),
    firstDecided: "anchor.acknowledged",
    undecided: "anchor.after-send",
    transaction: { log: "shard", log_directory: undefined },
  },
];

type Told = "committed" | "aborted" | "unknown";

class CrashStage {
  readonly #stage: Stage;
  readonly #kind: Kind;
  readonly #configFile: string;
  #proxy: ChildProcess | null = null;
  /** What it wrote to standard error. */
  #said = "";
  #port = 0;
  #transfers = 0;

  constructor(stage: Stage, kind: Kind) {
    this.#stage = stage;
    this.#kind = kind;
    this.#configFile = join(stage.home, "pgxa.yaml");
    writeFileSync(this.#configFile, stage.configText);
  }

  async openProxy(): Promise<void> {
    this.#proxy = fork(PROXY, [this.#configFile], { stdio: ["ignore", "inherit", "pipe", "ipc"] });
    this.#said = "";
    this.#proxy.stderr!.setEncoding("utf8").on("data", (text: string) => (this.#said += text));
    const message = await this.#next("listening");
    this.#port = message.port;
  }

  async closeProxy(): Promise<void> {
    const proxy = this.#proxy;
    if (proxy === null || this.#isGone) return;
    const exited = once(proxy, "exit");
    proxy.disconnect();
    await exited;
  }

  /** Strikes; a pgxa that ended unasked is told of, and replaced for whoever comes next. */
  async strikeAndTell(moment: Moment, victims: Victims): Promise<void> {
    try {
      await this.#strike(moment, victims);
      assert.ok(!this.#isGone, "pgxa is up");
    } catch (error) {
      if (!this.#isGone) throw error;
      const { exitCode, signalCode } = this.#proxy!;
      const end = `pgxa ended with ${exitCode ?? signalCode}: ${this.#said}`;
      await this.openProxy();
      throw new Error(end, { cause: error });
    }
  }

  /** Commits a transfer while `victims` die at the moment; then checks everything. */
  async #strike(moment: Moment, victims: Victims): Promise<void> {
    const id = ++this.#transfers;
    const shard = victims.shard === null ? null : this.#stage.shards[victims.shard]!;
    const client = await this.#connect();
    await this.#begin(client, id);
    await this.#arm({ ...moment, postmaster: shard?.serverPid ?? null, diesItself: victims.isPgxa });
    const struck = this.#struck(victims.isPgxa);
    const committing = this.#commit(client);
    await struck;
    if (shard !== null) await shard.restart();
    if (victims.isPgxa) await this.openProxy();
    const up = performance.now();
    const isThere = await this.#settled(id, up);
    const told = await committing;
    await client.end().catch(() => {});
    if (told !== "unknown") assert.equal(isThere ? "committed" : "aborted", told, "what the client was told");
    if (victims.isPgxa && shard === null) this.#checkOutcome(moment.point, isThere);
    await this.#untilReached();
    await this.#checkThatWorkGoesOn();
  }

  get #isGone(): boolean {
    return this.#proxy === null || this.#proxy.exitCode !== null || this.#proxy.signalCode !== null;
  }

  #checkOutcome(point: FaultPoint, isThere: boolean): void {
    const { undecided, firstDecided } = this.#kind;
    if (point === undecided) return;
    const isDecided = FAULT_POINTS.indexOf(point) >= FAULT_POINTS.indexOf(firstDecided);
    assert.equal(isThere, isDecided, "the decision stands");
  }

  /** Waits until nothing is prepared, at most as long as recovery may take; then compares the shards. */
  async #settled(id: number, up: number): Promise<boolean> {
    for (;;) {
      const prepared = (await this.#stage.onShards("SELECT gid FROM pg_prepared_xacts")).flat();
      if (prepared.length === 0) break;
      const elapsed = performance.now() - up;
      assert.ok(elapsed < RECOVERED_WITHIN_MS, `still prepared after 2 s: ${JSON.stringify(prepared)}`);
      await delay(10);
    }
    const [one, other] = await this.#stage.onShards("SELECT FROM transfers WHERE id = $1", [id]);
    assert.equal(one!.length, other!.length, "both shards agree");
    const balances = await this.#stage.onShards<{ sum: string }>("SELECT sum(balance) FROM accounts");
    const total = balances.flat().reduce((sum, row) => sum + Number(row.sum), 0);
    const accounts = this.#stage.accounts.flat().length;
    assert.equal(total, accounts * OPENING_BALANCE, "no money is lost or made");
    return one!.length === 1;
  }

  /** A shard that was down is tried again after a pause; until then clients are told so at once. */
  async #untilReached(): Promise<void> {
    const client = await this.#connect();
    for (const [account] of this.#stage.accounts) {
      for (let isReached = false; !isReached; ) {
        isReached = await client.query("SELECT FROM accounts WHERE id = $1", [account]).then(
          () => true,
          (error: { code?: string }) => {
            assert.ok(
              error.code === "57P03" || error.code?.startsWith("08"),
              `while it is down: ${error.code}`,
            );
            return delay(10).then(() => false);
          },
        );
      }
    }
    await client.end();
  }

  async #checkThatWorkGoesOn(): Promise<void> {
    const client = await this.#connect();
    await this.#begin(client, ++this.#transfers);
    assert.equal(await this.#commit(client), "committed", "a transfer after recovery");
    await client.end();
  }

  async #begin(client: pg.Client, id: number): Promise<void> {
    const [from, to] = this.#stage.accounts.map((ids) => ids[id % ids.length]!);
    await client.query("BEGIN");
    for (const [account, change] of [
      [from, -AMOUNT],
      [to, AMOUNT],
    ]) {
      await client.query("UPDATE accounts SET balance = balance + $2 WHERE id = $1", [account, change]);
      await client.query("INSERT INTO transfers (account_id, id, amount) VALUES ($1, $2, $3)", [
        account,
        id,
        change,
      ]);
    }
  }

  async #commit(client: pg.Client): Promise<Told> {
    try {
      const { command } = await client.query("COMMIT");
      return command === "COMMIT" ? "committed" : "aborted";
    } catch (error) {
      const code = (error as { code?: string }).code;
      const isSqlstate = code !== undefined && /^[0-9A-Z]{5}$/.test(code);
      return isSqlstate && code !== "08007" ? "aborted" : "unknown";
    }
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client({
      host: "127.0.0.1",
      port: this.#port,
      database: DATABASE,
      user: "postgres",
    });
    client.on("error", () => {});
    await client.connect();
    return client;
  }

  async #arm(order: Order): Promise<void> {
    const armed = this.#next("armed");
    this.#proxy!.send(order);
    await armed;
  }

  /** Resolves when the order was carried out and those who were killed are gone. */
  async #struck(isPgxa: boolean): Promise<void> {
    if (isPgxa) {
      await once(this.#proxy!, "exit");
      return;
    }
    const { killed } = await this.#next("struck");
    assert.ok(await areGone(killed, STRUCK_WITHIN_MS));
  }

  async #next<K extends Message["kind"]>(kind: K): Promise<Extract<Message, { kind: K }>> {
    const over = new AbortController();
    const waiting = { signal: over.signal };
    try {
      const [message] = await Promise.race([
        once(this.#proxy!, "message", waiting),
        once(this.#proxy!, "exit", waiting).then(() => assert.fail(`pgxa ended before it was ${kind}`)),
      ]);
      assert.equal((message as Message).kind, kind);
      return message as Extract<Message, { kind: K }>;
    } finally {
      over.abort();
    }
  }
}

interface Victims {
  readonly isPgxa: boolean;
  /** The index of a shard, or null. */
  readonly shard: number | null;
}

const VICTIMS: readonly (Victims & { readonly name: string })[] = [
  { name: "pgxa is killed", isPgxa: true, shard: null },
  { name: "the first shard is killed", isPgxa: false, shard: 0 },
  { name: "the second shard is killed", isPgxa: false, shard: 1 },
  { name: "pgxa and the second shard are killed", isPgxa: true, shard: 1 },
  { name: "pgxa and the first shard are killed", isPgxa: true, shard: 0 },
];

/** Around the decision. */
const DECISIVE = /^(?:votes|decision|anchor)|^commit-prepared\.(?:before|after)-send/;

/** pgxa and a shard both: the usual run takes the moments around the decision, and with PGXA_EVERY_MOMENT set all of them. */
const isUsual = ({ isPgxa, shard }: Victims, point: FaultPoint): boolean =>
  !isPgxa || shard === null || TAKES_ALL || DECISIVE.test(point);

for (const kind of KINDS) {
  describe(`a transfer that is decided ${kind.name} is atomic`, () => {
    let stage: Stage;
    let crash: CrashStage;

    before(async () => {
      const config = { transaction: kind.transaction };
      stage = await Stage.open({ accounts: 20, isOpen: false, config });
      crash = new CrashStage(stage, kind);
      await crash.openProxy();
    });
    after(async () => {
      await crash?.closeProxy();
      await stage?.stop();
    });

    for (const victims of VICTIMS) {
      for (const moment of kind.moments.filter(({ point }) => isUsual(victims, point))) {
        const when = `when ${victims.name} at ${moment.point}, participant ${moment.index}`;
        test(when, { timeout: 60_000 }, () => crash.strikeAndTell(moment, victims));
      }
    }
  });
}
