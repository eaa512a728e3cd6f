// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration's own notation
/** What a configuration file may hold, and what is said about one that is wrong. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Fault } from "../../src/base/fault.ts";
import type { ShardConfig } from "../../src/config/config.ts";
import { loadConfig, parseConfig } from "../../src/config/load.ts";
import type { Variables } from "../../src/config/variables.ts";

const SMALLEST = `
database: bank
shards:
  - { name: only, host: db, user: pgxa }
auth: { method: trust }
`;

const TWO_SHARDS = `
database: bank
shards:
  - { name: east, host: a, user: pgxa }
  - { name: west, host: b, user: pgxa }
auth: { method: trust }
transaction: { log_directory: /data/decisions }
`;

const parse = (text: string, variables: Variables = {}) => parseConfig(text, "f.yaml", variables);

/** The lines about problems, without the first. */
function problemsOf(text: string, variables: Variables = {}): readonly string[] {
  try {
    parse(text, variables);
  } catch (error) {
    assert.ok(error instanceof Fault && error.id === "config.invalid", String(error));
    return error.message
      .split("\n")
      .slice(1)
      .map((line) => line.trim());
  }
  return [];
}

describe("a valid file", () => {
  it("needs little, and the rest has defaults", () => {
    const config = parse(SMALLEST);
    assert.deepEqual([config.listen.host, config.listen.port], ["127.0.0.1", 6432]);
    assert.equal(config.listen.unixDirectory, undefined);
    const [{ tls, ...shard }] = config.shards as [ShardConfig];
    assert.deepEqual(shard, {
      id: "only",
      host: "db",
      port: 5432,
      database: "bank",
      user: "pgxa",
      password: undefined,
    });
    assert.deepEqual([tls?.mode, tls?.negotiation, config.clientTls.mode], ["prefer", "postgres", "disable"]);
    assert.equal(config.pool.max, 20);
    assert.equal(config.pool.checkoutTimeoutMs, 15_000);
    assert.equal(config.limits.messageBytesMax, 2 ** 30 - 1);
    assert.equal(config.limits.messageHeldMax, 64 * 1024 * 1024);
    assert.equal(config.log.level, "info");
    assert.deepEqual([config.tables, config.users], [[], []]);
  });

  it("names three kinds of tables", () => {
    const { tables } = parse(`${TWO_SHARDS}
tables:
  - { name: accounts, key: id, key_type: int8 }
  - { name: sales.currencies, reference: true }
  - { name: settings, shard: west, reference: false }
`);
    assert.deepEqual(tables, [
      { kind: "sharded", schema: "public", name: "accounts", key: "id", keyType: "int8" },
      { kind: "reference", schema: "sales", name: "currencies" },
      { kind: "single", schema: "public", name: "settings", shard: "west" },
    ]);
  });

  it("keeps text as it was written, whatever YAML would make of it", () => {
    for (const password of ["0123", "yes", "1e3", "0x10", "null", "3.10"]) {
      const { users } = parse(`${SMALLEST}users: [{ name: a, password: ${password} }]`);
      assert.equal(users[0]?.password, password);
    }
  });

  it("may use anchors", () => {
    const { shards } = parse(
      TWO_SHARDS.replace("host: a", "host: &h db").replace("host: b", "host: *h, port: 1"),
    );
    assert.deepEqual(
      shards.map(({ host }) => host),
      ["db", "db"],
    );
  });

  it("takes an optional option without a value as not given", () => {
    const { shards } = parse(SMALLEST.replace("user: pgxa", 'user: pgxa, password: "", database: '));
    assert.equal(shards[0]?.password, undefined);
    assert.equal(shards[0]?.database, "bank");
  });
});

