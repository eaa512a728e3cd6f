/** What flows with node-postgres: cursors, streams and COPY, by pg-cursor, pg-query-stream and pg-copy-streams. */
import assert from "node:assert/strict";
import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { from as copyFrom, to as copyTo } from "pg-copy-streams";
import Cursor from "pg-cursor";
import QueryStream from "pg-query-stream";
import { type Checks, failsWith, runChecks } from "./checks.ts";
import { withClient } from "./pgClient.ts";

const ROWS = 20_000;

/** The lines of a COPY, as one text. */
async function textOf(stream: Readable): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString();
}

const checks: Checks = {
  "pg-cursor reads in pieces": () =>
    withClient(async (client) => {
      await client.query("BEGIN");
      const cursor = client.query(new Cursor("SELECT generate_series(1, $1::int) AS n", [ROWS]));
      let last = 0;
      for (let rows = await cursor.read(1000); rows.length > 0; rows = await cursor.read(1000)) {
        assert.equal(rows[0].n, last + 1);
        last = rows.at(-1).n;
      }
      assert.equal(last, ROWS);
      await cursor.close();
      await client.query("COMMIT");
    }),
  "pg-cursor outside a transaction, closed early": () =>
    withClient(async (client) => {
      const cursor = client.query(new Cursor("SELECT generate_series(1, 1000) AS n"));
      assert.equal((await cursor.read(10)).length, 10);
      assert.equal((await cursor.read(10))[0].n, 11);
      await cursor.close();
      assert.equal((await client.query("SELECT 5 AS five")).rows[0].five, 5);
    }),
  "pg-query-stream reads all": () =>
    withClient(async (client) => {
      let count = 0;
      const stream = client.query(new QueryStream("SELECT generate_series(1, $1::int) AS n", [ROWS]));
      for await (const row of stream) assert.equal((row as { n: number }).n, (count += 1));
      assert.equal(count, ROWS);
    }),
  "a cursor declared WITH HOLD outlives its transaction": () =>
    withClient(async (client) => {
      await client.query(
        "BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 5) AS n; COMMIT",
      );
      assert.equal((await client.query("FETCH 3 FROM held")).rows.length, 3);
      assert.equal((await client.query("FETCH 3 FROM held")).rows.length, 2);
      await client.query("CLOSE held");
    }),
  "COPY in and out": () =>
    withClient(async (client) => {
      await client.query("CREATE TABLE pg_copied (n int, t text)");
      const lines = Readable.from(Array.from({ length: ROWS }, (_, n) => `${n}\tline ${n}\n`));
      await pipeline(lines, client.query(copyFrom("COPY pg_copied FROM STDIN")));
      const out = client.query(copyTo("COPY (SELECT * FROM pg_copied ORDER BY n) TO STDOUT"));
      const text = await textOf(out);
      assert.equal(text.split("\n").length, ROWS + 1);
      assert.ok(text.endsWith(`${ROWS - 1}\tline ${ROWS - 1}\n`));
    }),
  "COPY with a bad line fails and the session goes on": () =>
    withClient(async (client) => {
      await client.query("CREATE TABLE pg_copy_bad (n int)");
      const lines = Readable.from(["1\n", "two\n", "3\n"]);
      await failsWith("22P02", pipeline(lines, client.query(copyFrom("COPY pg_copy_bad FROM STDIN"))));
      const { rows } = await client.query("SELECT count(*)::int AS n FROM pg_copy_bad");
      assert.equal(rows[0].n, 0);
    }),
  "COPY given up by the client leaves nothing": () =>
    withClient(async (client) => {
      await client.query("CREATE TABLE pg_copy_left (n int)");
      const into = client.query(copyFrom("COPY pg_copy_left FROM STDIN"));
      const closed = new Promise((resolve) => into.on("error", resolve));
      into.write("1\n");
      into.destroy(new Error("no more"));
      await closed;
      const { rows } = await client.query("SELECT count(*)::int AS n FROM pg_copy_left");
      assert.equal(rows[0].n, 0);
    }),
  "COPY out waits for a slow reader": () =>
    withClient(async (client) => {
      const text: Buffer[] = [];
      const slow = new Writable({
        highWaterMark: 1024,
        write: (piece, _encoding, done) => {
          text.push(piece);
          setImmediate(done);
        },
      });
      await pipeline(
        client.query(copyTo("COPY (SELECT repeat('x', 100) FROM generate_series(1, 20000)) TO STDOUT")),
        slow,
      );
      assert.equal(Buffer.concat(text).length, 20_000 * 101);
    }),
};

await runChecks(checks, async () => {});
