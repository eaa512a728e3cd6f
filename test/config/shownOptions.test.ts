/** SHOW CONFIG's options: every one there is, as it is in force, without secrets. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, it } from "node:test";
import { VERSION } from "../../src/base/version.ts";
import { loadConfig } from "../../src/config/load.ts";
import { OPTIONS } from "../../src/config/options.ts";
import { shownOptions } from "../../src/config/shownOptions.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const VARIABLES = { APP_PASSWORD: "secret-a", EAST_PASSWORD: "secret-b", WEST_PASSWORD: "secret-c" };
const shown = shownOptions(loadConfig(join(ROOT, "config/pgxa.yaml"), VARIABLES));

describe("the shown options", () => {
  it("have every option of the example, with its value", () => {
    const paths = new Set(shown.map(({ key }) => key.replace(/\[\d+\]/, "[]")));
    assert.deepEqual([...paths].sort(), OPTIONS.map(({ path }) => path).sort());
    for (const { path, isOptional } of OPTIONS) {
      const values = shown.filter(({ key }) => key.replace(/\[\d+\]/, "[]") === path);
      assert.ok(
        isOptional || values.every(({ value }) => value !== null),
        `${path} has no value: is it in Config?`,
      );
    }
  });

  it("write values as the file does", () => {
    const of = (key: string) => shown.find((option) => option.key === key);
    assert.equal(of("pool.checkout_timeout")?.value, "15s");
    assert.equal(of("limits.message_held_max")?.value, "64MB");
    assert.equal(of("shards[0].password")?.value, "(hidden)");
    assert.equal(of("pool.max")?.default, "20");
  });

  it("have no secret", () => assert.doesNotMatch(JSON.stringify(shown), /secret-/));
});

describe("the version", () => {
  it("is that of package.json", () => {
    assert.equal(JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).version, VERSION);
  });
});
