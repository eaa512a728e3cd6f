/** What the console answers, to whom, and to what. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CONTROLS, type ConsoleRole, SHOWS, understand } from "../../src/admin/console.ts";
import { readStatements } from "../../src/admin/consoleText.ts";
import { Fault } from "../../src/base/fault.ts";
import { DEADLOCK, noOperations, sourcesOf, WAIT } from "./consoleStage.ts";

const sources = sourcesOf();

function commandOf(text: string, role: ConsoleRole = "admin", from = sources) {
  const [statement, ...more] = readStatements(text);
  assert.deepEqual(more, []);
  return understand(statement!, { name: "ann", role }, from);
}

/** The answer as rows of names and values. */
async function ask(text: string): Promise<readonly Readonly<Record<string, string | null>>[]> {
  const command = commandOf(text);
  const rows = await command.run();
  for (const row of rows) assert.equal(row.length, command.columns?.length);
  return rows.map((row) => Object.fromEntries((command.columns ?? []).map(({ name }, i) => [name, row[i]!])));
}

describe("the console", () => {
  it("shows who waits for what, as text and as JSON", async () => {
    const [lock, pool] = await ask("SHOW WAITS");
    const { json, ...texts } = lock!;
    assert.deepEqual(texts, {
      client: "7",
      gtrid: "f:c:1:2",
      shard: "east",
      pid: "4711",
      waits_for: "ShareLock on transaction 700",
      waited_ms: "62",
      blocked_by: "transaction f:c:1:3 of client 8, prepared transaction g",
    });
    assert.deepEqual(JSON.parse(json!), WAIT);
    assert.deepEqual([pool!["gtrid"], pool!["pid"]], [null, null]);
  });

  it("shows the deadlocks whole", async () => {
    const [first, second] = await ask("SHOW DEADLOCKS");
    const { json, detail, ...texts } = first!;
    assert.deepEqual(texts, {
      id: "3",
      at: "2026-01-02 03:04:05.006+00",
      size: "2",
      cause: "pool",
      victim: "8",
      shards: "east, west",
      detection_ms: "62",
    });
    assert.equal(detail!.split("\n").length, 2);
    assert.deepEqual(JSON.parse(json!), DEADLOCK);
    assert.deepEqual([second!["victim"], second!["shards"]], [null, "east"]);
  });

  it("shows what is in doubt, since when, what it keeps VACUUM from, and why", async () => {
    const [row] = await ask("SHOW IN_DOUBT");
    assert.deepEqual(row, {
      gid: "pgxa:f:c:1:2::east",
      gtrid: "f:c:1:2",
      shard: "east",
      coordinator: "c",
      database: "bank_1",
      owner: "app",
      age_s: "60",
      prepared_at: "1970-01-01 00:00:40.000+00",
      xid: "741",
      xmin_age: "12",
      holds_back_vacuum: "t",
      lock_count: "4",
      locks: "accounts:RowExclusiveLock, accounts_pkey:RowExclusiveLock",
      waiting: "client 7, pid 99",
      decision: "unknown",
      reason: "somebody else is finishing it",
      next_look_ms: "120",
    });
  });

  it("shows what operators decided about it, and what has become known since", async () => {
    const [row] = await ask("SHOW HEURISTICS");
    const at = "1970-01-01 00:00:40.000+00";
    const said = { outcome: "abort", by: "ann", reason: "disk lost", verdict: "unproven" };
    assert.deepEqual(row, { gtrid: "f:c:1:2", ...said, at });
  });

  it("takes a transaction's name with quotes and without, and does nothing that is not confirmed", async () => {
    const calls: string[] = [];
    const from = sourcesOf(noOperations(calls));
    const asked = { gtrid: "f:c:1:2", outcome: "commit", isConfirmed: false };
    const cases: readonly (readonly [string, object])[] = [
      ["RESOLVE 'f:c:1:2' COMMIT", { ...asked, reason: "" }],
      ["resolve f:c:1:2 commit", { ...asked, reason: "" }],
      ['RESOLVE "f:c:1:2" ROLLBACK CONFIRM', { ...asked, outcome: "abort", isConfirmed: true, reason: "" }],
      ["RESOLVE f:c:1:2 COMMIT CONFIRM 'it''s lost'", { ...asked, isConfirmed: true, reason: "it's lost" }],
    ];
    for (const [text, request] of cases) {
      calls.length = 0;
      assert.deepEqual(await commandOf(text, "admin", from).run(), [["east", "g", "committed", null]]);
      const [call] = calls;
      const told: object = JSON.parse(call!.slice("resolve(".length, -1));
      assert.deepEqual(told, { ...request, by: 'user "ann" of the console' });
    }
    for (const wrong of [
      "",
      " 'g'",
      " 'g' ABORT",
      " 'g' COMMIT YES",
      " 'g' COMMIT 'why'",
      " 'g' COMMIT CONFIRM 'a' b",
    ])
      assert.throws(() => commandOf(`RESOLVE${wrong}`), { id: "console.unknown_command" });
    assert.throws(() => commandOf("RESOLVE 'g' COMMIT", "stats"), { id: "console.not_permitted" });
  });

  it("lists what it knows, and every one of that is answered with the columns it announced", async () => {
    const commands = (await ask("SHOW HELP")).map(({ command }) => command!);
    for (const name of Object.keys(SHOWS)) assert.ok(commands.includes(`SHOW ${name}`), name);
    for (const name of Object.keys(CONTROLS))
      assert.ok(
        commands.some((line) => line.startsWith(name)),
        name,
      );
    for (const command of commands.filter((line) => line.startsWith("SHOW "))) await ask(command);
  });

  const same = [
    "show waits",
    "Show\n\tWaits",
    "  SHOW WAITS  ",
    "SHOW WAITS;",
    "/* a */ SHOW -- b\n WAITS;; ;\n",
  ];
  for (const text of same) {
    it(`takes ${JSON.stringify(text)} for SHOW WAITS`, async () => assert.equal((await ask(text)).length, 2));
  }

  const unknown = ["SHOW", "SHOW x", "SHOW WAITS now", "SELECT now()", "SHOW constructor", "SHOW __proto__"];
  for (const text of [...unknown, 'SHOW "WAITS"', "PAUSED", "toString", "'PAUSE'"]) {
    it(`refuses ${JSON.stringify(text)} and says what it knows`, () => {
      assert.throws(
        () => commandOf(text),
        (error) => {
          assert.ok(error instanceof Fault);
          assert.equal(error.id, "console.unknown_command");
          assert.match(error.hint!, /SHOW/);
          assert.ok(!/\bnow\b/.test(error.message), "nothing of the text is repeated");
          return true;
        },
      );
    });
  }
});

