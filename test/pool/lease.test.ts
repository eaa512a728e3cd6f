/** Server connections that change hands, on a real shard. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import { parseConfig } from "../../src/config/load.ts";
import { silentLog } from "../../src/observe/log.ts";
import { ShardHealth } from "../../src/pool/health/shardHealth.ts";
import { NOBODY } from "../../src/pool/nobody.ts";
import { Pool } from "../../src/pool/pool.ts";
import { RELAY } from "../../src/pool/replyQueue.ts";
import type { LeaseHolder, ServerConnection } from "../../src/pool/serverConnection.ts";
import * as send from "../../src/wire/frontendWriters.ts";
import { startShards } from "../support/shards.ts";

const WAIT = { timeout: 30_000 };

let pool: Pool;
let stop: () => Promise<void>;

before(async () => {
  const { shards, stop: stopShards } = await startShards(1);
  const { host, port, user } = shards[0]!;
  const text = `database: postgres\nshards: [{ name: east, host: ${host}, port: ${port}, user: ${user} }]\nauth: { method: trust }\npool: { max: 1 }`;
  const config = parseConfig(text, "pgxa.yaml", {});
  const world = { environment: systemEnvironment, log: silentLog };
  pool = new Pool({
    shard: config.shards[0]!,
    health: new ShardHealth({ shard: config.shards[0]!, config: config.health, ...world }),
    pool: config.pool,
    ...world,
    identify: false,
    settleNotifications: async () => {},
  });
  stop = stopShards;
});
after(async () => {
  await pool?.close();
  await stop?.();
});

/** Runs `sql` on a lease for a client that takes nothing of what it is sent, and gives the lease back. */
async function runForOneWhoDoesNotRead(sql: string): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  const lease = await new Promise<ServerConnection>((resolve) => {
    const holder: LeaseHolder = {
      ...NOBODY,
      relay: (_connection, chunk, start, end) => {
        pieces.push(chunk.subarray(start, end));
        return false;
      },
      onClientGroup: (connection) => resolve(connection),
    };
    void pool.checkout(holder, "").then((connection) => {
      connection.replies.expectGroup(RELAY);
      connection.outbox.put(send.query(sql));
      connection.flush();
    });
  });
  pool.checkIn(lease);
  return pieces;
}

describe("a lease whose client has not read all it was sent", () => {
  it("is read from for the next client, and what was sent stays as it was", WAIT, async () => {
    const pieces = await runForOneWhoDoesNotRead("SELECT 'for the first'");
    const sent = Buffer.concat(pieces).toString("latin1");
    assert.match(sent, /for the first/);
    const lease = await pool.checkout(NOBODY, "");
    const reply = await lease.run("SELECT 'for the second', repeat('x', 100000)", 10_000);
    assert.equal(reply.kind, "complete");
    assert.equal(Buffer.concat(pieces).toString("latin1"), sent);
    pool.checkIn(lease);
  });
});
