/** SQL's PREPARE, EXECUTE and DEALLOCATE over several shards. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type pg from "pg";
import { bind, describeStatement, execute, parse, query, RawClient, sync, terminate } from "./rawClient.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 30_000 };

let stage: Stage;
let client: pg.Client;
let direct: pg.Client;
/** An account of each shard. */
let east: number;
let north: number;

before(async () => {
  stage = await Stage.open();
  [east, north] = stage.accounts.map((ids) => ids[0]!) as [number, number];
});
after(() => stage?.stop());
beforeEach(async () => {
  client = await stage.connect();
  direct = await stage.shards[0]!.connect();
});
afterEach(async () => {
  await client.end();
  await direct.end();
});

type Mode = "simple" | "extended";
const rows = async (text: string, mode: Mode = "simple"): Promise<unknown[]> =>
  (await client.query({ text, rowMode: "array", ...(mode === "extended" ? { queryMode: mode } : {}) })).rows;
const only = async (text: string, mode?: Mode): Promise<unknown> =>
  ((await rows(text, mode))[0] as unknown[] | undefined)?.[0];
const failsWith = (code: string, message: RegExp) => (error: pg.DatabaseError) => {
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  return true;
};
const ABSENT = failsWith("26000", /^prepared statement "q" does not exist$/);
const TAKEN = failsWith("42P05", /^prepared statement "q" already exists$/);

/** Runs the same texts on a shard itself: result, columns or error must be alike. */
async function assertAlike(...texts: readonly string[]): Promise<void> {
  const outcomes = (one: pg.Client) => async (text: string) => {
    try {
      const { command, rowCount, rows, fields } = await one.query({ text, rowMode: "array" });
      return { command, rowCount, rows, columns: fields.map((f) => [f.name, f.dataTypeID]) };
    } catch (error) {
      const { code, message, detail } = error as pg.DatabaseError;
      return { code, message, detail };
    }
  };
  for (const text of texts) {
    assert.deepEqual(await outcomes(client)(text), await outcomes(direct)(text), text);
  }
}

for (const mode of ["simple", "extended"] as const) {
  describe(`by the ${mode} protocol`, () => {
    test("EXECUTE goes where its arguments belong", WAIT, async () => {
      await rows("PREPARE q (int8) AS SELECT owner FROM accounts WHERE id = $1", mode);
      assert.equal(await only(`EXECUTE q (${east})`, mode), `owner ${east}`);
      assert.equal(await only(`EXECUTE q (${north})`, mode), `owner ${north}`);
      assert.equal(await only(`EXECUTE q ('${north}')`, mode), `owner ${north}`);
      await rows("PREPARE w AS UPDATE accounts SET balance = balance + $2 WHERE id = $1", mode);
      await rows("BEGIN", mode);
      await rows(`EXECUTE w (${east}, 5)`, mode);
      await rows(`EXECUTE w (${north}, -5)`, mode);
      await rows("COMMIT", mode);
      await rows("PREPARE b AS SELECT balance FROM accounts WHERE id = $1", mode);
      const balances = [await only(`EXECUTE b (${east})`, mode), await only(`EXECUTE b (${north})`, mode)];
      await rows(`EXECUTE w (${east}, -5)`, mode);
      await rows(`EXECUTE w (${north}, 5)`, mode);
      assert.deepEqual(balances, ["1005", "995"]);
    });

    test("writes of a reference table come to all shards", WAIT, async () => {
      await rows("PREPARE q AS INSERT INTO currencies VALUES ($1, $2)", mode);
      await rows("EXECUTE q ('CHF', 'Franken')", mode);
      assert.deepEqual(await stage.onShards("DELETE FROM currencies WHERE code = 'CHF' RETURNING name"), [
        [{ name: "Franken" }],
        [{ name: "Franken" }],
      ]);
    });

    test("names are taken, given back and unknown", WAIT, async () => {
      await assert.rejects(rows("EXECUTE q", mode), ABSENT);
      await rows("PREPARE q AS SELECT 1", mode);
      await assert.rejects(rows("PREPARE q AS SELECT 2", mode), TAKEN);
      assert.equal(await only("EXECUTE q", mode), 1);
      await rows("DEALLOCATE q", mode);
      await assert.rejects(rows("DEALLOCATE q", mode), ABSENT);
      await rows("PREPARE q AS SELECT 3", mode);
      assert.equal(await only("EXECUTE q", mode), 3);
      await rows("DEALLOCATE ALL", mode);
      await assert.rejects(rows("EXECUTE q", mode), ABSENT);
      await rows("PREPARE q AS SELECT 4", mode);
      await rows("DISCARD ALL", mode);
      await assert.rejects(rows("EXECUTE q", mode), ABSENT);
    });

    test("a transaction that fails refuses all of it, and keeps what was prepared", WAIT, async () => {
      await rows("BEGIN", mode);
      await rows("PREPARE q AS SELECT 1", mode);
      await assert.rejects(rows("PREPARE bad AS SELECT nothing", mode), { code: "42703" });
      for (const text of ["EXECUTE q", "PREPARE r AS SELECT 1", "DEALLOCATE q"])
        await assert.rejects(rows(text, mode), { code: "25P02" });
      await rows("ROLLBACK", mode);
      assert.equal(await only("EXECUTE q", mode), 1);
      await assert.rejects(rows("EXECUTE bad", mode), { code: "26000" });
    });
  });
}

