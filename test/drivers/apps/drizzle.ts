/** An application on Drizzle, on node-postgres and on postgres.js, with its migrator. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { migrate } from "drizzle-orm/node-postgres/migrator";
import { integer, jsonb, pgTable, serial, text, timestamp } from "drizzle-orm/pg-core";
import { drizzle as drizzleJs } from "drizzle-orm/postgres-js";
import pg from "pg";
import postgres from "postgres";
import { type Checks, databaseUrl, failsWith, manyAtOnce, runChecks } from "./checks.ts";

const items = pgTable("drz_items", {
  id: serial("id").primaryKey(),
  name: text("name").notNull().unique(),
  stock: integer("stock").notNull().default(0),
  tags: text("tags").array(),
  data: jsonb("data"),
  at: timestamp("at", { withTimezone: true }).notNull().defaultNow(),
});

const pool = new pg.Pool({ connectionString: databaseUrl(), max: 20 });
const db = drizzle(pool);
const js = postgres(databaseUrl(), { max: 10, onnotice: () => {} });
const dbJs = drizzleJs(js);

/** A folder as drizzle-kit makes it. */
async function withMigrations(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "pgxa-drizzle-"));
  const entries = ["0000_items", "0001_at"].map((tag, idx) => ({
    idx,
    version: "7",
    when: idx + 1,
    tag,
    breakpoints: true,
  }));
  mkdirSync(join(folder, "meta"));
  writeFileSync(
    join(folder, "meta/_journal.json"),
    JSON.stringify({ version: "7", dialect: "postgresql", entries }),
  );
  writeFileSync(
    join(folder, "0000_items.sql"),
    `CREATE TABLE drz_items (id serial PRIMARY KEY, name text NOT NULL UNIQUE, stock integer NOT NULL DEFAULT 0);
--> statement-breakpoint
ALTER TABLE drz_items ADD COLUMN tags text[], ADD COLUMN data jsonb;`,
  );
  writeFileSync(
    join(folder, "0001_at.sql"),
    "ALTER TABLE drz_items ADD COLUMN at timestamptz NOT NULL DEFAULT now();",
  );
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const stockOf = async (name: string): Promise<number | undefined> =>
  (await db.select().from(items).where(eq(items.name, name)))[0]?.stock;

const checks: Checks = {
  "migrations run once": () =>
    withMigrations(async (migrationsFolder) => {
      await migrate(db, { migrationsFolder });
      await migrate(db, { migrationsFolder });
    }),
  "rows are inserted and found": async () => {
    const made = await db
      .insert(items)
      .values({ name: "nail", tags: ["a", "ä"], data: { a: 1 } })
      .returning();
    assert.deepEqual([made[0]?.tags, made[0]?.data], [["a", "ä"], { a: 1 }]);
    assert.ok(made[0]?.at instanceof Date);
    await db.insert(items).values([{ name: "saw" }, { name: "worker" }]);
  },
  upsert: async () => {
    await db
      .insert(items)
      .values({ name: "nail", stock: 7 })
      .onConflictDoUpdate({ target: items.name, set: { stock: 7 } });
    assert.equal(await stockOf("nail"), 7);
  },
  "prepared queries repeat over a pool": async () => {
    const byName = db
      .select()
      .from(items)
      .where(eq(items.name, sql.placeholder("name")))
      .prepare("drz_by_name");
    await manyAtOnce(20, 5, async () => {
      assert.equal((await byName.execute({ name: "nail" }))[0]?.stock, 7);
    });
  },
  "a transaction commits, another rolls back": async () => {
    await db.transaction((tx) => tx.update(items).set({ stock: 1 }).where(eq(items.name, "saw")));
    const failed = db.transaction(async (tx) => {
      await tx.update(items).set({ stock: 99 });
      await tx.execute(sql`SELECT 1/0`);
    });
    await failsWith("22012", failed);
    assert.equal(await stockOf("saw"), 1);
  },
  "a nested transaction is a savepoint": async () => {
    await db.transaction(async (tx) => {
      await failsWith(
        "23505",
        tx.transaction((inner) => inner.insert(items).values({ name: "nail" })),
      );
      await tx.update(items).set({ stock: 2 }).where(eq(items.name, "saw"));
    });
    assert.equal(await stockOf("saw"), 2);
  },
  "an isolation level, read only": async () => {
    const config = { isolationLevel: "serializable", accessMode: "read only", deferrable: true } as const;
    await failsWith(
      "25006",
      db.transaction((tx) => tx.update(items).set({ stock: 3 }), config),
    );
  },
  "on postgres.js: rows and transactions": async () => {
    const found = await dbJs.select().from(items).where(eq(items.name, "nail"));
    assert.deepEqual(found[0]?.data, { a: 1 });
    await failsWith(
      "23505",
      dbJs.transaction(async (tx) => {
        await tx.update(items).set({ stock: 55 });
        await tx.insert(items).values({ name: "nail" });
      }),
    );
    assert.equal(await stockOf("nail"), 7);
  },
  "errors have their SQLSTATE": async () => {
    await failsWith("23505", db.insert(items).values({ name: "nail" }));
    await failsWith("42P01", db.execute(sql`SELECT * FROM nowhere`));
  },
  "20 workers at once lose no update": async () => {
    await manyAtOnce(20, 5, () =>
      db.transaction(async (tx) => {
        const [row] = await tx.select().from(items).where(eq(items.name, "worker")).for("update");
        await tx
          .update(items)
          .set({ stock: row!.stock + 1 })
          .where(eq(items.name, "worker"));
      }),
    );
    assert.equal(await stockOf("worker"), 100);
  },
};

await runChecks(checks, () => Promise.all([pool.end(), js.end({ timeout: 1 })]));
