import assert from "node:assert/strict";
import { test } from "node:test";
import { ALL_CASES, CASES, MORE_CASES } from "../../bench/cases.ts";
import { DIMENSIONS } from "../../bench/growth/plan.ts";
import { parseOptions, UsageError } from "../../bench/options.ts";
import { remaining } from "../../bench/progress.ts";

test("without arguments every case runs", () => {
  const options = parseOptions([]);
  assert.ok(options !== "help");
  assert.deepEqual([options.cases, options.rounds, options.seconds, options.scale], [CASES, 5, 3, 10]);
});

test("named cases run in the order given, with the number of clients given", () => {
  const options = parseOptions(["transfer", "select", "--clients", "3", "--seconds", "0.5", "--rounds", "1"]);
  assert.ok(options !== "help");
  assert.deepEqual(
    options.cases.map(({ name, clients }) => [name, clients]),
    [
      ["transfer", 3],
      ["select", 3],
    ],
  );
  assert.deepEqual([options.rounds, options.seconds], [1, 0.5]);
});

test("more cases run if they are named, and all with --all", () => {
  const named = parseOptions(["idle", "connect-scram", "--megabytes", "10"]);
  assert.ok(named !== "help");
  assert.deepEqual(
    named.cases.map(({ name }) => name),
    ["idle", "connect-scram"],
  );
  assert.equal(named.megabytes, 10);
  const all = parseOptions(["--all"]);
  assert.ok(all !== "help");
  assert.deepEqual(all.cases, ALL_CASES);
});

test("growth runs apart from the cases, if it is named and with all of them", () => {
  const named = parseOptions(["growth", "--rounds", "2"]);
  assert.ok(named !== "help");
  assert.deepEqual([named.cases, named.growth?.rounds, named.growth?.seconds], [[], 2, 1]);
  assert.deepEqual(named.growth?.dimensions, DIMENSIONS);
  const quick = parseOptions(["growth", "select", "--quick"]);
  assert.ok(quick !== "help");
  assert.deepEqual(
    quick.growth?.dimensions.map(({ values }) => values.length),
    [2, 2, 2, 2, 2],
  );
  assert.deepEqual(
    quick.cases.map(({ name }) => name),
    ["select"],
  );
  const [usual, all] = [parseOptions([]), parseOptions(["--all"])];
  assert.ok(usual !== "help" && all !== "help");
  assert.deepEqual([usual.growth, all.growth?.dimensions], [null, DIMENSIONS]);
});

test("pgxa is one process unless workers are asked for", () => {
  const workersOf = (...argv: string[]) => {
    const options = parseOptions(argv);
    assert.ok(options !== "help");
    return options.workers;
  };
  assert.deepEqual(
    [workersOf(), workersOf("--workers", "2"), workersOf("--workers", "auto")],
    [1, 2, "auto"],
  );
});

test("no two cases have one name", () => {
  const names = [...CASES, ...MORE_CASES].map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
});

test("help is help", () => {
  assert.equal(parseOptions(["--help"]), "help");
});

for (const argv of [
  ["nonsense"],
  ["--rounds", "0"],
  ["--rounds", "1.5"],
  ["--seconds", "-1"],
  ["--clients", "many"],
  ["--unheard-of"],
  ["--all", "select"],
  ["--results", "a.json"],
  ["commit", "--baseline", "a.json"],
  ["--megabytes", "none"],
  ["growth", "--clients", "4"],
  ["growth", "--baseline", "a.json"],
  ["growth", "--full"],
  ["select", "--quick"],
  ["--workers", "65"],
  ["--workers", "many"],
]) {
  test(`${argv.join(" ")} is refused`, () => {
    assert.throws(() => parseOptions(argv), UsageError);
  });
}

test("the remaining time is told in steps of five seconds", () => {
  assert.equal(remaining(3), "about 5 s");
  assert.equal(remaining(248), "about 4 min 10 s");
});
