/** What is shipped agrees with the code: config/, and the pages of docs/ that are made from tables. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, it } from "node:test";
import { isMap, isScalar, isSeq, parseDocument } from "yaml";
import { loadConfig } from "../../src/config/load.ts";
import { OPTIONS } from "../../src/config/options.ts";
import { readValue } from "../../src/config/values.ts";
import { PAGES } from "../support/referencePages.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const VARIABLES = { APP_PASSWORD: "a", DB_PASSWORD: "b", SHARD_PASSWORD: "c" };

/** Every scalar of the example, with its path as the option table has it. */
function scalarsOf(node: unknown, path = ""): readonly (readonly [path: string, text: string])[] {
  if (isScalar(node)) return [[path, String(node.value)]];
  if (isSeq(node)) return node.items.flatMap((item) => scalarsOf(item, `${path}[]`));
  if (!isMap(node)) return [];
  return node.items.flatMap(({ key, value }) => scalarsOf(value, path === "" ? `${key}` : `${path}.${key}`));
}

describe("config/pgxa.yaml", () => {
  const text = readFileSync(join(ROOT, "config/pgxa.yaml"), "utf8");
  const scalars = scalarsOf(parseDocument(text, { schema: "failsafe" }).contents);

  it("is valid", () => {
    const { shards, tables } = loadConfig(join(ROOT, "config/pgxa.yaml"), VARIABLES);
    assert.equal(shards.length, 2);
    assert.deepEqual(
      tables.map(({ kind }) => kind),
      ["sharded", "sharded", "reference", "single"],
    );
  });

  it("has every option, and no other", () => {
    const paths = new Set(scalars.map(([path]) => path));
    assert.deepEqual([...paths].sort(), OPTIONS.map(({ path }) => path).sort());
  });

  it("shows the defaults", () => {
    for (const option of OPTIONS.filter(({ path }) => !path.includes("[]"))) {
      if (option.default === undefined) continue;
      const [, shown] = scalars.find(([path]) => path === option.path)!;
      assert.deepEqual(readValue(option, shown), { ok: true, value: option.default }, option.path);
    }
  });
});

describe("config/examples", () => {
  for (const file of globSync("config/examples/*.yaml", { cwd: ROOT }).sort()) {
    it(`${file} is valid`, () => {
      assert.ok(loadConfig(join(ROOT, file), VARIABLES).shards.length > 0);
    });

    it(`${file} asks for its passwords`, () => {
      assert.throws(() => loadConfig(join(ROOT, file), {}), /needs the environment variable APP_PASSWORD/);
    });
  }
});

describe("docs", () => {
  for (const [path, page] of Object.entries(PAGES)) {
    it(`${path} is what the code says (node test/support/referencePages.ts writes it anew)`, () => {
      assert.equal(readFileSync(join(ROOT, path), "utf8"), page());
    });
  }
});