describe("the decision log's directory", () => {
  it("is meant from the file's own directory", () => {
    const text = TWO_SHARDS.replace("/data/decisions", "decisions");
    assert.equal(parseConfig(text, "/etc/pgxa/a.yaml", {}).transaction.logDirectory, "/etc/pgxa/decisions");
    assert.equal(parseConfig(text, "conf/a.yaml", {}).transaction.logDirectory, resolve("conf/decisions"));
  });

  it("is needed by a log of files with several shards, and not with one", () => {
    assert.deepEqual(problemsOf(TWO_SHARDS.replace("log_directory: /data/decisions", "log: file")), [
      "f.yaml:7:14: transaction.log_directory is missing, and transaction.log is file. Give a directory on a durable disk, which pgxa alone uses, or set transaction.log to shard.",
    ]);
    assert.deepEqual(problemsOf(`${SMALLEST}\ntransaction: { log: file }\n`), []);
  });

  it("says where commits are decided, if nothing else does: in it, or on the shards without it", () => {
    const log = (transaction: string) =>
      parse(TWO_SHARDS.replace("log_directory: /data/decisions", transaction)).transaction.log;
    assert.equal(log("log_directory: d"), "file");
    assert.equal(log(""), "shard");
    assert.equal(log("log_directory: d, log: shard"), "shard");
  });
});

describe("environment variables", () => {
  const withHost = (host: string): string => SMALLEST.replace("host: db", () => `host: '${host}'`);
  const hostOf = (host: string, variables: Variables) => parse(withHost(host), variables).shards[0]?.host;

  it("stand in values, alone and among text", () => {
    assert.equal(hostOf("${H}", { H: "db1" }), "db1");
    assert.equal(hostOf("${A}.${B}.net", { A: "x", B: "y" }), "x.y.net");
  });

  it("have defaults for when they are unset or empty", () => {
    assert.equal(hostOf("${H:-db2}", {}), "db2");
    assert.equal(hostOf("${H:-db2}", { H: "" }), "db2");
    assert.equal(hostOf("${H:-db2}", { H: "db1" }), "db1");
  });

  it("are named when they are not set", () => {
    assert.deepEqual(problemsOf(withHost("${NOT_THERE}")), [
      `f.yaml:4:25: shards[0].host needs the environment variable NOT_THERE, which is not set. Set it, or give a default: \${NOT_THERE:-value}.`,
    ]);
  });

  it("are refused when they are misspelt, and $${ is a plain ${", () => {
    assert.match(problemsOf(withHost("${my-host}"))[0]!, /has a \$\{ that begins no environment variable/);
    assert.equal(hostOf("$${my-host}", {}), "${my-host}");
  });

  it("cannot add anything to the file, whatever they hold", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (value) => {
        const text = SMALLEST.replace("user: pgxa", "user: pgxa, password: '${P}'");
        const { shards } = parse(text, { P: value });
        assert.equal(shards[0]?.password, value === "" ? undefined : value);
        assert.equal(shards[0]?.host, "db");
      }),
    );
  });
});