describe("as in Postgres", () => {
  test("values, columns and types come out", WAIT, () =>
    assertAlike(
      "PREPARE a AS SELECT $1, $2::int, $1 AS named, coalesce($2, 0)",
      "EXECUTE a ('x', 5)",
      "EXECUTE a (5, '6')",
      "EXECUTE a (NULL, 1 + 1)",
      "PREPARE b (char(2), numeric(4, 1), varchar(1)) AS VALUES ($1, $2, $3)",
      "EXECUTE b ('abc', 12.345, 'xyz')",
      "PREPARE c (int, text[]) AS SELECT $1 + 1, $2",
      "EXECUTE c (1.7, ARRAY['a', 'b,c'])",
      "EXECUTE c (-1, '{x,y}')",
      "PREPARE d AS SELECT code, name FROM currencies ORDER BY 1 LIMIT $1",
      "EXECUTE d (1)",
      "PREPARE e (date) AS SELECT $1 = current_date, $1 UNION SELECT NULL, $1",
      "EXECUTE e (now())",
      "EXECUTE e ('2024-02-30')",
      "PREPARE f (int) AS SELECT 1",
      "EXECUTE f (7)",
      'PREPARE "g h" AS SELECT $1 || $2',
      "EXECUTE \"g h\" (E'it\\'s', $$,)$$)",
    ),
  );

  test("what is wrong is told", WAIT, () =>
    assertAlike(
      "PREPARE a AS SELECT nothing",
      "PREPARE a AS SELEC 1",
      "PREPARE a (nowhere) AS SELECT 1",
      "PREPARE a (int) AS SELECT $1",
      "EXECUTE a",
      "EXECUTE a (1, 2)",
      "EXECUTE a ('x')",
      "EXECUTE nothing (1)",
      "EXECUTE a (1/0)",
      "PREPARE a (int) AS SELECT nothing",
      "PREPARE a (int) AS SELECT 1",
    ),
  );

  test("Describe tells of the query's columns, and messages come in order", WAIT, async () => {
    const run = [bind("", []), execute(), sync()];
    const messages = [
      [query("PREPARE a (int) AS SELECT $1 AS x")],
      [parse("s", "EXECUTE a (5)"), describeStatement("s"), sync()],
      [bind("s", []), ...run.slice(1)],
      [parse("", "EXECUTE a (6)"), ...run],
      [parse("", "EXECUTE a"), sync()],
      [parse("", "EXECUTE a (1"), sync()],
      [parse("", "PREPARE a AS SELECT 1"), ...run],
      [parse("", "PREPARE b AS SELECT 1"), describeStatement(""), ...run],
      [query("DEALLOCATE b"), query("SELECT 1"), terminate()],
    ];
    const ports = [stage.port, stage.shards[0]!.port];
    const [mine, theirs] = await Promise.all(
      ports.map(async (port) => {
        const raw = await RawClient.login(port);
        for (const message of messages) raw.send(...message);
        return (await raw.untilClosed()).map((m) => m.type).join("");
      }),
    );
    assert.equal(mine, theirs);
  });
});