describe("control commands", () => {
  const told = async (text: string): Promise<readonly string[]> => {
    const calls: string[] = [];
    const command = commandOf(text, "admin", sourcesOf(noOperations(calls)));
    assert.equal(command.columns, null);
    assert.deepEqual(await command.run(), []);
    return calls;
  };
  const cases: Readonly<Record<string, string>> = {
    PAUSE: "pause()",
    "pause bank;": "pause(bank)",
    'PAUSE "My ""Bank"""': 'pause(My "Bank")',
    RESUME: "resume()",
    "RESUME bank": "resume(bank)",
    "DISABLE bank": "disable(bank)",
    "ENABLE bank": "enable(bank)",
    RECONNECT: "reconnect()",
    KILL: "kill()",
    "KILL bank": "kill(bank)",
    "KILL_CLIENT 4711": "killClient(4711)",
    SUSPEND: "suspend()",
    RELOAD: "reload()",
    DRAIN: "drain()",
    SHUTDOWN: "shutdown(immediate)",
    "shutdown wait_for_servers": "shutdown(wait_for_servers)",
    "SHUTDOWN WAIT_FOR_CLIENTS": "shutdown(wait_for_clients)",
    "WAIT_CLOSE bank": "waitClose(bank)",
    "SET log.level = debug": "set(log.level,debug)",
    "SET pool.max TO '30'": "set(pool.max,30)",
    'SET "pool.max"=30': "set(pool.max,30)",
    "set log_level = warn": "set(log.level,warn)",
  };
  for (const [text, call] of Object.entries(cases)) {
    it(`${text} is ${call}`, async () => assert.deepEqual(await told(text), [call]));
  }

  const wrong = [
    "DISABLE",
    "ENABLE a b",
    "RELOAD now",
    "KILL_CLIENT x",
    "KILL_CLIENT",
    "SHUTDOWN NOW",
    "PAUSE 'bank'",
  ];
  for (const text of [
    ...wrong,
    'PAUSE ""',
    "SET pool.max",
    "SET = 3",
    "SET pool.max = 1 2",
    "SHUTDOWN toString",
  ]) {
    it(`${text} is refused`, () => assert.throws(() => commandOf(text), { id: "console.unknown_command" }));
  }

  it("change no option that there is not, or that takes a restart", () => {
    assert.throws(() => commandOf("SET log.color = 1"), { sqlstate: "42704" });
    assert.throws(() => commandOf("SET limits.clients_max = 1"), { sqlstate: "55P02" });
  });

  it("are for those who may administer", () => {
    for (const [text] of Object.entries(cases)) {
      assert.throws(() => commandOf(text, "stats"), { sqlstate: "42501" }, text);
    }
    assert.throws(() => commandOf("SHOW FDS", "stats"), { sqlstate: "42501" });
    commandOf("SHOW STATS", "stats");
  });

  it("let the reason through why something cannot be", async () => {
    const failing = sourcesOf({
      ...noOperations([]),
      pause: () => Promise.reject(new Fault("pool.no_database")),
    });
    await assert.rejects(async () => commandOf("PAUSE x", "admin", failing).run(), {
      id: "pool.no_database",
    });
  });
});

