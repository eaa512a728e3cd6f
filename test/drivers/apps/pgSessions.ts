/** What lasts for a session of node-postgres, and nobody else may see. */
import assert from "node:assert/strict";
import pg from "pg";
import { type Checks, databaseUrl, failsWith, manyAtOnce } from "./checks.ts";
import { amongOthers, askOthers, one, withClient } from "./pgClient.ts";

export const sessionChecks: Checks = {
  "search_path and time zone stay with their session": () =>
    withClient(async (first) => {
      await first.query("CREATE SCHEMA shop_other; CREATE TABLE shop_other.only_here AS SELECT 7 AS n");
      await first.query("SET search_path = shop_other; SET TIME ZONE 'Asia/Tokyo'");
      const intruders = manyAtOnce(10, 1, () =>
        withClient(async (other) => {
          assert.notEqual(await one(other, "SHOW search_path"), "shop_other");
          assert.notEqual(await one(other, "SHOW timezone"), "Asia/Tokyo");
        }),
      );
      for (let i = 0; i < 20; i += 1) {
        assert.equal(await one(first, "SELECT n FROM only_here"), 7);
        assert.equal(await one(first, "SHOW timezone"), "Asia/Tokyo");
      }
      await intruders;
    }),
  "a setting of one's own is no other session's": () =>
    withClient(async (client) => {
      await client.query("SET app.customer = 'ann'");
      await one(client, "SELECT set_config('app.tenant', $1, false)", ["acme"]);
      // A setting that was reset is empty, and not unknown, on the connection that it was reset on.
      const seen = await askOthers(
        "SELECT concat(current_setting('app.customer', true), current_setting('app.tenant', true))",
      );
      assert.deepEqual(new Set(seen), new Set([""]));
    }),
  "a setting of one's own lasts for its session": () =>
    withClient(async (client) => {
      await client.query("SET app.customer = 'ann'");
      await amongOthers(async () => {
        assert.equal(await one(client, "SELECT current_setting('app.customer', true)"), "ann");
      });
    }),
  "a search_path that a function sets is no other session's": () =>
    withClient(async (client) => {
      await client.query(`CREATE FUNCTION pg_move_in() RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN SET search_path = shop_other; END $$`);
      await client.query("SELECT pg_move_in()");
      assert.ok(!(await askOthers("SHOW search_path")).includes("shop_other"), "another session sees it");
      await amongOthers(async () => assert.equal(await one(client, "SHOW search_path"), "shop_other"));
    }),
  "what a function sets is no other session's": () =>
    withClient(async (client) => {
      await client.query(`CREATE FUNCTION pg_log_in() RETURNS text LANGUAGE plpgsql AS
        $$ BEGIN SET work_mem = '5MB'; RETURN 'done'; END $$`);
      await client.query("SELECT pg_log_in()");
      assert.ok(!(await askOthers("SHOW work_mem")).includes("5MB"), "another session sees it");
    }),
  "what a function sets lasts for its session": () =>
    withClient(async (client) => {
      await client.query("SELECT pg_log_in()");
      await amongOthers(async () => assert.equal(await one(client, "SHOW work_mem"), "5MB"));
    }),
  "SET ROLE stays with its session": () =>
    withClient(async (client) => {
      await client.query("SET ROLE pg_read_all_data");
      assert.ok(
        !(await askOthers("SELECT current_user")).includes("pg_read_all_data"),
        "another session sees it",
      );
      await amongOthers(async () =>
        assert.equal(await one(client, "SELECT current_user"), "pg_read_all_data"),
      );
    }),
  "a setting of a transaction that rolls back is undone": () =>
    withClient(async (client) => {
      await client.query("SET work_mem = '6MB'");
      await client.query("BEGIN");
      await client.query("SET work_mem = '7MB'");
      await client.query("ROLLBACK");
      await amongOthers(async () => assert.equal(await one(client, "SHOW work_mem"), "6MB"));
      await client.query("RESET ALL");
      await amongOthers(async () => assert.notEqual(await one(client, "SHOW work_mem"), "6MB"));
    }),
  "SET LOCAL ends with its transaction": () =>
    withClient(async (client) => {
      await client.query("BEGIN; SET LOCAL statement_timeout = '5s'; COMMIT");
      assert.equal(await one(client, "SHOW statement_timeout"), "0");
    }),
  "settings given at startup": () =>
    withClient(
      async (client) => {
        for (let i = 0; i < 3; i += 1) {
          assert.equal(await one(client, "SHOW search_path"), "shop_other");
          assert.equal(await one(client, "SHOW application_name"), "shop");
        }
      },
      { options: "-c search_path=shop_other", application_name: "shop" },
    ),
  "statement_timeout is 57014": () =>
    withClient(async (client) => {
      await client.query("SET statement_timeout = '200ms'");
      await failsWith("57014", client.query("SELECT pg_sleep(10)"));
      await client.query("RESET statement_timeout");
    }),
  "a temporary table lasts for its session": () =>
    withClient(async (client) => {
      await client.query("CREATE TEMP TABLE pg_scratch (v int)");
      await amongOthers(() => client.query("INSERT INTO pg_scratch VALUES (1)"));
      assert.equal(await one(client, "SELECT count(*)::int FROM pg_scratch"), 1);
    }),
  "a temporary table that a function makes": () =>
    withClient(async (client) => {
      await client.query(`CREATE FUNCTION pg_make_scratch() RETURNS void LANGUAGE sql AS
        $$ CREATE TEMP TABLE pg_made (v int) $$`);
      await client.query("SELECT pg_make_scratch()");
      await amongOthers(() => client.query("INSERT INTO pg_made VALUES (1)"));
    }),
  "an advisory lock is its session's until released": () =>
    withClient((first) =>
      withClient(async (second) => {
        await first.query("SELECT pg_advisory_lock(42)");
        assert.equal(await one(second, "SELECT pg_try_advisory_lock(42)"), false);
        assert.equal(await one(first, "SELECT pg_advisory_unlock(42)"), true);
        assert.equal(await one(second, "SELECT pg_try_advisory_lock(42)"), true);
      }),
    ),
  "lastval() after an INSERT": () =>
    withClient(async (client) => {
      await client.query("CREATE TABLE pg_ids (id serial, v int)");
      await client.query("INSERT INTO pg_ids (v) VALUES (0)");
      await amongOthers(async () => assert.equal(await one(client, "SELECT lastval()"), "1"));
    }),
  "DISCARD ALL leaves a fresh session": () =>
    withClient(async (client) => {
      await client.query({ name: "kept", text: "SELECT 1" });
      await client.query("SET TIME ZONE 'Asia/Tokyo'");
      await client.query("DISCARD ALL");
      assert.notEqual(await one(client, "SHOW timezone"), "Asia/Tokyo");
    }),
  "what is discarded gives its connection back": () =>
    manySessions(async (client, number) => {
      await client.query(`CREATE TEMP TABLE pg_discarded${number} (v int)`);
      await client.query("DISCARD ALL");
    }),
  "an advisory lock that is released gives its connection back": () =>
    manySessions(async (client, number) => {
      await client.query("SELECT pg_advisory_lock($1)", [1000 + number]);
      await client.query("SELECT pg_advisory_unlock($1)", [1000 + number]);
    }),
};

/** More than a proxy's pool has. */
const SESSIONS = 25;
const SESSIONS_TIMEOUT_MS = 3000;

/** `work` in one session after another, all of which stay open. */
async function manySessions(work: (client: pg.Client, number: number) => Promise<unknown>): Promise<void> {
  const clients: pg.Client[] = [];
  const deadline = AbortSignal.timeout(SESSIONS_TIMEOUT_MS);
  const late = new Promise<never>((_, reject) => {
    const tell = () => reject(new Error(`session ${clients.length} got no connection`));
    deadline.addEventListener("abort", tell);
  });
  try {
    for (let number = 0; number < SESSIONS; number += 1) {
      const client = new pg.Client(databaseUrl());
      client.on("error", () => {});
      clients.push(client);
      await Promise.race([client.connect().then(() => work(client, number)), late]);
    }
  } finally {
    late.catch(() => {});
    for (const client of clients) void client.end().catch(() => {});
  }
}
