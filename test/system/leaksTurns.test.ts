/**
 * What is said in turns, with another client in between, is answered as by Postgres: effects come when a statement
 * runs, not when it is parsed, and go when it is rolled back.
 *
 * Each script is said to Postgres itself and to pgxa in front of it. There another client takes every turn in between,
 * so that connections change hands as much as they can.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import {
  bind,
  errorField,
  execute,
  type Message,
  message,
  parse,
  query,
  RawClient,
  sync,
  text,
} from "./rawClient.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 30_000 };
/** How long a notification may take that is to come after all. */
const LATE_MS = 50;

type Turn = string | readonly Buffer[];

interface Script {
  readonly name: string;
  readonly turns: readonly Turn[];
}

const run = (name: string, values: readonly string[] = []): Turn => [bind(name, values), execute(), sync()];
const prepare = (name: string, sql: string): Turn => [parse(name, sql), sync()];
const close = (name: string): Turn => [message("C", text(`S${name}`)), sync()];

const SCRIPTS: readonly Script[] = [
  {
    name: "DISCARD ALL that was prepared",
    turns: [prepare("f", "SELECT 1"), prepare("d", "DISCARD ALL"), run("f"), run("d"), run("f"), run("d")],
  },
  {
    name: "DEALLOCATE ALL that was prepared",
    turns: [prepare("f", "SELECT 1"), prepare("d", "DEALLOCATE ALL"), run("f"), run("d"), run("f")],
  },
  {
    name: "DISCARD ALL",
    turns: [prepare("f", "SELECT 1"), "DISCARD ALL", run("f"), prepare("f", "SELECT 2"), run("f")],
  },
  {
    name: "DEALLOCATE of a statement by name",
    turns: [prepare("f", "SELECT 1"), "DEALLOCATE f", run("f"), prepare("f", "SELECT 2"), run("f")],
  },
  {
    name: "EXECUTE of a statement that was parsed",
    turns: [prepare("f", "SELECT 1"), "EXECUTE f"],
  },
  { name: "PREPARE, and Bind of it", turns: ["PREPARE f AS SELECT 1", run("f"), "DEALLOCATE f", run("f")] },
  {
    name: "two statements of one name",
    turns: [
      prepare("f", "SELECT 1"),
      prepare("f", "SELECT 2"),
      run("f"),
      close("f"),
      prepare("f", "SELECT 3"),
      run("f"),
    ],
  },
  {
    name: "a Parse in a failed transaction",
    turns: ["BEGIN", "SELECT 1/0", prepare("f", "SELECT 1"), "ROLLBACK", run("f")],
  },
  {
    name: "a Parse in a transaction that is rolled back",
    turns: ["BEGIN", prepare("f", "SELECT 1"), "ROLLBACK", run("f")],
  },
  {
    name: "a statement whose table changes",
    turns: [
      "CREATE TABLE turning (a int)",
      prepare("f", "SELECT * FROM turning"),
      run("f"),
      "ALTER TABLE turning ADD b int",
      run("f"),
      run("f"),
      "DROP TABLE turning",
      run("f"),
    ],
  },
  {
    name: "a statement under another search_path",
    turns: [
      "CREATE SCHEMA other; CREATE TABLE other.turning AS SELECT 'other' AS v",
      "CREATE TABLE turning AS SELECT 'public' AS v",
      prepare("f", "SELECT v FROM turning"),
      run("f"),
      "SET search_path = other",
      run("f"),
      "RESET search_path",
      run("f"),
      "DROP SCHEMA other CASCADE; DROP TABLE turning",
    ],
  },
  {
    name: "LISTEN, rolled back",
    turns: ["BEGIN", "LISTEN x", "ROLLBACK", "NOTIFY x, 'one'", "SELECT 1"],
  },
  {
    name: "LISTEN, behind which its query fails",
    turns: ["LISTEN x; SELECT 1/0", "NOTIFY x, 'one'", "SELECT 1"],
  },
  {
    name: "UNLISTEN, rolled back",
    turns: ["LISTEN x", "BEGIN", "UNLISTEN x", "ROLLBACK", "NOTIFY x, 'one'", "SELECT 1"],
  },
  {
    name: "LISTEN that was prepared, run again after UNLISTEN",
    turns: [prepare("l", "LISTEN x"), run("l"), "UNLISTEN x", run("l"), "NOTIFY x, 'one'", "SELECT 1"],
  },
  {
    name: "NOTIFY that was prepared",
    turns: ["LISTEN x", prepare("n", "NOTIFY x, 'one'"), run("n"), "SELECT 1"],
  },
  { name: "NOTIFY, rolled back", turns: ["LISTEN x", "BEGIN", "NOTIFY x, 'one'", "ROLLBACK", "SELECT 1"] },
  {
    name: "SET in two forms",
    turns: ["SET NAMES 'LATIN1'", "SHOW client_encoding", "SET XML OPTION DOCUMENT", "SHOW xmloption"],
  },
  {
    name: "a time zone that is an interval",
    turns: ["SET TIME ZONE INTERVAL '+02:30' HOUR TO MINUTE", "SHOW TimeZone"],
  },
  { name: "lists of names", turns: [`SET search_path = 'a b', "c""d", public`, "SHOW search_path"] },
  { name: "an empty list of names", turns: ["SET search_path = ''", "SHOW search_path"] },
  { name: "a SET that fails", turns: ["SET nonsense = 1", "SET work_mem = '1GB'", "SHOW work_mem"] },
];

/** An answer as a line of text; what was notified goes to `notified`. */
function line(messages: readonly Message[], notified: string[]): string {
  const parts: string[] = [];
  for (const { type, body } of messages) {
    if (type === "A") notified.push(body.subarray(4).toString());
    else if (type === "E") parts.push(`E${errorField({ type, body }, "C")}`);
    else if (type !== "S") parts.push(`${type}${["D", "Z"].includes(type) ? body.toString() : ""}`);
  }
  return parts.join(" ");
}

/** Says all of it; the answers, and at the end what was notified. */
async function say(
  client: RawClient,
  turns: readonly Turn[],
  between: () => Promise<unknown>,
): Promise<string[]> {
  const answers: string[] = [];
  const notified: string[] = [];
  for (const turn of turns) {
    client.send(...(typeof turn === "string" ? [query(turn)] : turn));
    answers.push(line(await client.until("Z"), notified));
    await between();
  }
  if (notified.length === 0) {
    await delay(LATE_MS);
    client.send(query("SELECT 'late'"));
    line(await client.until("Z"), notified);
  }
  return [...answers, `notified: ${notified.join()}`];
}

describe("in turns with another client", () => {
  let stage: Stage;
  let other: RawClient;
  before(async () => {
    stage = await Stage.open({ shards: 1, accounts: 1, config: { pool: { max: 2 } } });
    other = await RawClient.login(stage.port);
  });
  after(async () => {
    other?.close();
    await stage?.stop();
  });

  for (const { name, turns } of SCRIPTS) {
    test(`${name} is answered as by Postgres`, WAIT, async () => {
      const direct = await RawClient.login(stage.shards[0]!.port);
      const client = await RawClient.login(stage.port);
      try {
        const expected = await say(direct, turns, async () => {});
        const between = async (): Promise<void> => {
          other.send(query("SELECT 1"));
          await other.until("Z");
        };
        assert.deepEqual(await say(client, turns, between), expected);
      } finally {
        direct.close();
        client.close();
      }
    });
  }
});
