/** The command line of `npm run chaos`. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FAULTS } from "./faults.ts";
import { parseOptions, UsageError, usage } from "./options.ts";

const parse = (...argv: string[]) => parseOptions(argv, FAULTS);

test("without options both logs run for five minutes each, with every fault", () => {
  const options = parse();
  assert.ok(options !== "help");
  assert.deepEqual([options.logs, options.minutes, options.transfers], [["file", "shard"], 5, undefined]);
  assert.equal(options.faults, FAULTS);
});

test("a number of transfers ends the run, and a time only if it is given too", () => {
  const options = parse(
    "--transfers",
    "100000",
    "--log",
    "shard",
    "--seed",
    "0",
    "--only",
    "pgxa-kill, link-cut",
  );
  assert.ok(options !== "help");
  assert.deepEqual([options.minutes, options.transfers, options.seed], [undefined, 100_000, 0]);
  assert.deepEqual(
    options.faults.map(({ name }) => name),
    ["pgxa-kill", "link-cut"],
  );
});

test("what is not understood is an error that says what there is", () => {
  for (const argv of [
    ["--minutes", "0"],
    ["--minutes", ""],
    ["--seed", "x"],
    ["--log", "etcd"],
    ["--only", "fire"],
    ["what"],
  ])
    assert.throws(() => parse(...argv), UsageError, argv.join(" "));
  assert.throws(() => parse("--only", "fire"), /there are pgxa-kill/);
});

test("the help names every fault", () => {
  for (const { name } of FAULTS) assert.ok(usage(FAULTS).includes(`  ${name} `), name);
});
