/** A shard of two servers, a primary and its standby, with pgxa in front: what a failover is tried on. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { stringify } from "yaml";
import { type RunningProxy, startProxy } from "../../src/cli/compose.ts";
import { parseConfig } from "../../src/config/load.ts";
import type { Log, LogEvent } from "../../src/observe/log.ts";
import { startShards, type TestShard } from "./shards.ts";

const DATABASE = "bank";

export interface Said {
  readonly event: LogEvent;
  readonly fields: Readonly<Record<string, unknown>>;
}

export class Pair {
  readonly first: TestShard;
  readonly second: TestShard;
  /** What pgxa has logged. */
  readonly said: Said[];
  readonly #proxy: RunningProxy;
  readonly #stop: () => Promise<void>;

  private constructor(
    servers: readonly [TestShard, TestShard],
    said: Said[],
    proxy: RunningProxy,
    stop: () => Promise<void>,
  ) {
    [this.first, this.second] = servers;
    this.said = said;
    this.#proxy = proxy;
    this.#stop = stop;
  }

  /** `sections`: of pgxa's configuration, added to the default ones; `sql` is run before the standby is made. */
  static async open(sql: string, sections: Readonly<Record<string, unknown>> = {}): Promise<Pair> {
    const { shards, stop } = await startShards(1, { databases: [DATABASE] });
    const home = mkdtempSync(join(tmpdir(), "pgxa-pair-"));
    const first = shards[0]!;
    const setUp = await first.connect();
    await setUp.query(sql);
    await setUp.end();
    const second = await first.makeStandby();
    const said: Said[] = [];
    const note = (event: LogEvent, fields: object = {}): void =>
      void said.push({ event, fields: { ...fields } });
    const log: Log = { debug: note, info: note, warn: note, error: note, setLevel() {} };
    const hosts = [second, first].map(({ host, port }) => `${host}:${port}`).join(", ");
    const text = stringify({
      listen: { port: 0 },
      database: DATABASE,
      shards: [{ name: "east", hosts, database: DATABASE, user: first.user }],
      auth: { method: "trust" },
      ...sections,
    });
    const proxy = await startProxy(parseConfig(text, "pgxa.yaml", {}), { log });
    return new Pair([first, second], said, proxy, async () => {
      await proxy.stop();
      await second.stop();
      await stop();
      rmSync(home, { recursive: true, force: true });
    });
  }

  /** Where pgxa is. */
  get address(): { readonly host: string; readonly port: number } {
    return this.#proxy;
  }

  /** A client of pgxa. */
  async connect(database = DATABASE): Promise<pg.Client> {
    const { host, port } = this.#proxy;
    const client = new pg.Client({ host, port, database, user: "app" });
    client.on("error", () => {});
    await client.connect();
    return client;
  }

  /** Resolves when the standby has taken over; there are two primaries if the first was not stopped. */
  async promote(): Promise<void> {
    const client = await this.second.connect();
    await client.query("SELECT pg_promote(true, 60)");
    await client.end();
  }

  /** Resolves when the standby has all that the first has. */
  async untilReplayed(): Promise<void> {
    const [first, second] = await Promise.all([this.first.connect(), this.second.connect()]);
    const { rows } = await first.query<{ lsn: string }>("SELECT pg_current_wal_lsn()::text AS lsn");
    for (let isThere = false; !isThere; ) {
      const sql = "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn AS is_there";
      isThere = (await second.query<{ is_there: boolean }>(sql, [rows[0]!.lsn])).rows[0]!.is_there;
    }
    await Promise.all([first.end(), second.end()]);
  }

  async stop(): Promise<void> {
    await this.#stop();
  }
}
