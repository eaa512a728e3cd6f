/** psql as people use it: scripts, variables, \copy, \gexec, its cursor-wise fetching, and Ctrl-C. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { type Checks, databaseUrl, runChecks } from "./checks.ts";

interface Said {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const options = ["-X", "-q", "-A", "-t", "-v", "VERBOSITY=verbose"];

function start(args: readonly string[], environment: NodeJS.ProcessEnv = {}): ChildProcess {
  const env = { ...process.env, ...environment };
  return spawn("psql", [...options, ...args, databaseUrl()], { stdio: "pipe", env });
}

/** Runs `script` as from a file on stdin, and waits for the end. */
async function psql(
  script: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<Said> {
  const child = start(args, env);
  child.stdin!.end(script);
  return heard(child);
}

async function heard(child: ChildProcess): Promise<Said> {
  const said = { stdout: "", stderr: "" };
  child.stdout!.on("data", (piece) => (said.stdout += piece));
  child.stderr!.on("data", (piece) => (said.stderr += piece));
  const [status] = await once(child, "close");
  return { status, stdout: said.stdout.trim(), stderr: said.stderr };
}

/** What `script` writes; anything on stderr fails. */
async function answer(
  script: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<string> {
  const { stdout, stderr, status } = await psql(script, args, env);
  assert.equal(stderr, "");
  assert.equal(status, 0);
  return stdout;
}

const checks: Checks = {
  "migrations in a single transaction": async () => {
    await answer(
      `CREATE TABLE psql_items (id int PRIMARY KEY, name text);
       ALTER TABLE psql_items ADD COLUMN stock int DEFAULT 0;
       INSERT INTO psql_items SELECT n, 'item ' || n FROM generate_series(1, 100) AS n;`,
      ["-1", "-v", "ON_ERROR_STOP=1"],
    );
  },
  "a failed script in a single transaction leaves nothing": async () => {
    const { status } = await psql("CREATE TABLE psql_half (a int); SELECT 1/0;", [
      "-1",
      "-v",
      "ON_ERROR_STOP=1",
    ]);
    assert.equal(status, 3);
    assert.equal(await answer("SELECT to_regclass('psql_half') IS NULL;"), "t");
  },
  "settings of PGOPTIONS and PGTZ": async () => {
    const env = { PGOPTIONS: "-c work_mem=5MB", PGTZ: "Asia/Tokyo", PGAPPNAME: "shop" };
    const sql = "SHOW work_mem; SHOW timezone; SHOW application_name;";
    assert.equal(await answer(sql, [], env), "5MB\nAsia/Tokyo\nshop");
  },
  "savepoints by ON_ERROR_ROLLBACK": async () => {
    const { stdout } = await psql(
      `\\set ON_ERROR_ROLLBACK on
       BEGIN; UPDATE psql_items SET stock = 5 WHERE id = 1; SELECT 1/0; COMMIT;
       SELECT stock FROM psql_items WHERE id = 1;`,
    );
    assert.equal(stdout, "5");
  },
  "\\copy in and out": async () => {
    const lines = Array.from({ length: 1000 }, (_, n) => `${n}\tline ${n}`).join("\n");
    const script = `CREATE TABLE psql_copied (n int, t text);
\\copy psql_copied FROM STDIN
${lines}
\\.
\\copy (SELECT * FROM psql_copied ORDER BY n) TO STDOUT
`;
    assert.equal(await answer(script), lines);
  },
  "FETCH_COUNT fetches by a cursor": async () => {
    const said = await answer("\\set FETCH_COUNT 100\nSELECT generate_series(1, 2000);");
    assert.equal(said.split("\n").length, 2000);
  },
  "\\gexec, \\gset and \\bind": async () => {
    assert.equal(
      await answer("SELECT format('SELECT %s', n) FROM generate_series(1, 2) AS n \\gexec"),
      "1\n2",
    );
    assert.equal(await answer("SELECT 4 AS four \\gset\nSELECT :four + 1;"), "5");
  },
  "\\d describes a table": async () => {
    assert.match(await answer("\\d psql_items"), /stock\|integer/);
  },
  "PREPARE and EXECUTE": async () => {
    assert.equal(await answer("PREPARE p AS SELECT $1::int * 2; EXECUTE p(4); EXECUTE p(5);"), "8\n10");
  },
  "errors have their SQLSTATE and position": async () => {
    const { stderr } = await psql("SELECT nothing FROM psql_items;");
    assert.match(stderr, /ERROR: {2}42703: column "nothing" does not exist\nLINE 1: SELECT nothing/);
  },
  "LISTEN hears NOTIFY": async () => {
    const said = await answer("LISTEN psql_news;\nNOTIFY psql_news, 'hello';\nSELECT 1;\nSELECT 2;");
    assert.match(said, /Asynchronous notification "psql_news" with payload "hello"/);
  },
  "Ctrl-C cancels the query": async () => {
    const child = start([]);
    const said = heard(child);
    child.stdin!.write("SELECT pg_sleep(30);\n");
    await delay(500);
    const began = performance.now();
    child.kill("SIGINT");
    await delay(200);
    child.stdin!.end();
    const { stderr } = await said;
    assert.match(stderr, /57014|Cancel request sent/);
    assert.ok(performance.now() - began < 5000, "the query ran on");
  },
  "a parallel load of 10 psql": async () => {
    const script = "UPDATE psql_items SET stock = stock + 1 WHERE id = 2;\n".repeat(20);
    await Promise.all(Array.from({ length: 10 }, () => answer(script)));
    assert.equal(await answer("SELECT stock FROM psql_items WHERE id = 2;"), "200");
  },
  "several -c options share a session": async () => {
    const args = ["-c", "SET search_path = pg_catalog", "-c", "SHOW search_path", "-c", "SELECT 1"];
    assert.equal(await answer("", args), "pg_catalog\n1");
  },
};

await runChecks(checks, async () => {});
