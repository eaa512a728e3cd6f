/** An application on node-postgres: statements and transactions here, the session in pgSessions.ts and pgAside.ts. */
import assert from "node:assert/strict";
import pg from "pg";
import { type Checks, databaseUrl, failsWith, manyAtOnce, runChecks } from "./checks.ts";
import { asideChecks } from "./pgAside.ts";
import { amongOthers, one, withClient } from "./pgClient.ts";
import { sessionChecks } from "./pgSessions.ts";

const pool = new pg.Pool({ connectionString: databaseUrl(), max: 20 });

const statements: Checks = {
  "migrations create and alter tables": async () => {
    await pool.query(`CREATE TABLE pg_items (id serial PRIMARY KEY, name text NOT NULL UNIQUE, price numeric(10,2));
      CREATE TABLE pg_orders (id serial PRIMARY KEY, item_id int NOT NULL REFERENCES pg_items, amount int CHECK (amount > 0))`);
    await pool.query("ALTER TABLE pg_items ADD COLUMN stock int NOT NULL DEFAULT 0");
    await pool.query("CREATE INDEX CONCURRENTLY pg_items_price ON pg_items (price)");
    await pool.query("INSERT INTO pg_items (name, price) VALUES ('nail', 0.05), ('hammer', 12.50)");
  },
  "values of common types come back as they went": async () => {
    const values = [
      2n ** 62n,
      "12.50",
      { a: [1] },
      Buffer.from([0, 255]),
      ["ä", null, 'q"'],
      new Date(1e12),
      null,
    ];
    const sql =
      "SELECT $1::int8 AS a, $2::numeric AS b, $3::jsonb AS c, $4::bytea AS d, $5::text[] AS e, $6::timestamptz AS f, $7::text AS g";
    const { rows } = await pool.query({ text: sql, values, rowMode: "array" });
    assert.deepEqual(rows[0], [String(values[0]), ...values.slice(1)]);
  },
  "a value of 8 MB comes back": async () => {
    const text = "x".repeat(8 << 20);
    assert.equal(await one(pool, "SELECT $1::text", [text]), text);
  },
  "named prepared statements work over a pool": async () => {
    const query = { name: "item-by-name", text: "SELECT id FROM pg_items WHERE name = $1" };
    await manyAtOnce(10, 20, async () => {
      const { rows } = await pool.query({ ...query, values: ["nail"] });
      assert.deepEqual(rows, [{ id: 1 }]);
    });
  },
  "one name for different statements of different clients": async () => {
    await manyAtOnce(8, 1, (worker) =>
      withClient(async (client) => {
        for (let i = 0; i < 5; i += 1) {
          const { rows } = await client.query({ name: "s1", text: `SELECT ${worker} AS n` });
          assert.equal(rows[0].n, worker);
        }
      }),
    );
  },
  "PREPARE and EXECUTE as statements": () =>
    withClient(async (client) => {
      await client.query("PREPARE by_id AS SELECT name FROM pg_items WHERE id = $1");
      await amongOthers(async () => assert.equal(await one(client, "EXECUTE by_id(2)"), "hammer"));
      await client.query("DEALLOCATE by_id");
      await failsWith("26000", client.query("EXECUTE by_id(2)"));
    }),
  "a repeated statement sees a changed column": () =>
    withClient(async (client) => {
      await client.query("CREATE TABLE pg_changing (v int); INSERT INTO pg_changing VALUES (1)");
      for (let i = 0; i < 8; i += 1) await client.query("SELECT * FROM pg_changing WHERE v = $1", [1]);
      await client.query("ALTER TABLE pg_changing ADD COLUMN w text DEFAULT 'new'");
      const { rows } = await client.query("SELECT * FROM pg_changing WHERE v = $1", [1]);
      assert.deepEqual(rows, [{ v: 1, w: "new" }]);
    }),
  "a new client prepares what another did before ALTER TABLE": async () => {
    const query = { name: "all", text: "SELECT * FROM pg_altered" };
    await pool.query("CREATE TABLE pg_altered (v int); INSERT INTO pg_altered VALUES (1)");
    await withClient((client) => client.query(query));
    await pool.query("ALTER TABLE pg_altered ADD COLUMN w int DEFAULT 2");
    const { rows } = await withClient((client) => client.query(query));
    assert.deepEqual(rows, [{ v: 1, w: 2 }]);
  },
  "a statement prepared in a transaction that rolls back": () =>
    withClient(async (client) => {
      const query = { name: "within", text: "SELECT n FROM pg_rolled_back" };
      await client.query("BEGIN; CREATE TABLE pg_rolled_back AS SELECT 1 AS n");
      assert.deepEqual((await client.query(query)).rows, [{ n: 1 }]);
      await client.query("ROLLBACK");
      await failsWith("42P01", client.query(query));
      await client.query("CREATE TABLE pg_rolled_back AS SELECT 'two' AS n");
      await withClient(async (other) => assert.deepEqual((await other.query(query)).rows, [{ n: "two" }]));
    }),
  "several statements in one query, with a result each": async () => {
    const results = (await pool.query("SELECT 1 AS a; SELECT 2 AS b")) as unknown as pg.QueryResult[];
    assert.deepEqual(
      results.map(({ rows }) => rows[0]),
      [{ a: 1 }, { b: 2 }],
    );
  },
  "notices arrive": () =>
    withClient(async (client) => {
      const heard: (string | undefined)[] = [];
      client.on("notice", ({ message }) => heard.push(message));
      await client.query("DO $$ BEGIN RAISE NOTICE 'hello'; END $$");
      assert.deepEqual(heard, ["hello"]);
    }),
};

