/** `pgxa up`: it starts, says where it listens, and stops when it is told to. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import pg from "pg";
import { startShards, type TestShards } from "../support/shards.ts";
import { Command, run } from "./command.ts";

const LISTENING = /^pgxa is listening on 127\.0\.0\.1:(\d+), database bank, (\d+ shards?)\n/;

describe("pgxa up", { timeout: 150_000 }, () => {
  let stage: TestShards;
  let directory = "";

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "pgxa-up-"));
    stage = await startShards(2, { databases: ["bank"] });
  });
  after(async () => {
    await stage.stop();
    rmSync(directory, { recursive: true });
  });

  /** A file for the first `count` shards. */
  function fileFor(count: number, port = 0): string {
    const file = join(directory, `${count}-${port}.yaml`);
    const shards = stage.shards.slice(0, count).map(({ id, host, port: shardPort }) => ({
      name: id,
      host,
      port: shardPort,
      user: "postgres",
    }));
    writeFileSync(
      file,
      JSON.stringify({
        listen: { port },
        database: "bank",
        shards,
        auth: { trust_loopback: true },
        transaction: { log_directory: `decisions-${count}-${port}` },
        log: { level: "silent" },
      }),
    );
    return file;
  }

  async function select(port: number): Promise<unknown> {
    const client = new pg.Client({ host: "127.0.0.1", port, user: "postgres", database: "bank" });
    await client.connect();
    try {
      return (await client.query("/* pgxa: shard=east */ SELECT 42 AS answer")).rows[0].answer;
    } finally {
      await client.end();
    }
  }

  for (const [count, shown] of [
    [1, "1 shard"],
    [2, "2 shards"],
  ] as const) {
    it(`serves ${shown} until SIGTERM, and ends with 0`, async () => {
      const command = new Command(["up", "--config", fileFor(count)]);
      try {
        const [, port, shards] = await command.printed(LISTENING);
        assert.equal(shards, shown);
        assert.equal(await select(Number(port)), 42);
        command.process.kill("SIGTERM");
        assert.equal(await command.end(), 0);
        assert.equal(command.stderr, "");
        assert.match(command.stdout, new RegExp(`${LISTENING.source}$`));
      } finally {
        command.process.kill("SIGKILL");
      }
    });
  }

  it("keeps its decision log beside its file, wherever it is started", async () => {
    assert.ok(existsSync(join(directory, "decisions-2-0")));
    assert.ok(!existsSync("decisions-2-0"));
  });

  it("stops in order although Ctrl-C reaches it twice, as it does under npm", async () => {
    const command = new Command(["demo", "--config", fileFor(2)]);
    try {
      await command.printed(LISTENING);
      command.process.kill("SIGINT");
      command.process.kill("SIGINT");
      assert.equal(await command.end(), 0);
    } finally {
      command.process.kill("SIGKILL");
    }
  });

  describe("with a port that is taken", () => {
    let other: Server;
    before(async () => {
      other = createServer().listen(0, "127.0.0.1");
      await once(other, "listening");
    });
    after(() => other.close());

    for (const count of [1, 2]) {
      it(`names it and ends with 1, with ${count} of shards`, async () => {
        const { port } = other.address() as AddressInfo;
        const { code, stdout, stderr } = await run(["up", "--config", fileFor(count, port)]);
        assert.equal(
          stderr,
          `port ${port} on 127.0.0.1 is taken by another process.\nStop it, or set listen.port to another port.\n`,
        );
        assert.deepEqual([code, stdout], [1, ""]);
      });
    }
  });

  it("says that a decision log belongs to another process", async () => {
    const command = new Command(["up", "--config", fileFor(2)]);
    try {
      await command.printed(LISTENING);
      const { code, stderr } = await run(["up", "--config", fileFor(2)]);
      assert.match(stderr, /decision log/);
      assert.doesNotMatch(stderr, /^ +at /m);
      assert.equal(code, 1);
      command.process.kill("SIGINT");
      assert.equal(await command.end(), 0);
    } finally {
      command.process.kill("SIGKILL");
    }
  });

  describe("with two workers says what it says without", () => {
    async function checkSame(change: object, expected: RegExp): Promise<void> {
      const config = JSON.parse(readFileSync(fileFor(2), "utf8"));
      const said: unknown[] = [];
      for (const workers of [1, 2]) {
        const file = join(directory, "failing.yaml");
        writeFileSync(file, JSON.stringify({ ...config, ...change, workers }));
        said.push(await run(["up", "--config", file]));
      }
      const [alone, together] = said as [{ stderr: string; code: number }, unknown];
      assert.match(alone.stderr, expected);
      assert.equal(alone.code, 1);
      assert.deepEqual(together, alone);
    }

    it("if a port is taken", async () => {
      const other = createServer().listen(0, "127.0.0.1");
      await once(other, "listening");
      try {
        await checkSame({ listen: { port: (other.address() as AddressInfo).port } }, /is taken/);
      } finally {
        other.close();
      }
    });

    it("if an address is not this machine's", () =>
      checkSame({ listen: { host: "192.0.2.1" } }, /is no address/));

    it("if the decision log cannot be where it is to be", async () => {
      writeFileSync(join(directory, "no-directory"), "");
      await checkSame(
        { transaction: { log_directory: "no-directory/decisions" } },
        /decision log|could not start/,
      );
    });

    it("if another pgxa with workers has the port", async () => {
      const file = join(directory, "first.yaml");
      const config = JSON.parse(readFileSync(fileFor(1), "utf8"));
      writeFileSync(file, JSON.stringify({ ...config, workers: 2 }));
      const command = new Command(["up", "--config", file]);
      try {
        const [, port] = await command.printed(LISTENING);
        const transaction = { log_directory: "decisions-beside" };
        await checkSame({ listen: { port: Number(port) }, transaction }, /is taken/);
        command.process.kill("SIGINT");
        assert.equal(await command.end(), 0);
      } finally {
        command.process.kill("SIGKILL");
      }
    });
  });

  it("says that an address is not this machine's", async () => {
    const file = fileFor(1);
    const elsewhere = join(directory, "elsewhere.yaml");
    writeFileSync(
      elsewhere,
      JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), listen: { host: "192.0.2.1" } }),
    );
    const { code, stderr } = await run(["up", "--config", elsewhere]);
    assert.match(stderr, /^192\.0\.2\.1 is no address of this machine\./);
    assert.equal(code, 1);
  });
});
