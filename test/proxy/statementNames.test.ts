/** Which statements get a name, when, and for how long. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isShareable, StatementNames } from "../../src/proxy/statementNames.ts";

const FIND = "SELECT * FROM accounts WHERE id = $1";
const PATH = "SELECT pg_catalog.set_config('search_path', 'one', false)";

/** The names for so many sightings of an unnamed text. */
const sightings = (names: StatementNames, count: number, text = FIND, types: number[] = [], settings = "") =>
  Array.from({ length: count }, () => names.sharedNameOf(text, types, settings));

const isNamed = (name: string): boolean => /^pgxa_\d+$/.test(name);

describe("a text", () => {
  const means: readonly (readonly [text: string, same: boolean])[] = [
    [FIND, true],
    [" \n\tselect 1", true],
    ["INSERT INTO x VALUES ($1, $2) RETURNING *", true],
    ["update x set a = $1", true],
    ["DELETE FROM x", true],
    ["WITH a AS (SELECT 1) SELECT * FROM a", true],
    ["VALUES ($1)", true],
    ["MERGE INTO x USING y ON true WHEN MATCHED THEN DELETE", true],
    ['SELECT "a b" FROM "X"', true],
    ["SELECT now(), current_date", true],
    ["SELECT $1::date", true],
    ["SELECT 'now'::timestamp", false],
    ["SELECT DATE '01/02/2020'", false],
    ["SELECT E'a'", false],
    ["SELECT 1 /* it's */", false],
    ["SELECT $$now$$", false],
    ["SELECT $a$now$a$::timestamp", false],
    ["SELECT $_1$now$_1$", false],
    ["SELECT 1 AS ä", false],
    ["SELECT 1 AS \u0080", false],
    ["SELECT 1 AS \u{1f600}", false],
    ["selection", false],
    ["(SELECT 1)", false],
    ["/* c */ SELECT 1", false],
    ["", false],
    ["BEGIN", false],
    ["SET a = 1", false],
    ["EXPLAIN SELECT 1", false],
    ["CREATE TABLE x (a int)", false],
    ["FETCH 1 FROM c", false],
    [`SELECT ${"1".repeat(8_185)}`, true],
    [`SELECT ${"1".repeat(8_186)}`, false],
  ];
  it("is shared only where it means the same to all and always", () => {
    for (const [text, same] of means) assert.equal(isShareable(text), same, text.slice(0, 80));
  });
});

const CLOCK = { nowMs: 0, monotonicMs: () => CLOCK.nowMs };

