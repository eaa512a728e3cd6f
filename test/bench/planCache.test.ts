/** The micro-benchmark of plan lookups, tiny: what it looks up costs the parses that it says. */
import assert from "node:assert/strict";
import { before, it } from "node:test";
import { lookupFigures } from "../../bench/micro/planCache.ts";
import { loadParser } from "../../src/routing/parse.ts";

before(loadParser);

it("a text with other literals costs no parse, a text with other words one", () => {
  const lookups = 100;
  const figures = lookupFigures(lookups, 1);
  assert.equal(figures.length, 9);
  for (const { statement, lookup, parses, microseconds } of figures) {
    assert.equal(parses, lookup === "miss" ? lookups : 0, `${statement}, ${lookup}`);
    assert.ok(microseconds > 0);
  }
});