describe("what drivers send by themselves", () => {
  const answers: Readonly<Record<string, string>> = {
    "SELECT 1": "1",
    "select version()": "PostgreSQL 18.0 (pgxa console)",
    "SELECT pg_catalog.version();": "PostgreSQL 18.0 (pgxa console)",
    "SELECT current_schema()": "public",
    "select current_user": "ann",
    "SHOW server_version": "18.0 (pgxa console)",
    "SHOW TRANSACTION ISOLATION LEVEL": "read committed",
    "show time zone": "UTC",
    "SHOW standard_conforming_strings": "on",
  };
  for (const [text, answer] of Object.entries(answers)) {
    it(`${text} is ${answer}`, async () => assert.deepEqual(await commandOf(text).run(), [[answer]]));
  }

  const tags: Readonly<Record<string, string>> = {
    BEGIN: "BEGIN",
    "START TRANSACTION READ ONLY": "BEGIN",
    COMMIT: "COMMIT",
    ROLLBACK: "ROLLBACK",
    "SET extra_float_digits = 3": "SET",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY": "SET",
    "SET client_encoding TO 'UTF8'": "SET",
    "set application_name = 'x'": "SET",
    "DISCARD ALL": "DISCARD ALL",
    "DEALLOCATE ALL": "DEALLOCATE",
    "UNLISTEN *": "UNLISTEN",
    "RESET ALL": "RESET",
  };
  for (const [text, tag] of Object.entries(tags)) {
    it(`${text} is answered with ${tag}, for those too who may only look`, async () => {
      const command = commandOf(text, "stats");
      assert.deepEqual([command.tag, command.columns, await command.run()], [tag, null, []]);
    });
  }
});