describe("the statements of the protocol", () => {
  test("share their names with SQL's", WAIT, async () => {
    await client.query({ name: "q", text: "SELECT owner FROM accounts WHERE id = $1", values: [east] });
    await assert.rejects(rows("PREPARE q AS SELECT 1"), TAKEN);
    assert.equal(await only(`EXECUTE q (${north})`), `owner ${north}`);
    assert.equal(await only(`EXECUTE q (${east})`, "extended"), `owner ${east}`);
    await rows("DEALLOCATE q");
    await assert.rejects(rows("EXECUTE q (1)"), ABSENT);
    await rows("DEALLOCATE ALL");
    await rows("PREPARE r AS SELECT 'sql'");
    await assert.rejects(client.query({ name: "r", text: "SELECT 1" }), { code: "42P05" });
  });

  test("may be executed in a batch of the protocol before anything is known of them", WAIT, async () => {
    await client.query({ name: "q", text: "SELECT $1::int + 1", values: [1] });
    assert.equal(await only("EXECUTE q (4)", "extended"), 5);
  });
});

test("a hint says where a statement goes, at PREPARE and at EXECUTE", WAIT, async () => {
  await rows("SET pgxa.shard = 'east'");
  await rows("PREPARE q AS SELECT count(*)::int + $1 FROM accounts");
  assert.equal(await only("EXECUTE q (0)"), stage.accounts[0]!.length);
  await rows("SET pgxa.shard = 'north'");
  assert.equal(await only("EXECUTE q (0)", "extended"), stage.accounts[1]!.length);
  await rows("RESET pgxa.shard");
  await assert.rejects(rows("EXECUTE q (0)"), { code: "0A000" });
});

test("what cannot be done right is refused, with advice", WAIT, async () => {
  await rows("PREPARE q (int8) AS SELECT owner FROM accounts WHERE id = $1");
  for (const text of [
    "EXECUTE q (random())",
    "EXECUTE q (id)",
    "EXPLAIN EXECUTE q (1)",
    "CREATE TABLE t AS EXECUTE q (1)",
    "PREPARE r AS SELECT * FROM accounts",
    "PREPARE r AS SELECT 1; EXECUTE r",
  ]) {
    await assert.rejects(rows(text), (error: pg.DatabaseError) => {
      assert.equal(error.code, "0A000", text);
      assert.ok(error.hint ?? error.detail, text);
      return true;
    });
  }
  await assert.rejects(rows("PREPARE pgxa_1 AS SELECT 1"), { code: "0A000" });
});

test("there are no more of them than the limit allows", WAIT, async () => {
  const limited = await Stage.open({ config: { limits: { statements_max: 1 } } });
  try {
    const one = await limited.connect();
    await one.query("PREPARE a AS SELECT 1");
    await assert.rejects(one.query("PREPARE b AS SELECT 1"), { code: "53400" });
    await one.query("DEALLOCATE a");
    await one.query("PREPARE b AS SELECT 1");
  } finally {
    await limited.stop();
  }
});

test("no connection is kept for them", WAIT, async () => {
  const small = await Stage.open({ config: { pool: { max: 1, checkout_timeout: "2s" } } });
  try {
    const [one, two] = [await small.connect(), await small.connect()];
    for (const [i, each] of [one, two].entries()) {
      await each.query(`PREPARE q AS SELECT ${i} + $1::int AS sum`);
      await each.query({ name: "n", text: "SELECT $1::int AS n", values: [1] });
    }
    for (const [i, each] of [one, two, one].entries()) {
      assert.deepEqual((await each.query("EXECUTE q (10)")).rows, [{ sum: 10 + (i % 2) }]);
      assert.deepEqual((await each.query("EXECUTE n (4)")).rows, [{ n: 4 }]);
      await assert.rejects(each.query("PREPARE bad AS SELECT nothing"));
    }
  } finally {
    await small.stop();
  }
});
