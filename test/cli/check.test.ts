/** `pgxa check` on real shards: fit ones, unfit ones, and some that do not answer. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { render } from "../../src/cli/check.ts";
import { judgeDirectory, judgeSync } from "../../src/cli/decisionFindings.ts";
import { checkShard } from "../../src/cli/shardChecks.ts";
import { parseConfig } from "../../src/config/load.ts";
import { startShards, type TestShard, type TestShards } from "../support/shards.ts";
import { run } from "./command.ts";

const SECRET = "hunter2";
const SCHEMA = `
  CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint);
  CREATE TABLE currencies (code text PRIMARY KEY);
  CREATE TABLE prices (key numeric(10, 2) PRIMARY KEY);
  CREATE ROLE locked LOGIN PASSWORD '${SECRET}';
  CREATE ROLE humble LOGIN`;

interface Entry {
  readonly name: string;
  readonly port: number;
  readonly user?: string;
  readonly password?: string;
}

const configText = (shards: readonly Entry[], more = ""): string => `
database: bank
fleet: bank
shards: ${JSON.stringify(shards.map((shard) => ({ host: "127.0.0.1", user: "postgres", ...shard })))}
tables:
  - { name: accounts, key: id, key_type: int8 }
  - { name: currencies, reference: true }
  - { name: settings, shard: east }
${more}
auth: { method: trust }
transaction: { log_directory: decisions }
`;

describe("pgxa check", { timeout: 150_000 }, () => {
  let stage: TestShards;
  let east: TestShard;
  let north: TestShard;
  let directory = "";

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "pgxa-check-"));
    stage = await startShards(2, { databases: ["bank"] });
    [east, north] = stage.shards as [TestShard, TestShard];
    for (const shard of stage.shards) await execute(shard, SCHEMA);
    await execute(east, "CREATE TABLE settings (name text)");
    const hba = join(east.dataDirectory, "pg_hba.conf");
    writeFileSync(hba, `host all locked all scram-sha-256\n${readFileSync(hba, "utf8")}`);
    await execute(east, "SELECT pg_reload_conf()");
  });
  after(async () => {
    await stage.stop();
    rmSync(directory, { recursive: true });
  });

  async function execute(shard: TestShard, ...statements: readonly string[]): Promise<void> {
    const client = await shard.connect();
    try {
      for (const statement of statements) await client.query(statement);
    } finally {
      await client.end();
    }
  }

  const entry = ({ id, port }: TestShard): Entry => ({ name: id, port });

  function check(text: string, args: readonly string[] = [], variables = {}) {
    const file = join(directory, "check.yaml");
    writeFileSync(file, text);
    return run(["check", "--config", file, ...args], variables);
  }

  /** The findings about the first shard by what they are about. */
  async function findingsOf(text: string, timeoutMs?: number) {
    const config = parseConfig(text, "f.yaml", {});
    const report = await checkShard(config.shards[0]!, config, timeoutMs);
    return new Map(report.findings.map((finding) => [finding.what, finding]));
  }

  it("says that fit shards are fit, and ends with 0", async () => {
    const { code, stdout, stderr } = await check(configText([entry(east), entry(north)]));
    assert.match(stdout, /check\.yaml: the configuration is valid\n\nshard east {2}127\.0\.0\.1:\d+\/bank\n/);
    assert.match(stdout, / {2}✓ reachable +as postgres\n {2}✓ version +\d+/);
    assert.match(stdout, / {2}✓ table accounts +sharded by id \(int8\)\n {2}✓ table currencies +reference\n/);
    assert.equal(stdout.match(/table settings/g)?.length, 1);
    assert.match(stdout, /\n\nFit to run(, with 1 warning)?\.\n$/); // a container's disk is one
    assert.match(stderr, /^✓ asking 2 shards/);
    assert.equal(code, 0);
  });

  it("asks for the schema of a decision log on shards, which shards init makes, once", async () => {
    const text = configText([entry(east), entry(north)]).replace("log_directory: decisions", "log: shard");
    const before = await check(text);
    assert.equal(before.code, 1);
    assert.match(before.stdout, /✗ decision log +schema pgxa is not there\n +Run pgxa shards init/);
    const file = join(directory, "check.yaml");
    for (const said of ["is made", "was there"]) {
      const { code, stdout } = await run(["shards", "init", "--config", file], {});
      assert.equal(stdout, `shard east: schema pgxa ${said}\nshard north: schema pgxa ${said}\n`);
      assert.equal(code, 0);
    }
    const { code, stdout } = await check(text);
    assert.match(stdout, /✓ decision log +schema pgxa, version 2\n/);
    assert.match(stdout, /this machine\n {2}✓ decision log +on the shards/);
    assert.equal(code, 0);
  });

  it("tells a role that may not use, or make, the schema what to do", async () => {
    const humble = { ...entry(east), user: "humble" };
    const text = configText([humble, entry(north)]).replace("log_directory: decisions", "log: shard");
    assert.match((await check(text)).stdout, /✗ decision log +no rights on schema pgxa\n +Run .*--print/);
    const file = join(directory, "check.yaml");
    const printed = await run(["shards", "init", "--config", file, "--print"], {});
    assert.match(printed.stdout, /^-- shard east, database bank\nBEGIN;[\s\S]* TO "humble";[\s\S]*COMMIT;/);
    await execute(east, printed.stdout.split("-- shard north")[0]!);
    assert.match((await check(text)).stdout, /✓ decision log +schema pgxa, version 2\n/);
    await execute(east, "DROP SCHEMA pgxa CASCADE");
    const refused = await run(["shards", "init", "--config", file], {});
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /shard east: permission denied for database bank\nGRANT CREATE ON DATABASE/);
    await Promise.all([east, north].map((shard) => execute(shard, "DROP SCHEMA IF EXISTS pgxa CASCADE")));
  });

  it("says of a directory whether it is durable", () => {
    assert.equal(judgeDirectory("/d", 0x01021994).verdict, "fail");
    for (const type of [0x794c7630, 0x6969]) assert.equal(judgeDirectory("/d", type).verdict, "warn");
    assert.equal(judgeDirectory("/d", 0xef53).verdict, "ok");
    assert.deepEqual(judgeSync("fdatasync"), []);
    assert.equal(judgeSync("none")[0]?.verdict, "warn");
  });

  it("gives scripts the same as JSON and nothing else", async () => {
    const { code, stdout, stderr } = await check(configText([entry(east), entry(north)]), ["--json"]);
    const { ok, shards } = JSON.parse(stdout);
    assert.deepEqual([ok, code, stderr], [true, 0, ""]);
    assert.deepEqual(
      shards.map(({ shard }: { shard: string }) => shard),
      ["east", "north"],
    );
    assert.deepEqual(shards[0].findings[0], { what: "reachable", verdict: "ok", says: "as postgres" });
  });

  it("ends with 1 if one thing fails, and says what to do", async () => {
    const more = "  - { name: prices, key: key, key_type: numeric }\n  - { name: missing, reference: true }";
    const { code, stdout } = await check(configText([entry(east), entry(north)], more));
    assert.match(stdout, /✗ table prices +key rounds what is stored\n +Make it plain numeric/);
    assert.match(stdout, /✗ table missing +is not there\n +Create it on every shard/);
    assert.match(stdout, /\n\n4 of \d+ checks failed\.\n$/);
    assert.equal(code, 1);
  });

  it("counts the prepared transactions that were left, of this fleet and of others", async () => {
    const prepare = (gid: string) => [
      "BEGIN",
      "INSERT INTO currencies VALUES ('X')",
      `PREPARE TRANSACTION '${gid}'`,
    ];
    await execute(north, ...prepare("pgxa:bank:main:1:1::north"));
    await execute(east, ...prepare("pgxa:bank2:main:1:1::east"));
    try {
      const text = configText([entry(north), entry(east)]);
      const { says, verdict } = (await findingsOf(text)).get("left prepared")!;
      assert.match(says, /^1 of this fleet, 0 of others, the oldest \d+ s old$/);
      assert.equal(verdict, "warn");
      const others = (await findingsOf(configText([entry(east), entry(north)]))).get("left prepared")!;
      assert.match(others.says, /^0 of this fleet, 1 of others/);
      const humble = configText([{ ...entry(north), user: "humble" }, entry(east)]);
      const finding = (await findingsOf(humble)).get("left prepared")!;
      assert.match(finding.says, /1 of this fleet belong to another role/);
      assert.equal(finding.verdict, "fail");
    } finally {
      await execute(north, "ROLLBACK PREPARED 'pgxa:bank:main:1:1::north'");
      await execute(east, "ROLLBACK PREPARED 'pgxa:bank2:main:1:1::east'");
    }
  });

  it("logs in with the password of the file, and never shows it", async () => {
    const locked = { ...entry(east), user: "locked" };
    const right = await check(configText([{ ...locked, password: SECRET }, entry(north)]));
    assert.match(right.stdout, /✓ reachable +as locked/);
    const wrong = await check(configText([{ ...locked, password: `${SECRET}x` }, entry(north)]));
    assert.match(
      wrong.stdout,
      /✗ reachable +password authentication failed for user "locked"\n +Correct the user/,
    );
    assert.equal(wrong.code, 1);
    for (const { stdout, stderr } of [right, wrong]) assert.doesNotMatch(stdout + stderr, /hunter2/);
  });

  it("does not log in with a password that pgxa would not have", async () => {
    const text = configText([{ ...entry(east), user: "locked" }, entry(north)]);
    const { code, stdout } = await check(text, [], { PGPASSWORD: SECRET });
    assert.match(
      stdout,
      /✗ reachable +asks for a password, and none is configured\n +Give shards\[\]\.password/,
    );
    assert.equal(code, 1);
  });

  it("names a database that is missing", async () => {
    const text = configText([entry(east), entry(north)]).replace("database: bank", "database: bnak");
    assert.match((await findingsOf(text)).get("reachable")!.advice!, /Create the database/);
  });

  it("does not wait for ever for what does not answer", async () => {
    const hole = createServer((socket) => socket.resume()).listen(0, "127.0.0.1");
    await once(hole, "listening");
    try {
      const { port } = hole.address() as AddressInfo;
      const finding = (await findingsOf(configText([{ name: "hole", port }, entry(east)]), 50)).get(
        "reachable",
      )!;
      assert.match(finding.says, /timeout/);
      assert.equal(finding.verdict, "fail");
    } finally {
      hole.close();
      await once(hole, "close");
    }
  });

  it("tells that nobody listens", async () => {
    const hole = createServer().listen(0, "127.0.0.1");
    await once(hole, "listening");
    const { port } = hole.address() as AddressInfo;
    hole.close();
    await once(hole, "close");
    const finding = (await findingsOf(configText([{ name: "gone", port }, entry(east)]))).get("reachable")!;
    assert.match(finding.says, /ECONNREFUSED/);
  });
});

describe("the table of findings", () => {
  const reports = [
    {
      shard: "east",
      address: "db:5432/bank",
      findings: [
        { what: "reachable", verdict: "ok", says: "as pgxa" },
        { what: "role", verdict: "warn", says: "a standby", advice: "Do." },
      ],
    },
  ] as const;

  it("is aligned, with advice below what it is about", () => {
    const expected =
      "f: the configuration is valid\n\nshard east  db:5432/bank\n  ✓ reachable  as pgxa\n  ! role       a standby\n               Do.\n\nFit to run, with 1 warning.";
    assert.equal(render("f", reports, false), expected);
  });

  it("has colours on a terminal", () => {
    assert.ok(render("f", reports, true).includes("\u001b[32m✓\u001b[0m reachable"));
  });
});
