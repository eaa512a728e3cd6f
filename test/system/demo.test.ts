/**
 * The demo as its user meets it: a command that starts, can be killed, recovers, and stops when told to.
 *
 * It runs as a process of its own, without a terminal, on two shards in a directory that is gone afterwards.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import pg from "pg";
import { isAlive } from "../../src/cli/osProcess.ts";
import { freePort } from "../../src/cli/postmaster.ts";
import { lastEpoch } from "../support/logEpoch.ts";
import "../support/compileCache.ts";

const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");
const WAIT = { timeout: 120_000 };
const READY = "Ctrl-C stops everything";

class DemoProcess {
  readonly child: ChildProcess;
  said = "";
  readonly #exited: Promise<unknown[]>;

  constructor(args: readonly string[]) {
    this.child = spawn(process.execPath, [MAIN, "demo", ...args], { stdio: ["ignore", "pipe", "pipe"] });
    this.#exited = once(this.child, "close");
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.said += text;
        this.child.emit("said");
      });
    }
  }

  async untilReady(): Promise<this> {
    const ended = this.#exited.then(() => assert.fail(`the demo ended:\n${this.said}`));
    while (!this.said.includes(READY)) await Promise.race([once(this.child, "said"), ended]);
    ended.catch(() => {});
    return this;
  }

  async exitCode(): Promise<number | null> {
    const [code] = await this.#exited;
    return code as number | null;
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    this.child.kill(signal);
    return this.exitCode();
  }
}

describe("the demo", () => {
  let directory: string;
  let port: number;
  let demo: DemoProcess;
  const options = () => ["--data", directory, "--port", String(port)];
  const start = (...more: string[]) => new DemoProcess([...options(), ...more]);

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "pgxa-demo-"));
    chmodSync(directory, 0o755);
    port = await freePort();
    demo = await start("--shards", "2").untilReady();
  }, WAIT);
  after(async () => {
    if (demo.child.exitCode === null && demo.child.signalCode === null) await demo.end("SIGINT");
    rmSync(directory, { recursive: true, force: true });
  });

  const withBank = async <T>(use: (client: pg.Client) => Promise<T>, at = port): Promise<T> => {
    const client = new pg.Client({ host: "127.0.0.1", port: at, database: "bank", user: "postgres" });
    await client.connect();
    try {
      return await use(client);
    } finally {
      await client.end();
    }
  };

  const shardPorts = (): number[] => JSON.parse(readFileSync(join(directory, "demo.json"), "utf8")).ports;

  const postmasters = (): number[] =>
    ["east", "north"].map((id) =>
      Number(readFileSync(join(directory, "shards", id, "postmaster.pid"), "utf8").split("\n")[0]),
    );

  const accountsOnShards = (): Promise<number[]> =>
    Promise.all(
      shardPorts().map((at) =>
        withBank(
          async (client) => Number((await client.query("SELECT count(*) FROM accounts")).rows[0].count),
          at,
        ),
      ),
    );

  test("has loaded ten thousand accounts, some on each shard", WAIT, async () => {
    const counts = await accountsOnShards();
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      10_000,
    );
    for (const count of counts) assert.ok(count > 4_000);
  });

  test("prints a transfer that works when it is pasted", WAIT, async () => {
    const sql = demo.said.slice(demo.said.indexOf("BEGIN;"), demo.said.indexOf("COMMIT;") + "COMMIT;".length);
    await withBank(async (client) => {
      for (const statement of sql.split("\n")) await client.query(statement);
    });
    const changed = await Promise.all(
      shardPorts().map((at) =>
        withBank(
          async (client) => (await client.query("SELECT FROM accounts WHERE balance <> 1000")).rowCount,
          at,
        ),
      ),
    );
    assert.deepEqual(changed, [1, 1]);
  });

  test("refuses to run twice on one directory", WAIT, async () => {
    const second = new DemoProcess(["--data", directory, "--port", String(await freePort())]);
    assert.equal(await second.exitCode(), 1);
    assert.match(second.said, new RegExp(`runs here already \\(pid ${demo.child.pid}`));
  });

  test("names a taken port and offers another", WAIT, async () => {
    const second = start();
    assert.equal(await second.exitCode(), 1);
    assert.match(second.said, new RegExp(`port ${port} is taken.*--port \\d+`, "s"));
  });

  test("killed and started again, it settles what was left prepared and keeps the data", WAIT, async () => {
    const [east] = shardPorts();
    const killed = postmasters();
    await demo.end("SIGKILL");
    const epoch = (await lastEpoch(join(directory, "decisions"))).toString(36);
    assert.ok(killed.every(isAlive), "the shards outlive pgxa");
    await withBank(async (client) => {
      await client.query("BEGIN");
      await client.query("UPDATE accounts SET balance = 0 WHERE id = (SELECT min(id) FROM accounts)");
      await client.query(`PREPARE TRANSACTION 'pgxa:demo:demo:${epoch}:zz::east'`);
    }, east);
    demo = await start().untilReady();
    assert.match(
      demo.said,
      /left prepared by the last run: 1 on east, 0 on north\n.*0 committed, 1 rolled back/,
    );
    assert.equal(
      (await accountsOnShards()).reduce((sum, count) => sum + count),
      10_000,
    );
  });

  test(
    "says so if the directory was made with another number of shards, and --fresh makes it anew",
    WAIT,
    async () => {
      assert.equal(await demo.end("SIGTERM"), 0);
      const other = start("--shards", "1");
      assert.equal(await other.exitCode(), 1);
      assert.match(other.said, /made with 2 shards, not 1.*--fresh/s);
      demo = await start("--shards", "1", "--fresh").untilReady();
      assert.deepEqual(await accountsOnShards(), [10_000]);
      assert.equal(await demo.end("SIGINT"), 0);
      demo = await start("--shards", "2", "--fresh").untilReady();
    },
  );

  test("stops everything it started on one SIGINT, and on several", WAIT, async () => {
    const pids = postmasters();
    assert.ok(pids.every(isAlive));
    demo.child.kill("SIGINT");
    demo.child.kill("SIGINT");
    assert.equal(await demo.end("SIGINT"), 0);
    assert.deepEqual(pids.filter(isAlive), []);
  });

  test("stops what it started if it is told to while it starts", WAIT, async () => {
    demo = start();
    while (!demo.said.includes("starting 2 shards")) await once(demo.child, "said");
    assert.equal(await demo.end("SIGINT"), 0);
    assert.throws(postmasters, /ENOENT/);
  });
});

test("a directory with somebody's files is left alone", WAIT, async () => {
  const directory = mkdtempSync(join(tmpdir(), "pgxa-demo-"));
  chmodSync(directory, 0o755);
  writeFileSync(join(directory, "letter.txt"), "dear");
  const demo = new DemoProcess(["--data", directory, "--fresh", "--port", String(await freePort())]);
  assert.equal(await demo.exitCode(), 1);
  assert.match(demo.said, /holds files that are not a demo's/);
  assert.equal(readFileSync(join(directory, "letter.txt"), "utf8"), "dear");
  rmSync(directory, { recursive: true });
});

test("a mistake on the command line is exit code 2 and says what is right", WAIT, async () => {
  for (const args of [["--shards", "17"], ["--port", "x"], ["--nonsense"]]) {
    const demo = new DemoProcess(args);
    assert.equal(await demo.exitCode(), 2);
    assert.match(demo.said, new RegExp(args[0]!));
  }
});
