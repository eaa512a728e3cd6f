/** An application on postgres.js, which prepares every statement and sends ahead. */
import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import postgres from "postgres";
import { type Checks, databaseUrl, failsWith, manyAtOnce, runChecks, until } from "./checks.ts";

const quiet = { onnotice: () => {} };
const sql = postgres(databaseUrl(), { max: 20, ...quiet });

/** A session of its own. */
async function withSession<T>(work: (own: postgres.Sql) => Promise<T>, options = {}): Promise<T> {
  const own = postgres(databaseUrl(), { max: 1, ...quiet, ...options });
  try {
    return await work(own);
  } finally {
    await own.end({ timeout: 1 });
  }
}

const checks: Checks = {
  "migrations create and alter tables": async () => {
    await sql`CREATE TABLE pjs_items (id serial PRIMARY KEY, name text UNIQUE, price numeric(10,2))`;
    await sql
      .unsafe("ALTER TABLE pjs_items ADD COLUMN tags text[]; ALTER TABLE pjs_items ADD COLUMN data jsonb")
      .simple();
    await sql`INSERT INTO pjs_items ${sql([{ name: "nail" }, { name: "hammer" }], "name")}`;
  },
  "prepared statements repeat over a pool": () =>
    manyAtOnce(20, 10, async (worker) => {
      const rows = await sql`SELECT id, ${worker}::int AS worker FROM pjs_items WHERE name = ${"nail"}`;
      assert.deepEqual([...rows], [{ id: 1, worker }]);
    }),
  "values of common types come back as they went": async () => {
    const when = new Date(1e12);
    const [row] = await sql`SELECT ${"12.50"}::numeric AS n, ${sql.json({ a: [1] })}::jsonb AS j,
      ${sql.array(["a", "ä"])}::text[] AS l, ${when}::timestamptz AS t, ${Buffer.from([0, 255])}::bytea AS b`;
    assert.deepEqual(row, { n: "12.50", j: { a: [1] }, l: ["a", "ä"], t: when, b: Buffer.from([0, 255]) });
  },
  "without prepared statements": () =>
    withSession(
      async (own) => {
        const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => own`SELECT ${n}::int AS n`));
        assert.equal(answers.at(-1)?.[0]?.["n"], 19);
      },
      { prepare: false },
    ),
  "a statement is described": async () => {
    const { columns } = await sql`SELECT id, name FROM pjs_items WHERE id = ${1}`.describe();
    assert.deepEqual(
      columns.map(({ name }) => name),
      ["id", "name"],
    );
  },
  "statements sent ahead are answered in order": () =>
    withSession(async (own) => {
      const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => own`SELECT ${n}::int AS n`));
      assert.deepEqual(
        answers.map(([row]) => row?.["n"]),
        Array.from({ length: 100 }, (_, n) => n),
      );
    }),
  "an error among statements sent ahead is its own only": () =>
    withSession(async (own) => {
      const results = await Promise.allSettled([own`SELECT 1`, own`SELECT 1/${0}::int`, own`SELECT 2`]);
      assert.deepEqual(
        results.map(({ status }) => status),
        ["fulfilled", "rejected", "fulfilled"],
      );
    }),
  "transactions commit, roll back, and roll back to a savepoint": async () => {
    await sql.begin((tx) => tx`UPDATE pjs_items SET price = 1 WHERE name = 'nail'`);
    const failed = sql.begin(async (tx) => {
      await tx`UPDATE pjs_items SET price = 2 WHERE name = 'nail'`;
      await tx`SELECT 1/0`;
    });
    await failsWith("22012", failed);
    await sql.begin(async (tx) => {
      await tx.savepoint((inner) => inner`INSERT INTO pjs_items (name) VALUES ('nail')`).catch(() => {});
      await tx`UPDATE pjs_items SET price = price + 2 WHERE name = 'nail'`;
    });
    const [row] = await sql`SELECT price FROM pjs_items WHERE name = 'nail'`;
    assert.equal(row?.["price"], "3.00");
  },
  "a transaction sent ahead as a whole": async () => {
    const results = await sql.begin((tx) => [tx`SELECT 1 AS n`, tx`SELECT 2 AS n`]);
    assert.equal(results.length, 2);
  },
  "a reserved connection keeps its settings": async () => {
    const own = await sql.reserve();
    try {
      await own`SET TIME ZONE 'Asia/Tokyo'`;
      await Promise.all(Array.from({ length: 20 }, () => sql`SELECT 1`));
      const [row] = await own`SHOW timezone`;
      assert.equal(row?.["TimeZone"], "Asia/Tokyo");
      await own`RESET timezone`;
    } finally {
      own.release();
    }
  },
  "settings given at startup": () =>
    withSession(
      async (own) => {
        const [row] =
          await own`SELECT current_setting('search_path') AS path, current_setting('application_name') AS name`;
        assert.deepEqual(row, { path: "pg_catalog", name: "shop" });
      },
      { connection: { search_path: "pg_catalog", application_name: "shop" } },
    ),
  "a cursor reads in pieces": async () => {
    let count = 0;
    for await (const rows of sql`SELECT generate_series(1, 5000) AS n`.cursor(500)) {
      assert.equal(rows[0]?.["n"], count + 1);
      count += rows.length;
    }
    assert.equal(count, 5000);
  },
  "a cursor that is left early": async () => {
    for await (const _ of sql`SELECT generate_series(1, 5000) AS n`.cursor(10)) break;
    await sql`SELECT 1`;
  },
  "forEach over rows": async () => {
    let count = 0;
    await sql`SELECT generate_series(1, 5000) AS n`.forEach(() => {
      count += 1;
    });
    assert.equal(count, 5000);
  },
  "COPY in and out": async () => {
    await sql`CREATE TABLE pjs_copied (n int)`;
    const lines = Array.from({ length: 5000 }, (_, n) => `${n}\n`);
    await pipeline(Readable.from(lines), await sql`COPY pjs_copied FROM STDIN`.writable());
    const pieces: Buffer[] = [];
    for await (const piece of await sql`COPY (SELECT n FROM pjs_copied ORDER BY n) TO STDOUT`.readable())
      pieces.push(piece);
    assert.equal(Buffer.concat(pieces).toString(), lines.join(""));
  },
  "listen and notify": async () => {
    const heard: string[] = [];
    const { unlisten } = await sql.listen("pjs_news", (payload) => heard.push(payload));
    await sql.notify("pjs_news", "hello");
    await until("notification", () => heard.length > 0);
    await unlisten();
    assert.deepEqual(heard, ["hello"]);
  },
  "a running query is cancelled": async () => {
    const query = sql`SELECT pg_sleep(30)`;
    setTimeout(() => query.cancel(), 300);
    await failsWith("57014", query);
    await sql`SELECT 1`;
  },
  "errors have their SQLSTATE and fields": async () => {
    await failsWith("42P01", sql`SELECT * FROM nowhere`);
    await failsWith("42601", sql.unsafe("SELEC 1"));
    const error = await failsWith("23505", sql`INSERT INTO pjs_items (name) VALUES ('nail')`);
    assert.equal(error["constraint_name"], "pjs_items_name_key");
  },
  "a prepared statement after ALTER TABLE of another session": () =>
    withSession(async (own) => {
      const read = () => own`SELECT * FROM pjs_items WHERE name = ${"nail"}`;
      await read();
      await sql`ALTER TABLE pjs_items ADD COLUMN late int DEFAULT 4`;
      const rows = await read().catch(read); // the driver itself prepares anew after 0A000
      assert.equal(rows[0]?.["late"], 4);
    }),
  "20 workers at once lose no update": async () => {
    await sql`CREATE TABLE pjs_counter AS SELECT 0 AS n`;
    await manyAtOnce(20, 10, () =>
      sql.begin(async (tx) => {
        const [row] = await tx`SELECT n FROM pjs_counter FOR UPDATE`;
        await tx`UPDATE pjs_counter SET n = ${row?.["n"] + 1}`;
      }),
    );
    const [row] = await sql`SELECT n FROM pjs_counter`;
    assert.equal(row?.["n"], 200);
  },
};

await runChecks(checks, () => sql.end({ timeout: 1 }));
