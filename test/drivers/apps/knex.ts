/** An application on Knex: its schema builder and migrations, transactions, streams. */
import assert from "node:assert/strict";
import knexModule, { type Knex } from "knex";
import { type Checks, databaseUrl, failsWith, manyAtOnce, runChecks } from "./checks.ts";

const knex = knexModule.default({
  client: "pg",
  connection: databaseUrl(),
  pool: { min: 0, max: 20 },
});

/** Migrations in the program rather than in files. */
class Migrations implements Knex.MigrationSource<string> {
  async getMigrations(): Promise<string[]> {
    return ["1_items", "2_stock"];
  }
  getMigrationName(name: string): string {
    return name;
  }
  async getMigration(name: string): Promise<Knex.Migration> {
    if (name === "1_items") {
      return {
        up: (db) =>
          db.schema.createTable("knex_items", (table) => {
            table.increments("id");
            table.string("name").unique().notNullable();
            table.jsonb("data");
          }),
        down: (db) => db.schema.dropTable("knex_items"),
      };
    }
    return {
      up: (db) => db.schema.alterTable("knex_items", (table) => table.integer("stock").defaultTo(0)),
      down: (db) => db.schema.alterTable("knex_items", (table) => table.dropColumn("stock")),
    };
  }
}

const migrationSource = new Migrations();
const items = () => knex("knex_items");
const stockOf = async (name: string): Promise<unknown> => (await items().where({ name }).first())?.stock;

const checks: Checks = {
  "migrations run, and run back": async () => {
    const [, ran] = await knex.migrate.latest({ migrationSource });
    assert.deepEqual(ran, ["1_items", "2_stock"]);
    await knex.migrate.rollback({ migrationSource });
    assert.equal(await knex.schema.hasTable("knex_items"), false);
    await knex.migrate.latest({ migrationSource });
    assert.equal(await knex.schema.hasColumn("knex_items", "stock"), true);
  },
  "rows are inserted and found": async () => {
    const made = await items().insert([{ name: "nail", data: { a: 1 } }, { name: "saw" }], ["id"]);
    assert.equal(made.length, 2);
    for (let i = 0; i < 8; i += 1)
      assert.deepEqual((await items().where({ name: "nail" }).first())?.data, { a: 1 });
  },
  upsert: async () => {
    await items().insert({ name: "nail", stock: 7 }).onConflict("name").merge(["stock"]);
    assert.equal(await stockOf("nail"), 7);
  },
  "a transaction commits, another rolls back": async () => {
    await knex.transaction((trx) => trx("knex_items").where({ name: "saw" }).update({ stock: 1 }));
    const failed = knex.transaction(async (trx) => {
      await trx("knex_items").update({ stock: 99 });
      await trx.raw("SELECT 1/0");
    });
    await failsWith("22012", failed);
    assert.equal(await stockOf("saw"), 1);
  },
  "a nested transaction is a savepoint": async () => {
    await knex.transaction(async (trx) => {
      await failsWith(
        "23505",
        trx.transaction((inner) => inner("knex_items").insert({ name: "nail" })),
      );
      await trx("knex_items").where({ name: "saw" }).update({ stock: 2 });
    });
    assert.equal(await stockOf("saw"), 2);
  },
  "a transaction of isolation and read only": async () => {
    const trx = await knex.transaction(null as never, { isolationLevel: "serializable", readOnly: true });
    const { rows } = await trx.raw("SHOW transaction_isolation");
    assert.equal(rows[0].transaction_isolation, "serializable");
    await failsWith("25006", trx("knex_items").update({ stock: 1 }));
    await trx.rollback();
  },
  "a stream reads all rows": async () => {
    let count = 0;
    for await (const _ of knex.select(knex.raw("generate_series(1, 5000) AS n")).stream()) count += 1;
    assert.equal(count, 5000);
  },
  "a timeout cancels the query": async () => {
    const slow = knex.raw("SELECT pg_sleep(30)").timeout(300, { cancel: true });
    await assert.rejects(Promise.resolve(slow), /timeout/i);
    await knex.raw("SELECT 1");
  },
  "a searchPath of its sessions": async () => {
    await knex.raw("CREATE SCHEMA knex_other; CREATE TABLE knex_other.only_here AS SELECT 7 AS n");
    const other = knexModule.default({ client: "pg", connection: databaseUrl(), searchPath: ["knex_other"] });
    try {
      await manyAtOnce(4, 5, async () => {
        assert.equal((await other("only_here").first()).n, 7);
        await failsWith("42P01", knex("only_here").first());
      });
    } finally {
      await other.destroy();
    }
  },
  "errors have their SQLSTATE": async () => {
    const error = await failsWith("23505", items().insert({ name: "nail" }));
    assert.equal(error["constraint"], "knex_items_name_unique");
    await failsWith("42P01", knex("nowhere").first());
  },
  "20 workers at once lose no update": async () => {
    await items().insert({ name: "worker" });
    await manyAtOnce(20, 5, () =>
      knex.transaction(async (trx) => {
        const row = await trx("knex_items").where({ name: "worker" }).forUpdate().first();
        await trx("knex_items")
          .where({ name: "worker" })
          .update({ stock: row.stock + 1 });
      }),
    );
    assert.equal(await stockOf("worker"), 100);
  },
};

await runChecks(checks, () => knex.destroy());
