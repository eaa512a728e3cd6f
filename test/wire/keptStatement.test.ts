import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { serialize } from "pg-protocol/dist/serializer.js";
import { batchOf, keptStatement } from "../../src/wire/keptStatement.ts";
import { MessageBuilder } from "../../src/wire/messageBuilder.ts";

const KEPT = keptStatement("pgxa_x", "SELECT $1, $2");
const EXECUTE = serialize.execute({ portal: "", rows: 0 });

/** All values as text, and all results. */
function bind(name: string, values: readonly string[]): Buffer {
  const builder = new MessageBuilder(0x42).cstring("").cstring(name).uint16(0).uint16(values.length);
  for (const value of values.map((text) => Buffer.from(text))) builder.int32(value.length).bytes(value);
  return builder.uint16(0).finish();
}

const expected = (values: readonly string[], sql: string): readonly Buffer[] => [
  bind(KEPT.name, values),
  EXECUTE,
  serialize.parse({ name: "", text: sql, types: [] }),
  serialize.bind({ portal: "", statement: "", values: [] }),
  EXECUTE,
  serialize.sync(),
];

describe("a batch of a kept statement and one behind it", () => {
  it("runs the first by its name, and the second without one", () => {
    for (const values of [[], ["f:c:1:1", "[]"], ["ü", "日本"]]) {
      for (const sql of ["COMMIT", "PREPARE TRANSACTION 'ü'"])
        assert.deepEqual(batchOf(KEPT, true, values, sql), Buffer.concat(expected(values, sql)));
    }
  });

  it("makes the first where it does not stand, whatever stands under its name", () => {
    const making = [
      serialize.close({ type: "S", name: KEPT.name }),
      serialize.parse({ name: KEPT.name, text: KEPT.text, types: [] }),
    ];
    const values = ["a", "b"];
    assert.deepEqual(
      batchOf(KEPT, false, values, "COMMIT"),
      Buffer.concat([...making, ...expected(values, "COMMIT")]),
    );
  });
});
