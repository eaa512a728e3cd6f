/** Messages of the right length that are wrong inside: what Postgres itself answers is the measure. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  bind,
  describeStatement,
  errorField,
  execute,
  int16,
  int32,
  message,
  parse,
  query,
  sync,
  terminate,
  text,
} from "./rawClient.ts";
import { Rig } from "./tortureRig.ts";

const WAIT = { timeout: 60_000 };

const here = (sql: string): string => `/* pgxa: shard=east */ ${sql}`;

const SELECT = parse("", here("SELECT $1::int"));
const KEYED = parse("", "SELECT owner FROM accounts WHERE id = $1");
const RAN = [SELECT, bind("", ["1"]), execute()];
const WRONG: readonly (readonly [string, readonly Buffer[]])[] = [
  ["a Query without its end", [message("Q", Buffer.from("SELECT 1"))]],
  ["an empty Query message", [message("Q")]],
  ["a Query with more behind its end", [message("Q", text("SELECT 1"), text("SELECT 2"))]],
  ["an empty Parse", [message("P"), sync()]],
  ["a Parse without types", [message("P", text(""), text("SELECT 1")), sync()]],
  ["a Parse with a negative number of types", [message("P", text(""), text("SELECT 1"), int16(-1)), sync()]],
  ["a Parse that lacks types", [message("P", text(""), text("SELECT 1"), int16(3), int32(23)), sync()]],
  [
    "a Parse of an unknown type",
    [message("P", text(""), text("SELECT $1"), int16(1), int32(999_999)), sync()],
  ],
  ["an empty Bind", [SELECT, message("B"), sync()]],
  ["a Bind without parameters", [SELECT, bind(""), execute(), sync()]],
  ["a Bind with too many parameters", [SELECT, bind("", ["1", "2"]), execute(), sync()]],
  [
    "a Bind with a parameter of a negative length",
    [SELECT, message("B", text(""), text(""), int16(0), int16(1), int32(-2), int16(0)), sync()],
  ],
  [
    "a Bind with a parameter longer than itself",
    [SELECT, message("B", text(""), text(""), int16(0), int16(1), int32(0x7fff_ffff), int16(0)), sync()],
  ],
  [
    "a Bind with two formats for one parameter",
    [
      SELECT,
      message("B", text(""), text(""), int16(2), int16(0), int16(0), int16(1), int32(1), text("1"), int16(0)),
      sync(),
    ],
  ],
  [
    "a Bind with an unknown format",
    [
      SELECT,
      message("B", text(""), text(""), int16(1), int16(9), int16(1), int32(1), Buffer.from("1"), int16(0)),
      sync(),
    ],
  ],
  [
    "a Bind with more behind its end",
    [
      SELECT,
      message("B", text(""), text(""), int16(0), int16(1), int32(1), Buffer.from("1"), int16(0), int32(0)),
      sync(),
    ],
  ],
  ["a Bind of a value that is no number", [SELECT, bind("", ["x"]), execute(), sync()]],
  ["a Describe of neither", [message("D", Buffer.from("X"), text("")), sync()]],
  ["an empty Describe", [message("D"), sync()]],
  ["a Describe of a statement that is not there", [describeStatement("nowhere"), sync()]],
  ["a Describe of a portal that is not there", [message("D", text("Pnowhere")), sync()]],
  ["a Close of neither", [message("C", Buffer.from("X"), text("")), sync()]],
  ["a Close of nothing", [message("C", text("Snowhere")), message("C", text("Pnowhere")), sync()]],
  ["an Execute of a portal that is not there", [execute("nowhere"), sync()]],
  ["an Execute without its number", [message("E", text("")), sync()]],
  ["an empty Bind behind what ran", [...RAN, message("B"), sync()]],
  [
    "a Describe of neither behind what ran",
    [...RAN, message("D", Buffer.from("X"), text("")), ...RAN, sync()],
  ],
  ["an Execute without its number behind what ran", [...RAN, message("E", text("")), ...RAN, sync()]],
  ["a Bind that lacks the key", [KEYED, bind(""), execute(), sync()]],
  ["a Bind that lacks the key in a transaction", [query("BEGIN"), KEYED, bind(""), sync(), query("COMMIT")]],
  [
    "a Bind with an unknown format of the key",
    [
      KEYED,
      message("B", text(""), text(""), int16(1), int16(9), int16(1), int32(1), Buffer.from("1"), int16(0)),
      sync(),
    ],
  ],
  [
    "a Bind with an unknown format of the result",
    [
      SELECT,
      message("B", text(""), text(""), int16(0), int16(1), int32(1), Buffer.from("1"), int16(1), int16(9)),
      execute(),
      sync(),
    ],
  ],
  ["a Sync with a body", [message("S", int32(0))]],
  ["a Sync with a body behind a Parse", [SELECT, message("S", int32(0))]],
  ["a Sync with a body behind what ran", [SELECT, bind("", ["1"]), execute(), message("S", int32(0))]],
  [
    "a Sync with a body in a transaction",
    [query("BEGIN"), SELECT, bind("", ["1"]), execute(), message("S", int32(0)), query("ROLLBACK")],
  ],
  ["a Describe with more behind its end", [SELECT, message("D", text("S"), int32(0)), sync()]],
  ["a Close with more behind its end", [SELECT, message("C", text("S"), int32(0)), sync()]],
  [
    "an Execute with more behind its end",
    [SELECT, bind("", ["1"]), message("E", text(""), int32(0), int32(0)), sync()],
  ],
  [
    "a Bind of a statement that is not there",
    [SELECT, message("B", text(""), text("nowhere"), int16(0), int16(0), int16(0)), sync()],
  ],
  ["a Parse with an error behind another", [SELECT, parse("b", here("SELEC 1")), sync()]],
  ["an empty Bind in a transaction", [query("BEGIN"), SELECT, message("B"), sync(), query("ROLLBACK")]],
  ["a CopyDone out of place", [message("c"), query("")]],
  ["a CopyFail out of place", [message("f", text("why")), query("")]],
  ["CopyData out of place", [message("d", Buffer.from("1\tx\n")), query("")]],
  ["a Query with invalid UTF-8", [message("Q", Buffer.from([0x53, 0xff, 0xfe, 0]))]],
  ["an Execute of minus one row", [SELECT, bind("", ["1"]), execute("", -1), sync()]],
];

for (const shards of [1, 2]) {
  describe(`over ${shards === 1 ? "one shard" : `${shards} shards`}`, () => {
    let rig: Rig;
    before(async () => {
      rig = await Rig.open({ shards, poolMax: 3 });
    });
    after(() => rig?.stop());

    for (const [name, messages] of WRONG) {
      test(`${name} is answered as by Postgres`, WAIT, async () => {
        const client = await rig.login();
        const theirs = await rig.direct();
        const answers = [client, theirs].map(async (one) => {
          one.send(...messages, query("SELECT 'next'"), terminate());
          return (await one.untilClosed()).map((m) => (m.type === "E" ? `E ${errorField(m, "C")}` : m.type));
        });
        const [mine, direct] = await Promise.all(answers);
        assert.deepEqual(mine, direct);
        await rig.assertIdle();
      });
    }
  });
}
