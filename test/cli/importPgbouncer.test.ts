/** PgBouncer's configuration as pgxa's. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { importSettings } from "../../src/cli/importPgbouncerDraft.ts";
import { readConnectionString, readIni, readUserList } from "../../src/cli/importPgbouncerIni.ts";
import { PGBOUNCER_KEYS } from "../../src/cli/importPgbouncerKeys.ts";
import { parseConfig } from "../../src/config/load.ts";
import { optionAt } from "../../src/config/options.ts";
import { Command } from "./command.ts";

const VARIABLES = { SHARD_HOST: "h", SHARD_USER: "u", SHARD_PASSWORD: "p" };

const imported = (ini: string, userlist: string | null = null) => {
  const users = userlist === null ? null : readUserList(userlist);
  const { yaml, notes } = importSettings(
    readIni("p.ini", ini, () => null),
    users,
    (name) => `/etc/${name}`,
  );
  return { yaml, notes: notes.map(({ kind, line, what, says }) => `${line} ${kind} ${what}: ${says}`) };
};

const configOf = (ini: string, userlist: string | null = '"app" "secret"') =>
  parseConfig(imported(ini, userlist).yaml, "pgxa.yaml", VARIABLES);

const BASE = `[databases]
bank = host=10.0.0.5 port=5433 dbname=bank_prod user=app password=secret
[pgbouncer]
auth_type = trust
`;

describe("the table of PgBouncer's keys", () => {
  it("names options that there are", () => {
    const missing = PGBOUNCER_KEYS.flatMap(({ path }) => (path === null || optionAt(path) ? [] : [path]));
    assert.deepEqual(missing, []);
  });

  it("names each key once", () => {
    const keys = PGBOUNCER_KEYS.map(({ section, key }) => `${section} ${key}`);
    assert.equal(new Set(keys).size, keys.length);
  });

  it("says of each key without counterpart why, or what to do", () => {
    for (const { key, path, says } of PGBOUNCER_KEYS) if (path === null) assert.match(says, /\.$/, key);
  });
});

describe("an ini file", () => {
  it("is read with comments, quotes, fallback database and includes, each line with its place", () => {
    const files: Record<string, string> = { "more.ini": "default_pool_size = 4\n%include gone.ini" };
    const text =
      '; no\n# no\n[databases]\n"a ""b"" c" = host=x\n* = port=1 ; kept\n[pgbouncer]\n%include more.ini\nwhat';
    const { entries, problems } = readIni("p.ini", text, (name) => files[name] ?? null);
    assert.deepEqual(
      entries.map(({ section, key, value, file, line }) => [section, key, value, file, line]),
      [
        ["databases", 'a "b" c', "host=x", "p.ini", 4],
        ["databases", "*", "port=1 ; kept", "p.ini", 5],
        ["pgbouncer", "default_pool_size", "4", "more.ini", 1],
      ],
    );
    assert.deepEqual(problems, [
      { file: "more.ini", line: 2, says: "gone.ini cannot be read" },
      { file: "p.ini", line: 8, says: "is no line of an ini file" },
    ]);
  });

  it("that includes itself is left at some point", () => {
    const { problems } = readIni("p.ini", "%include p.ini", () => "%include p.ini");
    assert.equal(problems.length, 1);
  });

  it("has connection strings with quotes, any of which comes back as it was", () => {
    assert.deepEqual(
      [...readConnectionString("a=1  b='it''s = ok' c=")!],
      [
        ["a", "1"],
        ["b", "it's = ok"],
        ["c", ""],
      ],
    );
    for (const broken of ["a", "a='b", "a='b'c", "=1"])
      assert.equal(readConnectionString(broken), null, broken);
    fc.assert(
      fc.property(fc.string(), (value) => {
        const text = `x='${value.replaceAll("'", "''")}' y=2`;
        assert.deepEqual(
          [...readConnectionString(text)!],
          [
            ["x", value],
            ["y", "2"],
          ],
        );
      }),
    );
  });

  it("has a list of users beside it", () => {
    const text = '"a" "secret" more\n; no\n"b ""c""" "md5"" x"\nbroken';
    assert.deepEqual(readUserList(text), [
      { name: "a", secret: "secret" },
      { name: 'b "c"', secret: 'md5" x' },
    ]);
  });
});

describe("an import", () => {
  it("is valid, with PgBouncer's own defaults where they differ", () => {
    const config = configOf(BASE);
    assert.equal(config.pool.mode, "session");
    assert.equal(config.pool.checkoutTimeoutMs, 120_000);
    assert.equal(config.limits.clientsMax, 100);
    const { host, port, database, user, password } = config.shards[0]!;
    assert.deepEqual(
      [host, port, database, user, password],
      ["10.0.0.5", 5433, "bank_prod", "app", "secret"],
    );
  });

  it("carries limits, timeouts and pools over in their units", () => {
    const config = configOf(`${BASE}
default_pool_size = 40
reserve_pool_size = 5
reserve_pool_timeout = 0.5
max_user_client_connections = 7
idle_transaction_timeout = 1.5
query_timeout = 10
query_wait_notify = 3
server_reset_query_always = 1
pool_mode = transaction
`);
    const { max, reserve, reserveTimeoutMs, noticeAfterMs, reset, mode } = config.pool;
    assert.deepEqual(
      [max, reserve, reserveTimeoutMs, noticeAfterMs, reset, mode],
      [40, 5, 500, 3_000, "always", "transaction"],
    );
    assert.equal(config.limits.userClientsMax, 7);
    assert.deepEqual([config.timeouts.idleInTransactionMs, config.timeouts.statementMs], [1_500, 10_000]);
  });

  it("takes databases on the same server, and names the others", () => {
    const ini = `[databases]
bank = host=a user=u pool_size=3 pool_mode=statement max_db_client_connections=9
other = host=b user=u
second = host=a user=u dbname=x
* = host=a user=u
[pgbouncer]
auth_type = trust`;
    const { databases } = configOf(ini);
    assert.deepEqual(
      databases.map(({ name, database, mode, poolMax, clientsMax }) => [
        name,
        database,
        mode,
        poolMax,
        clientsMax,
      ]),
      [
        ["bank", undefined, "statement", 3, 9],
        ["second", "x", undefined, undefined, undefined],
        ["*", undefined, undefined, undefined, undefined],
      ],
    );
    const { notes } = imported(ini);
    assert.ok(notes.some((note) => note.startsWith("3 none [databases] other: is on another server")));
  });

  it("takes users with their settings, and leaves out who cannot log in", () => {
    const ini = `${BASE.replace("trust", "scram-sha-256")}
[users]
anna = pool_mode=transaction max_user_connections=2 client_idle_timeout=60
ghost = pool_size=3`;
    if (optionAt("auth.users_file") !== undefined) return; // then the list is read by pgxa itself
    const userlist = '"anna" "secret"\n"bob" "md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"';
    const { users } = configOf(ini, userlist);
    assert.deepEqual(
      users.map(({ name, password, mode, poolMax, timeouts }) => [name, password, mode, poolMax, timeouts]),
      [["anna", "secret", "transaction", 2, { clientIdleMs: 60_000 }]],
    );
    assert.match(imported(ini, userlist).yaml, /Left out[\s\S]*"bob"/);
    assert.ok(imported(ini, userlist).notes.some((note) => note.includes("[users] ghost")));
  });

  it("names what has no counterpart, what differs and what is needless, each with its line", () => {
    const { notes } = imported(`${BASE}log_connections = 1
frobnicate = 2
pkt_buf = 4096
default_pool_size = lots
server_lifetime = 0
[surprise]
x = 1`);
    const of = (line: number) => notes.find((note) => note.startsWith(`${line} `));
    assert.match(of(5)!, /^5 none log_connections: log\.level/);
    assert.match(of(6)!, /^6 none frobnicate: is no setting/);
    assert.match(of(7)!, /^7 needless pkt_buf:/);
    assert.match(of(8)!, /^8 none default_pool_size: is no number/);
    assert.match(of(9)!, /^9 different server_lifetime: is 7d/);
    assert.match(of(11)!, /^11 none x: stands in \[surprise\]/);
  });

  it("never shows a value of the file in a note", () => {
    const ini = `[databases]\nbank = host=h user=u password='s3cret' connect_query='s3cret' auth_query='s3cret'
[pgbouncer]\nauth_query = s3cret\nfrobnicate = s3cret\nlisten_port = s3cret`;
    for (const note of imported(ini).notes) assert.doesNotMatch(note, /s3cret/);
  });

  it("keeps any password as it is", () => {
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.constantFrom("a", "$", "{", "}", '"', "'", "\\", "#", ":", " ", "-", "0", "é"),
        }),
        (password) => {
          const quoted = password.replaceAll("'", "''");
          const config = configOf(
            `[databases]\nbank = host=h user=u password='x${quoted}'\n[pgbouncer]\nauth_type = trust`,
          );
          assert.equal(config.shards[0]!.password, `x${password}`);
        },
      ),
    );
  });

  it("is valid whatever numbers the file has", () => {
    const numeric = PGBOUNCER_KEYS.filter(
      ({ section, kind, path }) =>
        section === "pgbouncer" && path !== null && ["count", "seconds", "bytes"].includes(kind),
    ).map(({ key }) => key);
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.constantFrom(...numeric),
          fc.oneof(fc.nat(), fc.double({ min: -5, max: 5_000, noNaN: true })),
        ),
        (values) => {
          const lines = Object.entries(values).map(([key, value]) => `${key} = ${value}`);
          configOf(BASE + lines.join("\n"));
        },
      ),
    );
  });
});

describe("pgxa import-pgbouncer", () => {
  let home: string;
  before(() => {
    home = mkdtempSync(join(tmpdir(), "pgxa-import-"));
    writeFileSync(join(home, "pgbouncer.ini"), `${BASE}auth_file = users.txt\n%include more.ini\n`);
    writeFileSync(join(home, "more.ini"), "verbose = 1\n");
    writeFileSync(join(home, "users.txt"), '"app" "secret"\n');
  });
  after(() => rmSync(home, { recursive: true }));

  it("writes a file that only its owner may read, and never over another", async () => {
    const output = join(home, "pgxa.yaml");
    const first = new Command(["import-pgbouncer", join(home, "pgbouncer.ini"), "--output", output]);
    assert.equal(await first.end(), 0);
    assert.equal(first.stdout, "");
    assert.match(first.stderr, /Without counterpart:\n {2}more\.ini:1 {2}verbose: log\.level/);
    assert.equal(statSync(output).mode & 0o777, 0o600);
    parseConfig(readFileSync(output, "utf8"), output, VARIABLES);
    const second = new Command(["import-pgbouncer", join(home, "pgbouncer.ini"), "--output", output]);
    assert.equal(await second.end(), 2);
    assert.match(second.stderr, /EEXIST/);
  });

  it("prints to standard output otherwise, and helps with its command line", async () => {
    const print = new Command(["import-pgbouncer", join(home, "pgbouncer.ini")]);
    assert.equal(await print.end(), 0);
    assert.match(print.stdout, /^# Made by pgxa import-pgbouncer[\s\S]*database: bank\n/);
    const bare = new Command(["import-pgbouncer"]);
    assert.equal(await bare.end(), 2);
    assert.match(bare.stderr, /needs PgBouncer's ini file/);
  });
});
