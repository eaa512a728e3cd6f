/** What reaches a node-postgres session from aside: notifications, cancel requests, an administrator. */
import assert from "node:assert/strict";
import pg from "pg";
import { type Checks, databaseUrl, failsWith, until } from "./checks.ts";
import { withClient } from "./pgClient.ts";

export const asideChecks: Checks = {
  "LISTEN hears what others NOTIFY": () =>
    withClient((listener) =>
      withClient(async (notifier) => {
        const heard: (string | undefined)[] = [];
        listener.on("notification", ({ payload }) => heard.push(payload));
        await listener.query("LISTEN pg_news");
        await notifier.query("BEGIN; NOTIFY pg_news, 'lost'; ROLLBACK");
        await notifier.query("SELECT pg_notify('pg_news', $1)", ["kept"]);
        await until("notification", () => heard.length > 0);
        await listener.query("UNLISTEN pg_news");
        await notifier.query("NOTIFY pg_news, 'late'");
        await listener.query("SELECT 1");
        assert.deepEqual(heard, ["kept"]);
      }),
    ),
  "a session hears its own NOTIFY, with its own process id": () =>
    withClient(async (client) => {
      const heard: pg.Notification[] = [];
      client.on("notification", (told) => heard.push(told));
      await client.query("LISTEN pg_own");
      await client.query("NOTIFY pg_own, 'me'");
      await until("notification", () => heard.length > 0);
      assert.equal(heard[0]?.processId, (client as unknown as { processID: number }).processID);
    }),
  "a LISTEN that is rolled back hears nothing": () =>
    withClient((client) =>
      withClient(async (notifier) => {
        const heard: (string | undefined)[] = [];
        client.on("notification", ({ channel }) => heard.push(channel));
        await client.query("BEGIN");
        await client.query("LISTEN pg_undone");
        await client.query("ROLLBACK");
        await client.query("LISTEN pg_done");
        await notifier.query("NOTIFY pg_undone");
        await notifier.query("NOTIFY pg_done");
        await until("notification", () => heard.includes("pg_done"));
        assert.deepEqual(heard, ["pg_done"]);
      }),
    ),
  "an idle transaction that times out is 25P03, and a new session works": async () => {
    const client = new pg.Client(databaseUrl());
    const errors: unknown[] = [];
    client.on("error", (error) => errors.push((error as pg.DatabaseError).code));
    await client.connect();
    await client.query("BEGIN; SET LOCAL idle_in_transaction_session_timeout = '200ms'");
    await until("error", () => errors.length > 0);
    assert.equal(errors[0], "25P03");
    await withClient((other) => other.query("SELECT 1"));
  },
  "a running query is cancelled": () =>
    withClient(async (client) => {
      // The types do not know it: https://github.com/brianc/node-postgres/blob/master/packages/pg/lib/client.js
      const other = new pg.Client(databaseUrl()) as pg.Client & {
        cancel(target: pg.Client, query: unknown): void;
      };
      const query = new pg.Query("SELECT pg_sleep(30)");
      const ended = new Promise((_, reject) => query.on("error", reject));
      client.query(query);
      setTimeout(() => other.cancel(client, query), 200);
      await failsWith("57014", ended);
      assert.equal((await client.query("SELECT 1 AS one")).rows[0].one, 1);
    }),
  "pg_cancel_backend reaches the query it means": () =>
    withClient((client) =>
      withClient(async (other) => {
        await client.query("BEGIN");
        const { rows } = await client.query("SELECT pg_backend_pid() AS pid");
        const ended = failsWith("57014", client.query("SELECT pg_sleep(30)"));
        await new Promise((resolve) => setTimeout(resolve, 200));
        await other.query("SELECT pg_cancel_backend($1)", [rows[0].pid]);
        await ended;
        await client.query("ROLLBACK");
      }),
    ),
  "pg_terminate_backend is 57P01, and a new session works": async () => {
    const end = withClient((client) =>
      withClient(async (other) => {
        await client.query("BEGIN");
        const { rows } = await client.query("SELECT pg_backend_pid() AS pid");
        await other.query("SELECT pg_terminate_backend($1)", [rows[0].pid]);
        await client.query("SELECT 1");
      }),
    );
    await assert.rejects(end);
    await withClient((client) => client.query("SELECT 1"));
  },
  "who breaks off in mid-result leaves no query behind": async () => {
    const client = new pg.Client(databaseUrl());
    client.on("error", () => {});
    await client.connect();
    client
      .query("SELECT repeat('x', 1000), 'pg_broken_off' FROM generate_series(1, 5000000)")
      .catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 200));
    client.connection.stream.destroy();
    await withClient(async (other) => {
      const sql = `SELECT count(*)::int AS n FROM pg_stat_activity
        WHERE state = 'active' AND query LIKE '%pg_broken_off%' AND pid <> pg_backend_pid()`;
      const deadline = performance.now() + 5000;
      while ((await other.query(sql)).rows[0].n > 0) assert.ok(performance.now() < deadline, "it runs on");
    });
  },
};
