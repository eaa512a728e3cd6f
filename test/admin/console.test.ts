/** What the console answers, and to what. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { answerConsole, type ConsoleSources } from "../../src/admin/console.ts";
import { Fault } from "../../src/base/fault.ts";
import type { DeadlockRecord } from "../../src/deadlock/history.ts";
import type { WaitRow } from "../../src/deadlock/report.ts";

const WAIT: WaitRow = {
  client: 7,
  gtrid: "f:c:1:2",
  shard: "east",
  pid: 4_711,
  waitsFor: "ShareLock on transaction 700",
  waitedMs: 61.7,
  blockedBy: ["transaction f:c:1:3 of client 8", "prepared transaction g"],
};
const POOL_WAIT: WaitRow = {
  client: 8,
  gtrid: null,
  shard: "west",
  pid: null,
  waitsFor: "a server connection, of which there are 1",
  waitedMs: 80,
  blockedBy: ["client 7"],
};
const DEADLOCK: DeadlockRecord = {
  id: 3,
  atMs: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  cause: "pool",
  size: 2,
  detectionMs: 62,
  victim: 8,
  circle: [WAIT, POOL_WAIT],
};

const sources: ConsoleSources = {
  waits: async () => [WAIT, POOL_WAIT],
  deadlocks: () => [DEADLOCK, { ...DEADLOCK, id: 4, victim: null, circle: [WAIT, WAIT] }],
  pins: () => [{ client: 7, shard: "east", pid: 4711, reasons: ["load", "hold cursor"], pinnedMs: 12.4 }],
};

/** The answer as rows of names and values; the JSON column is checked by itself. */
async function ask(command: string): Promise<readonly Readonly<Record<string, string | null>>[]> {
  const { columns, rows } = await answerConsole(command, sources);
  for (const row of rows) assert.equal(row.length, columns.length);
  return rows.map((row) => Object.fromEntries(columns.map(({ name }, i) => [name, row[i]!])));
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

  it("lists what it knows, and every one of that is answered", async () => {
    const commands = (await ask("SHOW HELP")).map(({ command }) => command!);
    assert.ok(commands.includes("SHOW WAITS") && commands.includes("SHOW DEADLOCKS"));
    for (const command of commands) await answerConsole(command, sources);
  });

  it("types its columns", async () => {
    const { columns } = await answerConsole("SHOW WAITS", sources);
    assert.deepEqual(
      columns.map(({ typeOid }) => typeOid),
      [20, 25, 25, 20, 25, 20, 25, 114],
    );
  });

  const same = [
    "show waits",
    "Show\n\tWaits",
    "  SHOW WAITS  ",
    "SHOW WAITS;",
    "SHOW WAITS ;",
    "SHOW WAITS;; ;\n",
  ];
  for (const command of same) {
    it(`takes ${JSON.stringify(command)} for SHOW WAITS`, async () =>
      assert.equal((await ask(command)).length, 2));
  }

  const unknown = [
    "",
    ";",
    "SHOW",
    "SHOW x",
    "SHOW WAITS now",
    "SHOW WAITS; SHOW WAITS",
    "SELECT 1",
    "SHOW constructor",
    "SHOW __proto__",
  ];
  for (const command of unknown) {
    it(`refuses ${JSON.stringify(command)} and says what it knows`, async () => {
      await assert.rejects(answerConsole(command, sources), (error) => {
        assert.ok(error instanceof Fault);
        assert.equal(error.id, "console.unknown_command");
        assert.match(error.hint!, /SHOW WAITS, SHOW DEADLOCKS.*SHOW HELP/);
        return true;
      });
    });
  }

  it("lets the reason through why waits cannot be shown", async () => {
    const failing: ConsoleSources = {
      ...sources,
      waits: () => Promise.reject(new Fault("console.simple_only")),
    };
    await assert.rejects(answerConsole("SHOW WAITS", failing), { id: "console.simple_only" });
  });
});