const transactions: Checks = {
  "a transaction commits": () =>
    withClient(async (client) => {
      await client.query("BEGIN");
      await client.query("INSERT INTO pg_orders (item_id, amount) VALUES ($1, $2)", [1, 3]);
      await client.query("COMMIT");
      assert.equal(await one(pool, "SELECT count(*)::int FROM pg_orders"), 1);
    }),
  "a transaction rolls back to a savepoint": () =>
    withClient(async (client) => {
      await client.query("BEGIN");
      await client.query("UPDATE pg_items SET stock = 5 WHERE id = 1");
      await client.query("SAVEPOINT before");
      await failsWith("23514", client.query("INSERT INTO pg_orders (item_id, amount) VALUES (1, 0)"));
      await failsWith("25P02", client.query("SELECT 1"));
      await client.query("ROLLBACK TO before");
      await client.query("COMMIT");
      assert.equal(await one(pool, "SELECT stock FROM pg_items WHERE id = 1"), 5);
    }),
  "COMMIT of a failed transaction rolls back": () =>
    withClient(async (client) => {
      await client.query("BEGIN; UPDATE pg_items SET stock = 99");
      await failsWith("22012", client.query("SELECT 1/0"));
      assert.equal((await client.query("COMMIT")).command, "ROLLBACK");
      assert.equal(await one(pool, "SELECT stock FROM pg_items WHERE id = 1"), 5);
    }),
  "who disconnects in a transaction rolls it back": async () => {
    await withClient((client) => client.query("BEGIN; UPDATE pg_items SET stock = 77 WHERE id = 1"));
    await pool.query("UPDATE pg_items SET stock = stock + 1 WHERE id = 1");
    assert.equal(await one(pool, "SELECT stock FROM pg_items WHERE id = 1"), 6);
  },
  "a serialization failure is 40001": () =>
    withClient((first) =>
      withClient(async (second) => {
        for (const client of [first, second]) {
          await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
          await client.query("SELECT * FROM pg_items");
        }
        await first.query("UPDATE pg_items SET stock = 1 WHERE id = 2");
        await first.query("COMMIT");
        await failsWith("40001", second.query("UPDATE pg_items SET stock = 2 WHERE id = 2"));
        await second.query("ROLLBACK");
      }),
    ),
  "20 workers at once lose no update": async () => {
    await pool.query("CREATE TABLE pg_counter AS SELECT 0 AS n");
    await manyAtOnce(20, 10, async () => {
      const client = await pool.connect();
      try {
        await client.query("BEGIN");
        const { rows } = await client.query("SELECT n FROM pg_counter FOR UPDATE");
        await client.query("UPDATE pg_counter SET n = $1", [rows[0].n + 1]);
        await client.query("COMMIT");
      } finally {
        client.release();
      }
    });
    assert.equal(await one(pool, "SELECT n FROM pg_counter"), 200);
  },
  "errors have their SQLSTATE and fields": async () => {
    await failsWith("42P01", pool.query("SELECT * FROM nowhere"));
    await failsWith("22P02", pool.query("SELECT $1::int", ["x"]));
    await failsWith("23503", pool.query("INSERT INTO pg_orders (item_id, amount) VALUES (999, 1)"));
    const syntax = await failsWith("42601", pool.query("SELEC 1"));
    assert.equal(syntax["position"], "1");
    const unique = await failsWith("23505", pool.query("INSERT INTO pg_items (name) VALUES ('nail')"));
    assert.equal(unique["constraint"], "pg_items_name_key");
    assert.match(String(unique["detail"]), /\(name\)=\(nail\)/);
  },
};

await runChecks({ ...statements, ...transactions, ...sessionChecks, ...asideChecks }, () => pool.end());
