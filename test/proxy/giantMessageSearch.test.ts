import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type GiantFindings, GiantMessageSearch } from "../../src/proxy/giantMessageSearch.ts";
import { cutAt, cuts } from "../wire/wireBytes.ts";

function findings(chunks: readonly Buffer[]): GiantFindings {
  let found: GiantFindings | null = null;
  const search = new GiantMessageSearch((all) => {
    found = all;
  });
  for (const chunk of chunks) search.take(chunk, 0, chunk.length);
  search.finish();
  return found ?? assert.fail("nothing was told");
}

/** What is found beyond what is taken for granted. */
function found(chunks: readonly Buffer[]): string[] {
  const { effects, mayHaveForgotten } = findings(chunks);
  const told = effects.flatMap((effect) => {
    if (effect.kind === "pin") return [effect.reason];
    return effect.kind === "schema" ? ["schema"] : [];
  });
  return [...told, ...(mayHaveForgotten ? ["forgotten"] : [])].sort();
}

/** A word that is only the beginning of another may be found where the other is cut; these two must not be. */
function assertFound(chunks: readonly Buffer[], expected: readonly string[], text: string): void {
  const all = found(chunks);
  assert.deepEqual(
    expected.filter((one) => !all.includes(one)),
    [],
    `missed in ${text}`,
  );
  const needless = all.filter((one) => !expected.includes(one));
  assert.ok(!needless.includes("load") && !needless.includes("prepare"), `${needless} found in ${text}`);
}

const TEXTS: Readonly<Record<string, readonly string[]>> = {
  "CREATE TEMP TABLE t (a int)": ["schema", "temporary table"],
  "create Temporary view v as select 1": ["schema", "temporary table"],
  "SELECT 1 INTO pg_temp.t": ["temporary table"],
  "SELECT pg_try_advisory_lock(1)": ["advisory lock"],
  "DECLARE c CURSOR WITH HOLD FOR SELECT 1": ["hold cursor"],
  "LOAD 'auto_explain'": ["load"],
  "load/* the */'auto_explain'": ["load"],
  "LOAD -- it\n E'auto_explain'": ["load"],
  [`LOAD ${" ".repeat(2_000)}'auto_explain'`]: ["load"],
  "PREPARE s AS SELECT 1": ["prepare"],
  "prepare s(int) as select 1": ["prepare"],
  'PREPARE "as it is" AS SELECT 1': ["prepare"],
  "PREPARE/**/s AS SELECT 1": ["prepare"],
  [`PREPARE ${"s".repeat(2_000)} AS SELECT 1`]: ["prepare"],
  [`PREPARE s ${"\n".repeat(2_000)} AS SELECT 1`]: ["prepare"],
  "DISCARD ALL": ["forgotten"],
  "DEALLOCATE s": ["forgotten"],
  "DO $$ BEGIN PERFORM 1; END $$": ["schema"],
  "SELECT 'a download, a payload, and load to carry; prepare for it'": [],
  "PREPARE TRANSACTION 'gid'": [],
  "SELECT 1": [],
};

describe("a search of a statement in pieces", () => {
  it("finds the words, however the text is cut", () => {
    for (const [text, expected] of Object.entries(TEXTS)) {
      const bytes = Buffer.from(`SELECT '${"x".repeat(700)}'; ${text} ;${"y".repeat(700)}`);
      assert.deepEqual(found([bytes]), expected, text);
      fc.assert(
        fc.property(cuts, (places) => assertFound(cutAt(bytes, places), expected, text)),
        { numRuns: 30 },
      );
    }
  });

  it("finds each of them cut at any of its bytes", () => {
    for (const [text, expected] of Object.entries(TEXTS)) {
      const bytes = Buffer.from(`;${text} ;`);
      for (let at = 0; at <= Math.min(bytes.length, 300); at += 1)
        assertFound([bytes.subarray(0, at), bytes.subarray(at)], expected, `${text} cut at ${at}`);
    }
  });

  it("takes for granted what costs little: settings, and what is listened to or notified", () => {
    const kinds = findings([Buffer.from("SELECT 1")]).effects.map(({ kind }) => kind);
    assert.deepEqual(kinds, ["set", "setLocal", "listen", "notify"]);
  });
});
