/** `pgxa up` with several workers: one port, one process for the operator. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import pg from "pg";
import { Command } from "../cli/command.ts";
import { startShards, type TestShards } from "../support/shards.ts";

const LISTENING = /^pgxa is listening on 127\.0\.0\.1:(\d+), database bank, 1 shard\n/;

describe("pgxa up with two workers", { timeout: 150_000 }, () => {
  let shards: TestShards;
  let directory = "";

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "pgxa-workers-"));
    shards = await startShards(1, { databases: ["bank"] });
  });
  after(async () => {
    await shards.stop();
    rmSync(directory, { recursive: true });
  });

  it("serves clients", async () => {
    const file = join(directory, "pgxa.yaml");
    const [{ id, host, port }] = shards.shards as [(typeof shards.shards)[0]];
    writeFileSync(
      file,
      JSON.stringify({
        listen: { port: 0, unix_directory: "." },
        workers: 2,
        database: "bank",
        shards: [{ name: id, host, port, user: "postgres" }],
        auth: { method: "trust" },
        log: { level: "debug" },
      }),
    );
    const command = new Command(["up", "--config", file]);
    try {
      const [, port] = await command.printed(LISTENING);
      for (let i = 0; i < 20; i += 1) {
        const client = new pg.Client({
          host: i % 2 === 0 ? "127.0.0.1" : directory,
          port: Number(port),
          user: "postgres",
          database: "bank",
        });
        await client.connect();
        assert.deepEqual((await client.query("SELECT 42 AS answer")).rows, [{ answer: 42 }]);
        await client.end();
      }
      command.process.kill("SIGTERM");
      assert.equal(await command.end(), 0);
    } finally {
      command.process.kill("SIGKILL");
    }
  });
});
