/** An application on TypeORM: entities, migrations, its query builder and its streams. */
import "reflect-metadata";
import assert from "node:assert/strict";
import { DataSource, EntitySchema, type MigrationInterface, type QueryRunner } from "typeorm";
import { type Checks, databaseUrl, failsWith, manyAtOnce, runChecks } from "./checks.ts";

interface Customer {
  id?: number;
  name: string;
  balance: number;
  tags: string[] | null;
  data: object | null;
  createdAt?: Date;
  orders?: Order[];
}

interface Order {
  id?: string;
  amount: number;
  customer: Customer;
}

const customers = new EntitySchema<Customer>({
  name: "Customer",
  tableName: "torm_customers",
  columns: {
    id: { type: "int", primary: true, generated: "increment" },
    name: { type: "varchar", unique: true },
    balance: { type: "int", default: 0 },
    tags: { type: "text", array: true, nullable: true },
    data: { type: "jsonb", nullable: true },
    createdAt: { type: "timestamptz", createDate: true },
  },
  relations: { orders: { type: "one-to-many", target: "Order", inverseSide: "customer" } },
});

const orders = new EntitySchema<Order>({
  name: "Order",
  tableName: "torm_orders",
  columns: {
    id: { type: "uuid", primary: true, generated: "uuid" },
    amount: { type: "int" },
  },
  relations: {
    customer: { type: "many-to-one", target: "Customer", inverseSide: "orders", onDelete: "CASCADE" },
  },
});

class AddNotes1700000000000 implements MigrationInterface {
  name = "AddNotes1700000000000";
  async up(runner: QueryRunner): Promise<void> {
    await runner.query("CREATE TABLE torm_notes (id serial PRIMARY KEY, body text NOT NULL)");
    await runner.query("ALTER TABLE torm_notes ADD COLUMN at timestamptz DEFAULT now()");
  }
  async down(runner: QueryRunner): Promise<void> {
    await runner.query("DROP TABLE torm_notes");
  }
}

const source = new DataSource({
  type: "postgres",
  url: databaseUrl(),
  entities: [customers, orders],
  migrations: [AddNotes1700000000000],
  poolSize: 20,
});

const named = (name: string): Customer => ({ name, balance: 10, tags: ["a", "ä"], data: { a: 1 } });

const checks: Checks = {
  "synchronize makes the tables": async () => {
    await source.initialize();
    await source.synchronize();
    await source.synchronize(); // finds them as they should be
  },
  "migrations run, and run back": async () => {
    assert.equal((await source.runMigrations()).length, 1);
    assert.equal((await source.runMigrations()).length, 0);
    await source.query("INSERT INTO torm_notes (body) VALUES ($1)", ["x"]);
    await source.undoLastMigration();
    await failsWith("42P01", source.query("SELECT * FROM torm_notes"));
  },
  "entities are saved and found with their relations": async () => {
    const ann = await source.getRepository(customers).save(named("ann"));
    await source.getRepository(orders).save([
      { amount: 1, customer: ann },
      { amount: 2, customer: ann },
    ]);
    const found = await source
      .getRepository(customers)
      .findOneOrFail({ where: { name: "ann" }, relations: { orders: true } });
    assert.deepEqual([found.tags, found.data, found.orders?.length], [["a", "ä"], { a: 1 }, 2]);
    assert.ok(found.createdAt instanceof Date);
  },
  "the query builder joins and counts": async () => {
    const [found, count] = await source
      .getRepository(customers)
      .createQueryBuilder("c")
      .leftJoinAndSelect("c.orders", "o")
      .where("c.name = :name AND o.amount > :least", { name: "ann", least: 1 })
      .getManyAndCount();
    assert.deepEqual([found[0]?.orders?.length, count], [1, 1]);
  },
  upsert: async () => {
    await source.getRepository(customers).upsert({ ...named("ann"), balance: 77 }, ["name"]);
    assert.equal((await source.getRepository(customers).findOneByOrFail({ name: "ann" })).balance, 77);
  },
  "a transaction commits, another rolls back": async () => {
    await source.transaction(async (manager) => {
      await manager.getRepository(customers).save(named("bob"));
    });
    const failed = source.transaction(async (manager) => {
      await manager.getRepository(customers).save(named("eve"));
      await manager.query("SELECT 1/0");
    });
    await failsWith("22012", failed);
    assert.equal(await source.getRepository(customers).countBy({ name: "bob" }), 1);
    assert.equal(await source.getRepository(customers).countBy({ name: "eve" }), 0);
  },
  "a nested transaction is a savepoint": async () => {
    await source.transaction(async (manager) => {
      await manager.getRepository(customers).save(named("carl"));
      const inner = manager.transaction((nested) => nested.getRepository(customers).insert(named("carl")));
      await failsWith("23505", inner);
      await manager.getRepository(customers).update({ name: "carl" }, { balance: 5 });
    });
    assert.equal((await source.getRepository(customers).findOneByOrFail({ name: "carl" })).balance, 5);
  },
  "an isolation level": () =>
    source.transaction("SERIALIZABLE", async (manager) => {
      const [row] = await manager.query("SHOW transaction_isolation");
      assert.equal(row.transaction_isolation, "serializable");
    }),
  "a stream reads all rows": async () => {
    const runner = source.createQueryRunner();
    try {
      let count = 0;
      for await (const _ of await runner.stream("SELECT generate_series(1, 5000) AS n")) count += 1;
      assert.equal(count, 5000);
    } finally {
      await runner.release();
    }
  },
  "errors have their SQLSTATE": async () => {
    await failsWith("23505", source.getRepository(customers).insert(named("ann")));
    await failsWith("42P01", source.query("SELECT * FROM nowhere"));
  },
  "20 workers at once lose no update": async () => {
    await source.getRepository(customers).save({ ...named("worker"), balance: 0 });
    await manyAtOnce(20, 5, () =>
      source.transaction(async (manager) => {
        const repository = manager.getRepository(customers);
        const found = await repository.findOneOrFail({
          where: { name: "worker" },
          lock: { mode: "pessimistic_write" },
        });
        await repository.update(found.id!, { balance: found.balance + 1 });
      }),
    );
    assert.equal((await source.getRepository(customers).findOneByOrFail({ name: "worker" })).balance, 100);
  },
};

await runChecks(checks, () => source.destroy());
