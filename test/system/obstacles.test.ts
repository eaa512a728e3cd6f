/** What makes PREPARE TRANSACTION impossible is refused in time, with either decision log. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import type pg from "pg";
import type { NoticeMessage } from "pg-protocol/dist/messages.js";
import { Stage } from "./stage.ts";

const TIMEOUT = { timeout: 60_000 };
const UNPREPARABLE = { code: "0A000", message: /could not be committed on several shards/ };
const ON_SHARDS = { log: "shard", log_directory: undefined };

let stage: Stage;
const clients: pg.Client[] = [];

before(async () => {
  stage = await Stage.open({ isOpen: false });
});
after(() => stage.stop());
// A client that a failed test left in a transaction would keep others waiting.
afterEach(() => Promise.all(clients.splice(0).map((client) => client.end())));

async function connect(options: pg.ClientConfig = {}): Promise<pg.Client> {
  const client = await stage.connect(options);
  clients.push(client);
  return client;
}

const on = (shard: 0 | 1, sql: string): string => `/* pgxa: shard=${stage.shards[shard]!.id} */ ${sql}`;
/** A write on a shard. */
const pay = (shard: 0 | 1): string =>
  `UPDATE accounts SET balance = balance + 1 WHERE id = ${stage.accounts[shard]![0]}`;
const balances = async (): Promise<readonly number[]> => {
  const rows = await Promise.all(
    [0, 1].map(async (i) => {
      const shards = await stage.onShards<{ balance: string }>("SELECT balance FROM accounts WHERE id = $1", [
        stage.accounts[i]![0],
      ]);
      return Number(shards[i]![0]!.balance);
    }),
  );
  return rows;
};

/** Whether the client's statements all succeed; the change of both balances. */
async function change(client: pg.Client, statements: readonly string[]): Promise<readonly number[]> {
  const old = await balances();
  for (const sql of statements) await client.query(sql);
  return (await balances()).map((balance, i) => balance - old[i]!);
}

const OBSTACLES: Readonly<Record<string, (shard: 0 | 1) => string>> = {
  "a temporary table": (shard) => on(shard, "CREATE TEMP TABLE made (a int) ON COMMIT DROP"),
  "a cursor WITH HOLD": (shard) => on(shard, "DECLARE held CURSOR WITH HOLD FOR SELECT * FROM accounts"),
  NOTIFY: (shard) => on(shard, "NOTIFY news"),
  "pg_notify()": (shard) => on(shard, "SELECT pg_notify('news', 'x')"),
  LISTEN: (shard) => on(shard, "LISTEN news"),
  "an exported snapshot": (shard) => on(shard, "SELECT pg_export_snapshot()"),
};

describe("with the log of files", () => {
  before(() => stage.openProxy());
  after(() => stage.closeProxy());

  for (const [name, statement] of Object.entries(OBSTACLES)) {
    test(
      `${name} is refused at once where there are two writers, and nothing of it reaches the shard`,
      TIMEOUT,
      async () => {
        const client = await connect();
        for (const sql of ["BEGIN", pay(0), pay(1), "SAVEPOINT s"]) await client.query(sql);
        await assert.rejects(client.query(statement(0)), UNPREPARABLE);
        await assert.rejects(client.query("SELECT 1"), { code: "25P02" });
        assert.deepEqual(await change(client, ["ROLLBACK TO s", "COMMIT"]), [1, 1]);
      },
    );

    test(`after ${name} the second writer is refused`, TIMEOUT, async () => {
      const client = await connect();
      for (const sql of ["BEGIN", pay(0), statement(0), "SAVEPOINT s"]) await client.query(sql);
      await assert.rejects(client.query(pay(1)), UNPREPARABLE);
      assert.deepEqual(await change(client, ["ROLLBACK TO s", "COMMIT"]), [1, 0]);
    });
  }

  test("the refusal says what was done where, what was to be done, and what can be done about it", async () => {
    const client = await connect();
    for (const sql of ["BEGIN", OBSTACLES.NOTIFY!(0)]) await client.query(sql);
    await assert.rejects(client.query(pay(1)), {
      code: "0A000",
      detail:
        /has executed NOTIFY news on shard "east"; with this .* written on shard "north".*PREPARE TRANSACTION/,
      hint: /in a transaction of its own, or set transaction.log to shard/,
    });
    await client.query("ROLLBACK");
    for (const sql of ["BEGIN", pay(0), pay(1)]) await client.query(sql);
    await assert.rejects(client.query(on(0, "CREATE TEMP TABLE made (a int)")), {
      detail: /has written on shard "north"; with this .* made the temporary object "made" on shard "east"/,
    });
    await client.query("ROLLBACK");
  });

  test("a transaction whose obstacle is on a shard that it only reads from elsewhere is none", async () => {
    const client = await connect();
    const read = `SELECT * FROM accounts WHERE id = ${stage.accounts[1]![0]}`;
    const statements = [
      "BEGIN",
      `DECLARE c CURSOR WITH HOLD FOR ${read}`,
      pay(0),
      "COMMIT",
      on(1, "CLOSE c"),
    ];
    assert.deepEqual(await change(client, statements), [1, 0]);
  });

  test("SET makes no writer of a shard", async () => {
    const client = await connect();
    const read = `SELECT * FROM accounts WHERE id = ${stage.accounts[1]![0]}`;
    const statements = ["BEGIN", read, "SET LOCAL work_mem = '1MB'", pay(0), on(0, "NOTIFY news"), "COMMIT"];
    assert.deepEqual(await change(client, statements), [1, 0]);
  });

  test("a write of a reference table is a write on every shard", async () => {
    const client = await connect();
    for (const sql of ["BEGIN", on(0, "NOTIFY news")]) await client.query(sql);
    await assert.rejects(client.query("UPDATE currencies SET name = name"), {
      ...UNPREPARABLE,
      detail: /written on every shard/,
    });
    await client.query("ROLLBACK");
  });

  test(
    "the client's temporary tables are known by their names, until they are dropped",
    TIMEOUT,
    async () => {
      const client = await connect();
      const use = (sql: string) => on(0, sql);
      await client.query(use("CREATE TEMP TABLE drafts (a int)"));
      await client.query("BEGIN");
      await client.query(use("CREATE TEMP TABLE undone (a int)"));
      await client.query("ROLLBACK");
      assert.deepEqual(await change(client, ["BEGIN", pay(0), pay(1), "COMMIT"]), [1, 1], "it is not used");
      for (const how of [use("SELECT * FROM drafts"), use("INSERT INTO pg_temp.drafts VALUES (1)")]) {
        for (const sql of ["BEGIN", pay(0), pay(1), "SAVEPOINT s"]) await client.query(sql);
        await assert.rejects(client.query(how), UNPREPARABLE);
        await client.query("ROLLBACK TO s");
        await assert.rejects(client.query(how, []), UNPREPARABLE, "extended");
        await client.query("ROLLBACK TO s");
        await assert.rejects(client.query({ text: how, name: `named ${how.length}` }), UNPREPARABLE);
        await client.query("ROLLBACK TO s");
        await client.query(`SET pgxa.shard = '${stage.shards[0]!.id}'`);
        await assert.rejects(client.query("PREPARE p AS SELECT * FROM drafts"), UNPREPARABLE);
        const end = ["ROLLBACK TO s", "RESET pgxa.shard", "COMMIT"];
        assert.deepEqual(await change(client, end), [1, 1], "the shard saw nothing of it");
      }
      await client.query(use("DROP TABLE drafts"));
      await client.query(use("CREATE TABLE drafts (a int)"));
      await client.query(use("CREATE TABLE undone (a int)"));
      const statements = [use("INSERT INTO drafts VALUES (1)"), use("INSERT INTO undone VALUES (1)")];
      assert.deepEqual(await change(client, ["BEGIN", pay(0), pay(1), ...statements, "COMMIT"]), [1, 1]);
      await client.query(use("DROP TABLE drafts, undone"));
    },
  );

  test("in the extended protocol the statement is refused when it is executed", TIMEOUT, async () => {
    const client = await connect();
    for (const sql of ["BEGIN", pay(0), pay(1), "SAVEPOINT s"]) await client.query(sql);
    for (const query of [{ text: on(0, "NOTIFY news") }, { text: on(0, "NOTIFY news"), name: "n" }]) {
      await assert.rejects(client.query({ ...query, values: [] }), UNPREPARABLE);
      await client.query("ROLLBACK TO s");
    }
    assert.deepEqual(await change(client, ["COMMIT"]), [1, 1]);
    for (const sql of ["BEGIN", on(0, "NOTIFY news")]) await client.query({ text: sql, values: [] });
    const write = {
      text: "UPDATE accounts SET balance = $2 WHERE id = $1",
      values: [stage.accounts[1]![0], 7],
    };
    await assert.rejects(client.query(write), UNPREPARABLE);
    await client.query("ROLLBACK");
  });

  test(
    "several statements in one query are judged together, and EXECUTE by what it executes",
    TIMEOUT,
    async () => {
      const client = await connect();
      for (const sql of ["BEGIN", pay(0), "SAVEPOINT s"]) await client.query(sql);
      await assert.rejects(client.query(on(1, `NOTIFY news; ${pay(1)}`)), UNPREPARABLE);
      await client.query("ROLLBACK TO s");
      await client.query(on(1, `DECLARE c CURSOR WITH HOLD FOR SELECT 1; CLOSE c; ${pay(1)}`));
      await client.query("PREPARE n AS SELECT pg_notify('news', $1)");
      await assert.rejects(client.query("EXECUTE n ('x')"), UNPREPARABLE);
      assert.deepEqual(await change(client, ["ROLLBACK TO s", "COMMIT"]), [1, 0]);
    },
  );

  test(
    "what the text does not show the shard refuses at COMMIT, and everything rolls back",
    TIMEOUT,
    async () => {
      await stage.onShards(
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NOTIFY loud; RETURN new; END $$",
      );
      await stage.onShards(
        "CREATE TRIGGER t AFTER INSERT ON transfers FOR EACH ROW EXECUTE FUNCTION shout()",
      );
      const client = await connect();
      const old = await balances();
      const insert = `INSERT INTO transfers (account_id, id, amount) VALUES (${stage.accounts[0]![0]}, 1, 1)`;
      for (const sql of ["BEGIN", insert, pay(1)]) await client.query(sql);
      await assert.rejects(client.query("COMMIT"), { code: "0A000", message: /LISTEN, UNLISTEN, or NOTIFY/ });
      assert.deepEqual(await balances(), old);
      await stage.onShards("DROP FUNCTION shout CASCADE");
    },
  );

  test(
    "on_unpreparable: warn warns, once and live, and COMMIT fails as Postgres has it",
    TIMEOUT,
    async () => {
      const client = await connect();
      const warnings: NoticeMessage[] = [];
      const settled = (sql: string, values?: unknown[]) =>
        client.query(values === undefined ? sql : { text: sql, values });
      client.on("notice", (notice: unknown) => warnings.push(notice as NoticeMessage));
      stage.writeConfig({
        transaction: { log_directory: `${stage.home}/decisions`, on_unpreparable: "warn" },
      });
      const operator = await connect({ database: "pgxa" });
      await operator.query("RELOAD");
      for (const values of [undefined, []]) {
        const old = await balances();
        warnings.length = 0;
        for (const sql of ["BEGIN", on(0, "NOTIFY news"), pay(0), pay(1), pay(1)]) await settled(sql, values);
        assert.deepEqual(
          warnings.map(({ severity, code, hint }) => [severity, code, hint !== undefined]),
          [["WARNING", "01000", true]],
        );
        await assert.rejects(settled("COMMIT", values), { code: "0A000", message: /^cannot PREPARE/ });
        assert.deepEqual(await balances(), old);
      }
      await settled("BEGIN");
      await settled(on(0, "NOTIFY news"));
      warnings.length = 0;
      await settled("UPDATE currencies SET name = name", []);
      assert.equal(warnings.length, 1);
      await settled("ROLLBACK");
      await operator.query("SET transaction.on_unpreparable = 'refuse'");
      for (const sql of ["BEGIN", pay(0), on(0, "NOTIFY news")]) await settled(sql);
      await assert.rejects(settled(pay(1)), UNPREPARABLE);
      await settled("ROLLBACK");
    },
  );
});

describe("with the log on the shards", () => {
  before(() => stage.openProxy({ transaction: ON_SHARDS }));
  after(() => stage.closeProxy());

  for (const [name, statement] of Object.entries(OBSTACLES)) {
    for (const shard of [0, 1] as const) {
      test(
        `${name} on ${shard === 0 ? "the first" : "the second"} shard makes it the anchor`,
        TIMEOUT,
        async () => {
          const orders = [
            [statement(shard), pay(1), pay(0)],
            [pay(0), pay(1), statement(shard)],
          ];
          for (const order of orders) {
            const client = await connect();
            assert.deepEqual(await change(client, ["BEGIN", ...order, "COMMIT"]), [1, 1]);
          }
        },
      );
    }

    test(`${name} on a second shard is refused`, TIMEOUT, async () => {
      const client = await connect();
      for (const sql of ["BEGIN", pay(0), on(1, "NOTIFY news"), "SAVEPOINT s"]) await client.query(sql);
      await assert.rejects(client.query(statement(0)), {
        ...UNPREPARABLE,
        detail: /has executed NOTIFY news on shard "north"; with this .* on shard "east".*but one/s,
      });
      assert.deepEqual(await change(client, ["ROLLBACK TO s", "COMMIT"]), [1, 0]);
    });
  }

  test(
    "what a transaction over two shards notifies comes once it is decided, and what it holds stays",
    TIMEOUT,
    async () => {
      const client = await connect();
      const listener = await connect();
      const heard = new Promise((resolve) => listener.on("notification", ({ payload }) => resolve(payload)));
      await listener.query("LISTEN news");
      await client.query(on(0, "CREATE TEMP TABLE drafts (a int)"));
      const statements = [
        "BEGIN",
        on(0, "INSERT INTO drafts VALUES (42)"),
        on(0, "DECLARE held CURSOR WITH HOLD FOR SELECT a FROM drafts"),
        on(0, "NOTIFY news, 'decided'"),
        pay(0),
        pay(1),
        "COMMIT",
      ];
      assert.deepEqual(await change(client, statements), [1, 1]);
      assert.equal(await heard, "decided");
      assert.deepEqual((await client.query(on(0, "FETCH held"))).rows, [{ a: 42 }]);
      assert.deepEqual((await client.query(on(0, "SELECT a FROM drafts"))).rows, [{ a: 42 }]);
    },
  );

  test("a cursor WITH HOLD whose query fails at COMMIT rolls everything back", TIMEOUT, async () => {
    const client = await connect();
    const old = await balances();
    const cursor = on(0, "DECLARE held CURSOR WITH HOLD FOR SELECT 1 / (balance - balance) FROM accounts");
    for (const sql of ["BEGIN", pay(0), cursor, pay(1)]) await client.query(sql);
    await assert.rejects(client.query("COMMIT"), { code: "22012" });
    assert.deepEqual(await balances(), old);
  });
});
