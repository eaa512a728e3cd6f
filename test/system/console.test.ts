/** The console as programs use it: psql, `pg` and psycopg2, and what it counts of a known load. */
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import type pg from "pg";
import { peerColumns } from "../admin/peerColumns.ts";
import { Stage } from "./stage.ts";

const LIMIT = { timeout: 120_000 };
let stage: Stage;

before(async () => {
  stage = await Stage.open({ shards: 1 });
});
after(() => stage?.stop());

type Shown = Readonly<Record<string, string | number | null>>;

/** What a command shows, over the simple protocol. */
async function show(command: string, database = "pgxa"): Promise<readonly Shown[]> {
  const client = await stage.connect({ database });
  try {
    return (await client.query<Shown>(command)).rows;
  } finally {
    await client.end();
  }
}

const totalsOf = async (database: string): Promise<Shown> =>
  (await show("SHOW STATS_TOTALS")).find((row) => row["database"] === database) ?? {};

/** How much each total has grown through `work`. */
async function grown(work: () => Promise<void>): Promise<Readonly<Record<string, number>>> {
  const before = await totalsOf("bank");
  await work();
  const after = await totalsOf("bank");
  return Object.fromEntries(
    Object.keys(after).map((name) => [name, Number(after[name]) - Number(before[name] ?? 0)]),
  );
}

describe("what is counted", () => {
  test("ten transactions of a BEGIN, three queries and a COMMIT", LIMIT, async () => {
    const counted = await grown(async () => {
      const client = await stage.connect();
      for (let i = 0; i < 10; i += 1) {
        await client.query("BEGIN");
        for (let j = 0; j < 3; j += 1) await client.query("SELECT 1");
        await client.query("COMMIT");
      }
      await client.end();
    });
    assert.equal(counted["xact_count"], 10);
    assert.equal(counted["query_count"], 50);
    assert.equal(counted["server_assignment_count"], 10);
    assert.equal(counted["client_login_count"], 1);
    assert.equal(counted["client_parse_count"], 0);
    assert.ok(counted["xact_time"]! >= counted["query_time"]! && counted["query_time"]! > 0);
    assert.ok(counted["bytes_received"]! > 500 && counted["bytes_sent"]! > 1_000);
  });

  test("prepared statements: parsed by the client once, bound each time", LIMIT, async () => {
    const counted = await grown(async () => {
      const client = await stage.connect();
      for (let i = 0; i < 5; i += 1) {
        await client.query({ name: "one", text: "SELECT $1::int AS n", values: [i] });
      }
      await client.end();
    });
    const { client_parse_count, server_parse_count, bind_count, xact_count, query_count } = counted;
    assert.deepEqual([client_parse_count, bind_count, xact_count, query_count], [1, 5, 5, 5]);
    assert.equal(server_parse_count, 1);
  });

  test("a query that failed counts, and so does its transaction when it ends", LIMIT, async () => {
    const counted = await grown(async () => {
      const client = await stage.connect();
      await client.query("BEGIN");
      await assert.rejects(client.query("SELECT 1/0"));
      await client.query("ROLLBACK");
      await client.end();
    });
    assert.deepEqual([counted["query_count"], counted["xact_count"]], [3, 1]);
  });
});

describe("what is shown", () => {
  test("a client in a transaction, and the connection it holds", LIMIT, async () => {
    const client = await stage.connect({ application_name: "shop" });
    await client.query("BEGIN");
    await client.query("SELECT 1");
    const mine = (await show("SHOW CLIENTS")).find((row) => row["application_name"] === "shop")!;
    assert.deepEqual([mine["state"], mine["database"], mine["type"]], ["active", "bank", "C"]);
    const [link] = (await show("SHOW SERVERS")).filter((row) => row["ptr"] === mine["link"]);
    assert.deepEqual([link!["state"], link!["link"]], ["active", mine["ptr"]]);
    const [pool] = (await show("SHOW POOLS")).filter((row) => row["database"] === "bank");
    assert.deepEqual([pool!["cl_active"], pool!["sv_active"], pool!["cl_waiting"]], [1, 1, 0]);
    const transactions = await show("SHOW TRANSACTIONS");
    assert.deepEqual(
      transactions.map(({ client: id, state, shards }) => [Number(id), state, shards]),
      [[Number(mine["id"]), "open", "east"]],
    );
    await client.query("COMMIT");
    assert.deepEqual(await show("SHOW TRANSACTIONS"), []);
    await client.end();
  });

  test("a client that waits for a connection, and for how long", LIMIT, async () => {
    const holders = await Promise.all(Array.from({ length: 20 }, () => stage.connect()));
    await Promise.all(holders.map((client) => client.query("BEGIN; SELECT 1")));
    const waiting = await stage.connect({ application_name: "late" });
    const answer = waiting.query("SELECT 1");
    const isWaiting = async (): Promise<boolean> =>
      (await show("SHOW CLIENTS")).some(
        (row) => row["application_name"] === "late" && row["state"] === "waiting",
      );
    while (!(await isWaiting())) await new Promise((resolve) => setImmediate(resolve));
    const [pool] = (await show("SHOW POOLS")).filter((row) => row["database"] === "bank");
    assert.deepEqual([pool!["cl_waiting"], pool!["sv_active"]], [1, 20]);
    assert.ok(Number(pool!["maxwait"]) * 1e6 + Number(pool!["maxwait_us"]) > 0);
    await Promise.all(holders.map((client) => client.query("COMMIT")));
    await answer;
    assert.equal(await isWaiting(), false);
    await Promise.all([...holders, waiting].map((client) => client.end()));
  });

  test("no secret of the configuration", LIMIT, async () => {
    const other = await Stage.open({
      shards: 1,
      config: {
        users: [
          { name: "postgres", password: "tell-nobody" },
          { name: "ann", password: "nor-this" },
        ],
      },
    });
    try {
      const client = await other.connect({ database: "pgxa", password: "tell-nobody" });
      const { rows } = await client.query<{ key: string; value: string }>("SHOW CONFIG");
      assert.equal(rows.find(({ key }) => key === "users[1].password")?.value, "(hidden)");
      assert.doesNotMatch(JSON.stringify(rows), /tell-nobody|nor-this/);
    } finally {
      await other.stop();
    }
  });

  for (const [command, columns] of Object.entries(peerColumns())) {
    test(`${command} with PgBouncer's columns, and of its types`, LIMIT, async () => {
      const client = await stage.connect({ database: "pgbouncer" });
      const { fields } = await client.query(command);
      assert.deepEqual(
        fields.map(({ name, dataTypeID }) => [name, dataTypeID]),
        columns,
      );
      await client.end();
    });
  }
});