describe("an unnamed statement", () => {
  it("gets another name after ten seconds, so that it is parsed anew", () => {
    const names = new StatementNames(10, true, CLOCK);
    const name = sightings(names, 6).at(-1)!;
    CLOCK.nowMs += 9_999;
    assert.deepEqual(sightings(names, 1), [name]);
    CLOCK.nowMs += 1;
    const [next, again] = sightings(names, 2);
    assert.ok(isNamed(next!) && next !== name);
    assert.equal(again, next);
  });

  it("gets a name at its sixth sighting, and keeps it", () => {
    const names = new StatementNames(10, true, CLOCK);
    assert.deepEqual(sightings(names, 5), ["", "", "", "", ""]);
    const [name, again] = sightings(names, 2);
    assert.ok(isNamed(name!), String(name));
    assert.equal(again, name);
  });

  it("has another name with other parameter types, and under another search_path", () => {
    const names = new StatementNames(10, true, CLOCK);
    const given = [
      sightings(names, 6).at(-1)!,
      sightings(names, 6, FIND, [23]).at(-1)!,
      sightings(names, 6, FIND, [23, 20]).at(-1)!,
      sightings(names, 6, FIND, [], PATH).at(-1)!,
      sightings(names, 6, FIND, [], PATH.replace("'one'", " E'a\\\\b'''")).at(-1)!,
    ];
    assert.ok(given.every(isNamed), given.join());
    assert.equal(new Set(given).size, given.length, given.join());
  });

  it("has the same name whatever else a client has set", () => {
    const names = new StatementNames(10, true, CLOCK);
    const set = (name: string, value: string, rest = "") =>
      `SELECT pg_catalog.set_config('${name}', '${value}', false)${rest}`;
    const name = sightings(names, 6).at(-1)!;
    assert.equal(names.sharedNameOf(FIND, [], set("application_name", "one")), name);
    assert.equal(names.sharedNameOf(FIND, [], set("a.b", "(''search_path'', ''one'')")), name);
    const [onPath] = sightings(names, 6, FIND, [], PATH).slice(-1);
    assert.equal(names.sharedNameOf(FIND, [], `${set("a.b", "c", ", ")}${PATH.slice(7)}`), onPath);
  });

  it("stays without a name where it is not to be shared, though a client has named that text", () => {
    const names = new StatementNames(10, true, CLOCK);
    const text = "SELECT 'now'::timestamp";
    assert.ok(isNamed(names.nameOf(text, [])));
    assert.ok(sightings(names, 20, text).every((name) => name === ""));
    assert.ok(sightings(names, 20, `SELECT ${"1".repeat(9_000)}`).every((name) => name === ""));
  });

  it("never has the name of a statement that a client named", () => {
    const names = new StatementNames(10, true, CLOCK);
    const named = names.nameOf(FIND, []);
    assert.notEqual(sightings(names, 6).at(-1), named);
    assert.equal(names.nameOf(FIND, []), named);
  });

  it("stays without a name where sharing is off, while named ones have theirs", () => {
    const names = new StatementNames(10, false, CLOCK);
    assert.ok(sightings(names, 20).every((name) => name === ""));
    assert.ok(isNamed(names.nameOf(FIND, [])));
  });
});

describe("names", () => {
  it("are begun anew for a text that is forgotten, and for no other", () => {
    const names = new StatementNames(10, true, CLOCK);
    const other = sightings(names, 6, "SELECT 1").at(-1);
    const onPath = sightings(names, 6, FIND, [], PATH).at(-1);
    const first = sightings(names, 6).at(-1);
    names.forget(FIND, [], "");
    assert.deepEqual(sightings(names, 5), ["", "", "", "", ""]);
    const [next] = sightings(names, 1);
    assert.ok(isNamed(next!));
    assert.notEqual(next, first);
    assert.equal(names.sharedNameOf("SELECT 1", [], ""), other);
    assert.equal(names.sharedNameOf(FIND, [], PATH), onPath);
  });

  it("are all begun anew when all are forgotten", () => {
    const names = new StatementNames(10, true, CLOCK);
    const first = sightings(names, 6).at(-1);
    const named = names.nameOf(FIND, []);
    names.forgetAll();
    assert.deepEqual(sightings(names, 5), ["", "", "", "", ""]);
    assert.notEqual(names.sharedNameOf(FIND, [], ""), first);
    assert.notEqual(names.nameOf(FIND, []), named);
  });

  it("are so many and no more: the oldest goes", () => {
    const names = new StatementNames(2, true, CLOCK);
    const first = names.nameOf("a", []);
    const second = names.nameOf("b", []);
    assert.equal(names.nameOf("a", []), first);
    names.nameOf("c", []);
    assert.equal(names.nameOf("b", []), second);
    assert.notEqual(names.nameOf("a", []), first);
  });

  it("are kept for so many unnamed texts and no more", () => {
    const names = new StatementNames(2, true, CLOCK);
    const kept = sightings(names, 6).at(-1);
    sightings(names, 1, "SELECT 1");
    assert.equal(names.sharedNameOf(FIND, [], ""), kept);
    sightings(names, 1, "SELECT 2");
    assert.equal(names.sharedNameOf(FIND, [], ""), "", "seen for the first time again");
  });
});