describe("everything that is wrong", () => {
  it("is said at once, from top to bottom, each with its place and advice", () => {
    const text = `listen: { host: 0.0.0.0, prot: 1 }
databse: bank
port: 7000
shards:
  - { name: east, host: a, user: u }
  - { name: east, host: a, user: u, port: 99999 }
pool: { min: 30, max: 5, lifetime: 5 parsecs }
auth: { method: kerberos }
`;
    assert.deepEqual(problemsOf(text), [
      "f.yaml:1:1: database is missing. The database that clients name; `databases` has others.",
      "f.yaml:1:26: listen.prot is no option. Did you mean port?",
      "f.yaml:2:1: databse is no option. Did you mean database?",
      "f.yaml:3:1: port is no option. Did you mean listen.port or metrics.port?",
      "f.yaml:6:13: shards[1].name is that of shards[0] too: east. Give each shard its own.",
      'f.yaml:6:43: shards[1].port is out of range: "99999". Give a whole number from 1 to 65535.',
      "f.yaml:7:14: pool.min is 30, more than pool.max, which is 5. Lower it, or raise pool.max.",
      'f.yaml:7:36: pool.lifetime is not understood: "5 parsecs". Give a duration from 1s to 7d, such as 250ms, 5s, 10min or 1h.',
      'f.yaml:8:17: auth.method is none of the choices: "kerberos". Give one of scram-sha-256, md5, password, cert, peer, trust, hba.',
    ]);
  });

  it("counts in the first line", () => {
    assert.throws(() => parse("database: x"), { message: /^2 problems in f\.yaml:\n {2}f\.yaml:1:1/ });
    assert.throws(() => parse(SMALLEST.replace("trust", "none")), { message: /^1 problem in f\.yaml:\n/ });
  });

  const CASES: readonly (readonly [what: string, text: string, expected: RegExp])[] = [
    ["an empty file", "", /the file holds no options/],
    ["a list instead of options", "- a", /the file holds no options/],
    ["an option twice", `${SMALLEST}database: other`, /the file names an option twice/],
    ["a tab", "\tdatabase: x", /a tab as indentation/],
    [
      "a text where a section should be",
      `${SMALLEST}pool: 20`,
      /pool is not a section. Give its options by name: min, max/,
    ],
    [
      "a text where a list should be",
      `${SMALLEST}users: bob`,
      /users is not a list. Begin each entry with a dash/,
    ],
    ["a text where an entry should be", `${SMALLEST}users: [bob]`, /users\[0\] is not a section/],
    [
      "a list where a value should be",
      `${SMALLEST}log: { level: [a] }`,
      /log\.level has to be a single value/,
    ],
    ["no value where one is needed", `${SMALLEST}pool: { max: }`, /pool\.max has no value/],
    ["a name that is no name", SMALLEST.replace("only", "'a b'"), /shards\[0\]\.name is not a name: "a b"/],
    [
      "a boolean that is none",
      `${SMALLEST}tables: [{ name: a, reference: maybe }]`,
      /is not true or false: "maybe"/,
    ],
    ["no shards", "database: x\nauth: { method: trust }", /shards is empty/],
    [
      "the same database twice",
      TWO_SHARDS.replace("host: b", "host: a"),
      /shards\[1\] is the same database as shards\[0\]: a:5432\/bank/,
    ],
    [
      "a table of no kind",
      `${SMALLEST}tables: [{ name: a }]`,
      /exactly one of sharded, reference and single-shard/,
    ],
    [
      "a table of two kinds",
      `${SMALLEST}tables: [{ name: a, reference: true, shard: only }]`,
      /exactly one of/,
    ],
    [
      "a key without its type",
      `${SMALLEST}tables: [{ name: a, key: id }]`,
      /tables\[0\] needs key and key_type together/,
    ],
    [
      "a type without its key",
      `${SMALLEST}tables: [{ name: a, key_type: int8 }]`,
      /needs key and key_type together/,
    ],
    [
      "a table on no shard",
      `${SMALLEST}tables: [{ name: a, shard: wset }]`,
      /tables\[0\]\.shard names no shard: "wset". The shards are only/,
    ],
    [
      "a table twice",
      `${SMALLEST}tables: [{ name: a, reference: true }, { name: public.a, reference: true }]`,
      /tables\[1\]\.name is the same table as tables\[0\]: public\.a/,
    ],
    [
      "a user twice",
      `${SMALLEST}users: [{ name: a }, { name: a }]`,
      /users\[1\]\.name is that of users\[0\] too/,
    ],
    [
      "nobody who could log in",
      SMALLEST.replace("trust", "scram-sha-256"),
      /users is empty, so that nobody can log in/,
    ],
    [
      "a user who could not log in",
      `${SMALLEST.replace("trust", "scram-sha-256")}users: [{ name: a }]`,
      /users\[0\]\.password is missing/,
    ],
  ];
  for (const [what, text, expected] of CASES) {
    it(`includes ${what}`, () => {
      const problems = problemsOf(text);
      assert.equal(problems.length, 1, problems.join("\n"));
      assert.match(problems[0]!, expected);
    });
  }

  it("is said once: what is wrong by itself is not compared with others", () => {
    const text = TWO_SHARDS.replace("host: a", "host: [a]");
    assert.deepEqual(problemsOf(text).length, 1);
    const table = `${SMALLEST}tables: [{ name: a, key: id, key_type: int9 }]`;
    assert.deepEqual(problemsOf(table).length, 1);
  });

  it("includes a file that cannot be read", () => {
    const directory = mkdtempSync(join(tmpdir(), "pgxa-config-"));
    try {
      const file = join(directory, "a.yaml");
      assert.throws(() => loadConfig(file, {}), {
        id: "config.invalid",
        message: `there is no configuration file ${file}`,
      });
      assert.throws(() => loadConfig(directory, {}), { id: "config.invalid", message: /^cannot read/ });
      writeFileSync(file, SMALLEST);
      assert.equal(loadConfig(file, {}).database, "bank");
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
