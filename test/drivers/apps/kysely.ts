/** An application on Kysely: its migrator, typed queries, transactions with savepoints, streams. */
import assert from "node:assert/strict";
import { type Generated, Kysely, type Migration, Migrator, PostgresDialect, sql } from "kysely";
import pg from "pg";
import Cursor from "pg-cursor";
import { type Checks, databaseUrl, failsWith, manyAtOnce, runChecks } from "./checks.ts";

interface Database {
  kys_items: { id: Generated<number>; name: string; stock: Generated<number>; data: object | null };
}

const pool = new pg.Pool({ connectionString: databaseUrl(), max: 20 });
const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool, cursor: Cursor }) });

const migrations: Record<string, Migration> = {
  "1_items": {
    up: async (one) => {
      await one.schema
        .createTable("kys_items")
        .addColumn("id", "serial", (column) => column.primaryKey())
        .addColumn("name", "text", (column) => column.notNull().unique())
        .addColumn("data", "jsonb")
        .execute();
    },
    down: async (one) => {
      await one.schema.dropTable("kys_items").execute();
    },
  },
  "2_stock": {
    up: async (one) => {
      await one.schema
        .alterTable("kys_items")
        .addColumn("stock", "integer", (column) => column.notNull().defaultTo(0))
        .execute();
    },
    down: async (one) => {
      await one.schema.alterTable("kys_items").dropColumn("stock").execute();
    },
  },
};
const migrator = () => new Migrator({ db, provider: { getMigrations: async () => migrations } });

const stockOf = async (name: string): Promise<number | undefined> =>
  (await db.selectFrom("kys_items").select("stock").where("name", "=", name).executeTakeFirst())?.stock;

const checks: Checks = {
  "migrations run, and run back": async () => {
    assert.equal((await migrator().migrateToLatest()).error, undefined);
    assert.equal((await migrator().migrateDown()).error, undefined);
    assert.equal((await migrator().migrateToLatest()).results?.length, 1);
  },
  "migrators at the same time wait for each other": async () => {
    const results = await Promise.all(Array.from({ length: 4 }, () => migrator().migrateToLatest()));
    assert.deepEqual(
      results.map(({ error }) => error),
      Array(4).fill(undefined),
    );
  },
  "rows are inserted and found": async () => {
    await db
      .insertInto("kys_items")
      .values([
        { name: "nail", data: { a: 1 } },
        { name: "saw", data: null },
        { name: "worker", data: null },
      ])
      .execute();
    for (let i = 0; i < 8; i += 1) {
      const row = await db
        .selectFrom("kys_items")
        .selectAll()
        .where("name", "=", "nail")
        .executeTakeFirstOrThrow();
      assert.deepEqual(row.data, { a: 1 });
    }
  },
  "tables are told by introspection": async () => {
    const tables = await db.introspection.getTables();
    assert.ok(tables.some(({ name }) => name === "kys_items"));
  },
  upsert: async () => {
    await db
      .insertInto("kys_items")
      .values({ name: "nail", data: null, stock: 7 })
      .onConflict((conflict) => conflict.column("name").doUpdateSet({ stock: 7 }))
      .execute();
    assert.equal(await stockOf("nail"), 7);
  },
  "a transaction commits, another rolls back": async () => {
    await db
      .transaction()
      .execute((trx) => trx.updateTable("kys_items").set({ stock: 1 }).where("name", "=", "saw").execute());
    const failed = db.transaction().execute(async (trx) => {
      await trx.updateTable("kys_items").set({ stock: 99 }).execute();
      await sql`SELECT 1/0`.execute(trx);
    });
    await failsWith("22012", failed);
    assert.equal(await stockOf("saw"), 1);
  },
  "a controlled transaction rolls back to a savepoint": async () => {
    const trx = await db.startTransaction().execute();
    await trx.updateTable("kys_items").set({ stock: 2 }).where("name", "=", "saw").execute();
    const saved = await trx.savepoint("before").execute();
    await failsWith("23505", saved.insertInto("kys_items").values({ name: "nail", data: null }).execute());
    await saved.rollbackToSavepoint("before").execute();
    await trx.commit().execute();
    assert.equal(await stockOf("saw"), 2);
  },
  "an isolation level": () =>
    db
      .transaction()
      .setIsolationLevel("serializable")
      .execute(async (trx) => {
        const { rows } = await sql<{ transaction_isolation: string }>`SHOW transaction_isolation`.execute(
          trx,
        );
        assert.equal(rows[0]?.transaction_isolation, "serializable");
      }),
  "a stream reads all rows, and is left early": async () => {
    const series = sql<{ n: number }>`(SELECT generate_series(1, 5000) AS n)`.as<"s">("s");
    let count = 0;
    for await (const _ of db.selectFrom(series).selectAll().stream(500)) count += 1;
    assert.equal(count, 5000);
    for await (const _ of db.selectFrom(series).selectAll().stream(10)) break;
    await sql`SELECT 1`.execute(db);
  },
  "one connection keeps its settings": () =>
    db.connection().execute(async (one) => {
      await sql`SET TIME ZONE 'Asia/Tokyo'`.execute(one);
      await Promise.all(Array.from({ length: 10 }, () => sql`SELECT 1`.execute(db)));
      const { rows } = await sql<{ TimeZone: string }>`SHOW timezone`.execute(one);
      assert.equal(rows[0]?.TimeZone, "Asia/Tokyo");
      await sql`RESET timezone`.execute(one);
    }),
  "errors have their SQLSTATE": async () => {
    await failsWith("23505", db.insertInto("kys_items").values({ name: "nail", data: null }).execute());
    await failsWith("42P01", sql`SELECT * FROM nowhere`.execute(db));
  },
  "20 workers at once lose no update": async () => {
    await manyAtOnce(20, 5, () =>
      db.transaction().execute(async (trx) => {
        const query = trx.selectFrom("kys_items").selectAll().where("name", "=", "worker").forUpdate();
        const { stock } = await query.executeTakeFirstOrThrow();
        await trx
          .updateTable("kys_items")
          .set({ stock: stock + 1 })
          .where("name", "=", "worker")
          .execute();
      }),
    );
    assert.equal(await stockOf("worker"), 100);
  },
};

await runChecks(checks, () => db.destroy());
