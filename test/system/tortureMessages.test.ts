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
  ["a Sync with a body", [message("S", int32(0))]],
  ["a CopyDone out of place", [message("c"), query("")]],
  ["a CopyFail out of place", [message("f", text("why")), query("")]],
  ["CopyData out of place", [message("d", Buffer.from("1\tx\n")), query("")]],
  ["a Query with invalid UTF-8", [message("Q", Buffer.from([0x53, 0xff, 0xfe, 0]))]],
  ["an Execute of minus one row", [SELECT, bind("", ["1"]), execute("", -1), sync()]],
];

const NOT_ANSWERED = "the Parse before it is not answered";
/** What pgxa answers otherwise over several shards, and how. */
const DIFFERENT: ReadonlyMap<string, string> = new Map([
  // pgxa: the batch is read before anything is sent, and a Bind that is wrong is told of before its Parse is answered.
  ["an empty Bind", NOT_ANSWERED],
  ["a Bind with a parameter of a negative length", NOT_ANSWERED],
  ["a Bind with a parameter longer than itself", NOT_ANSWERED],
  ["a Bind with two formats for one parameter", NOT_ANSWERED],
  ["a Bind with more behind its end", NOT_ANSWERED],
  // pgxa: readBind() takes it for malformed.
  ["a Bind with an unknown format", "08P01 and not 22023"],
  // pgxa: the name is looked up before the message is read to its end.
  ["an Execute without its number", "34000 and not 08P01"],
  // pgxa: a Sync's length is not looked at.
  ["a Sync with a body", "it is taken for a Sync"],
]);

for (const shards of [1, 2]) {
  describe(`over ${shards === 1 ? "one shard" : `${shards} shards`}`, () => {
    let rig: Rig;
    before(async () => {
      rig = await Rig.open({ shards, poolMax: 3 });
    });
    after(() => rig?.stop());

    for (const [name, messages] of WRONG) {
      const todo = shards > 1 && DIFFERENT.get(name);
      test(`${name} is answered as by Postgres`, todo ? { ...WAIT, todo } : WAIT, async () => {
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
