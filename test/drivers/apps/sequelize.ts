/** An application on Sequelize, which sets up each of its sessions by SET before it uses it. */
import assert from "node:assert/strict";
import { DataTypes, QueryTypes, Sequelize, Transaction } from "sequelize";
import { type Checks, databaseUrl, failsWith, manyAtOnce, runChecks } from "./checks.ts";

const options = { dialect: "postgres", logging: false, pool: { max: 20 } } as const;
const sequelize = new Sequelize(databaseUrl(), options);

const Customer = sequelize.define("customer", {
  name: { type: DataTypes.STRING, unique: true },
  balance: { type: DataTypes.INTEGER, defaultValue: 0 },
  mood: DataTypes.ENUM("glad", "sad"),
  tags: DataTypes.ARRAY(DataTypes.TEXT),
  data: DataTypes.JSONB,
});
const Order = sequelize.define("order", { amount: DataTypes.DECIMAL(10, 2) });
Customer.hasMany(Order);
Order.belongsTo(Customer);

const named = (name: string) => ({ name, mood: "glad", tags: ["a"], data: { a: 1 } });
const balanceOf = async (name: string): Promise<unknown> =>
  (await Customer.findOne({ where: { name } }))?.get("balance");

const checks: Checks = {
  "sync makes the tables, and alters them": async () => {
    await sequelize.authenticate();
    await sequelize.sync({ force: true });
    await sequelize.sync({ alter: true });
  },
  "the query interface alters a table": async () => {
    const schema = sequelize.getQueryInterface();
    await schema.addColumn("customers", "late", { type: DataTypes.INTEGER, defaultValue: 3 });
    await schema.addIndex("customers", ["balance"]);
    assert.ok("late" in (await schema.describeTable("customers")));
    await schema.removeColumn("customers", "late");
  },
  "rows are made and found with their relations": async () => {
    const ann = await Customer.create(named("ann"));
    await Order.bulkCreate([1, 2].map((amount) => ({ amount, customerId: ann.get("id") })));
    const found = await Customer.findOne({
      where: { name: "ann" },
      include: [Order],
      order: [[Order, "id", "ASC"]],
    });
    const { tags, data, mood, orders } = found!.toJSON();
    assert.deepEqual([tags, data, mood], [["a"], { a: 1 }, "glad"]);
    assert.deepEqual(
      orders.map(({ amount }: { amount: string }) => amount),
      ["1.00", "2.00"],
    );
  },
  "findOrCreate, which makes a temporary function": async () => {
    const [, isMade] = await Customer.findOrCreate({ where: { name: "finn" }, defaults: named("finn") });
    const [, isMadeAgain] = await Customer.findOrCreate({ where: { name: "finn" }, defaults: named("finn") });
    assert.deepEqual([isMade, isMadeAgain], [true, false]);
  },
  upsert: async () => {
    await Customer.upsert({ ...named("ann"), balance: 77 }, { conflictFields: ["name"] });
    assert.equal(await balanceOf("ann"), 77);
  },
  "bind parameters and replacements": async () => {
    for (let i = 0; i < 8; i += 1) {
      const [row] = await sequelize.query<{ n: number }>("SELECT $1::int AS n", {
        bind: [i],
        type: QueryTypes.SELECT,
      });
      assert.equal(row?.n, i);
    }
    const [row] = await sequelize.query<{ t: string }>("SELECT :t AS t", {
      replacements: { t: "it's" },
      type: QueryTypes.SELECT,
    });
    assert.equal(row?.t, "it's");
  },
  "a transaction commits, another rolls back": async () => {
    await sequelize.transaction((transaction) => Customer.create(named("bob"), { transaction }));
    const failed = sequelize.transaction(async (transaction) => {
      await Customer.create(named("eve"), { transaction });
      await sequelize.query("SELECT 1/0", { transaction });
    });
    await failsWith("22012", failed);
    assert.deepEqual([await balanceOf("bob"), await balanceOf("eve")], [0, undefined]);
  },
  "a nested transaction is a savepoint": async () => {
    await sequelize.transaction(async (transaction) => {
      await Customer.create(named("carl"), { transaction });
      const inner = sequelize.transaction({ transaction }, (nested) =>
        Customer.create(named("carl"), { transaction: nested }),
      );
      await failsWith("23505", inner);
      await Customer.update({ balance: 5 }, { where: { name: "carl" }, transaction });
    });
    assert.equal(await balanceOf("carl"), 5);
  },
  "an isolation level": () =>
    sequelize.transaction(
      { isolationLevel: Transaction.ISOLATION_LEVELS.SERIALIZABLE },
      async (transaction) => {
        const [rows] = await sequelize.query("SELECT current_setting('transaction_isolation') AS level", {
          transaction,
        });
        assert.deepEqual(rows, [{ level: "serializable" }]);
      },
    ),
  "the time zone of its sessions": async () => {
    const tokyo = new Sequelize(databaseUrl(), { ...options, timezone: "+09:00" });
    const zoneOf = async (one: Sequelize): Promise<unknown> =>
      (await one.query("SELECT now()::text AS t"))[0];
    try {
      for (let i = 0; i < 5; i += 1) {
        assert.match(JSON.stringify(await zoneOf(tokyo)), /\+09"/);
        assert.match(JSON.stringify(await zoneOf(sequelize)), /\+00"/);
      }
    } finally {
      await tokyo.close();
    }
  },
  "errors have their SQLSTATE": async () => {
    await failsWith("23505", Customer.create(named("ann")));
    await failsWith("42P01", sequelize.query("SELECT * FROM nowhere"));
  },
  "20 workers at once lose no update": async () => {
    await Customer.create(named("worker"));
    await manyAtOnce(20, 5, () =>
      sequelize.transaction(async (transaction) => {
        const found = await Customer.findOne({ where: { name: "worker" }, lock: true, transaction });
        await found!.update({ balance: Number(found!.get("balance")) + 1 }, { transaction });
      }),
    );
    assert.equal(await balanceOf("worker"), 100);
  },
};

await runChecks(checks, () => sequelize.close());
