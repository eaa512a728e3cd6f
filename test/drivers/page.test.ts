/** What the applications' lines are read as, and what is told of them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { misses, onlyMissedThere, passedCount, readOutcome } from "./outcome.ts";
import { BEGIN, END, findings, placed } from "./page.ts";

const direct = readOutcome("ok one\nnot ok two: why: because\nok three\nnoise\ndone\n");
const through = readOutcome("not ok one: no\nnot ok two: no\n");

describe("an outcome", () => {
  it("is read from the lines that tell of checks", () => {
    assert.deepEqual(
      [...direct.checks],
      [
        ["one", null],
        ["two", "why: because"],
        ["three", null],
      ],
    );
    assert.deepEqual([direct.isWhole, through.isWhole, passedCount(direct)], [true, false, 2]);
  });

  it("misses what did not pass and what was not come to", () => {
    assert.deepEqual(
      misses(through, direct.checks.keys()).map(({ check }) => check),
      ["one", "two", "three"],
    );
  });

  it("is held against what passes directly", () => {
    assert.deepEqual(
      onlyMissedThere(direct, through).map(({ check }) => check),
      ["one", "three"],
    );
  });
});

describe("the page", () => {
  const row = {
    application: "app",
    version: "1",
    outcomes: new Map([
      ["Postgres", direct],
      ["pgxa", through],
    ]),
  };

  it("has a line for each application and each miss", () => {
    const text = findings(["Postgres", "pgxa"], [row], ["psql is missing"]);
    assert.match(text, /^\| app 1 \| 3 \| 2 \| 0 \|$/m);
    assert.match(text, /^- app: three \(the application broke off before it\)$/m);
    assert.match(text, /^- not run: psql is missing$/m);
  });

  it("keeps the text around its place", () => {
    const page = `before\n${BEGIN}\nold\n${END}\nafter\n`;
    assert.equal(placed(page, "new"), `before\n${BEGIN}\n\nnew\n\n${END}\nafter\n`);
    assert.equal(placed("# Title\n", "new"), `# Title\n\n${BEGIN}\n\nnew\n\n${END}\n`);
  });
});