describe("the extended protocol", () => {
  test("serves prepared commands, again and again, and empty ones", LIMIT, async () => {
    const client = await stage.connect({ database: "pgbouncer" });
    for (let i = 0; i < 3; i += 1) {
      const { rows } = await client.query({ name: "lists", text: "SHOW LISTS" });
      assert.equal(rows.length, 14);
    }
    assert.deepEqual((await client.query({ name: "nothing", text: "" })).rows, []);
    await client.end();
  });

  test("gives binary values to those who ask for them", LIMIT, async () => {
    const client = await stage.connect({ database: "pgbouncer" });
    const config = { text: "SHOW STATS_TOTALS", binary: true, name: "binary" } as pg.QueryConfig;
    const { rows } = await client.query<Shown>(config);
    const bank = rows.find((row) => row["database"] === "bank");
    assert.ok(Number(bank?.["client_login_count"]) > 0);
    await client.end();
  });

  test("refuses parameters, and goes on behind the Sync", LIMIT, async () => {
    const client = await stage.connect({ database: "pgbouncer" });
    await assert.rejects(client.query("SHOW STATS", ["x"]), { code: "08P01" });
    await assert.rejects(client.query({ name: "no", text: "SHOW NOTHING" }), { code: "42601" });
    assert.equal((await client.query("SHOW VERSION")).rows.length, 1);
    await client.end();
  });
});

describe("transaction blocks that drivers begin", () => {
  test("fail with a command that failed, until ROLLBACK", LIMIT, async () => {
    const client = await stage.connect({ database: "pgbouncer" });
    await client.query("BEGIN");
    await client.query("SHOW STATS");
    await assert.rejects(client.query("nonsense"), { code: "42601" });
    await assert.rejects(client.query("SHOW STATS"), { code: "25P02" });
    await client.query("ROLLBACK");
    await client.query("SHOW STATS");
    await client.end();
  });
});

describe("programs", () => {
  const run = promisify(execFile);

  const hasPsql = spawnSync("psql", ["--version"]).status === 0;
  test("psql: several commands in order, up to the one that fails", {
    ...LIMIT,
    skip: !hasPsql,
  }, async () => {
    const args = ["-X", "-A", "-t", "-h", "127.0.0.1", "-p", `${stage.port}`, "-U", "postgres", "pgbouncer"];
    const shown = await run("psql", [...args, "-c", "SHOW VERSION; show state;"]);
    assert.match(shown.stdout, /^pgxa \S+\nactive\|yes\n/);
    const failed = await run("psql", [...args, "-c", "SHOW VERSION; oh; SHOW STATE"]).catch(
      (error: { stdout: string; stderr: string }) => error,
    );
    assert.match(failed.stdout, /^pgxa/);
    assert.doesNotMatch(failed.stdout, /active/);
    assert.match(failed.stderr, /unknown command of the console\nHINT: {2}The console knows SHOW, PAUSE/);
  });

  const hasPsycopg2 = spawnSync("/usr/bin/python3", ["-c", "import psycopg2"]).status === 0;
  test("psycopg2, with and without autocommit", { ...LIMIT, skip: !hasPsycopg2 }, async () => {
    const script = `
import psycopg2
for autocommit in (True, False):
    connection = psycopg2.connect(host="127.0.0.1", port=${stage.port}, user="postgres", dbname="pgbouncer")
    connection.autocommit = autocommit
    cursor = connection.cursor()
    for command in ("SHOW STATS", "SHOW POOLS", "SELECT 1"):
        cursor.execute(command)
        print(len(cursor.fetchall()) > 0)
    try:
        cursor.execute("nonsense")
    except psycopg2.Error as error:
        print(error.pgcode)
    connection.rollback()
    cursor.execute("SHOW LISTS")
    connection.commit()
    connection.close()
`;
    const { stdout } = await run("/usr/bin/python3", ["-c", script]);
    const once = ["True", "True", "True", "42601"];
    assert.deepEqual(stdout.trim().split("\n"), [...once, ...once]);
  });
});
