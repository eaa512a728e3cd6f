import assert from "node:assert/strict";
import { before, suite, test } from "node:test";
import { SMALL } from "./configurations.ts";
import { PLANTS } from "./plants.ts";
import { exploreAll, type Finding } from "./pool.ts";
import { play } from "./schedule.ts";

const WORKERS = 2;

const find = async (names: readonly string[], isPlain = false): Promise<ReadonlyMap<string, Finding>> => {
  const findings = await exploreAll(names, WORKERS, () => {}, isPlain);
  return new Map(findings.map((finding) => [finding.name, finding]));
};

suite("every schedule", () => {
  let found: ReadonlyMap<string, Finding>;
  before(async () => {
    found = await find(SMALL.map(({ name }) => name));
  });

  for (const { name } of SMALL) {
    test(`${name}: every invariant holds`, (t) => {
      const { story, isExhausted, states, schedules } = found.get(name)!;
      assert.equal(story, null);
      assert.ok(isExhausted);
      t.diagnostic(`${states} states, ${schedules} schedules`);
    });
  }

  test("a crash leaves a commit whose client was told nothing, and it is finished either way", () => {
    const { ends } = found.get("shard log, 2 participants, 1 crash")!;
    assert.deepEqual([...ends].sort(), ["committed: committed", "untold: aborted", "untold: committed"]);
  });

  test("what is left out for being the same leaves no end out", async () => {
    const names = ["file log, 2 participants, 1 loss", "shard log, 2 participants, 1 loss"];
    for (const plain of (await find(names, true)).values()) {
      const { states, ends } = found.get(plain.name)!;
      assert.ok(states < plain.states, plain.name);
      assert.deepEqual([...ends].sort(), [...plain.ends].sort(), plain.name);
    }
  });
});

suite("a bug that is put in on purpose", () => {
  let found: ReadonlyMap<string, Finding>;
  before(async () => {
    found = await find(PLANTS.map(({ name }) => name));
  });

  for (const { name, configuration } of PLANTS) {
    test(`${name}: is found, and its schedule replays exactly`, async (t) => {
      const { story, schedule } = found.get(name)!;
      assert.ok(story !== null, "not found");
      t.diagnostic(`\n${story}`);
      const played = await play(configuration, schedule);
      assert.ok(played.problems.length > 0);
      assert.deepEqual(await play(configuration, schedule), played);
    });

    test(`${name}: without it nothing is wrong on that schedule`, async () => {
      const { alterations: _, rules: __, ...world } = configuration.world;
      const played = await play({ ...configuration, world }, found.get(name)!.schedule).catch(() => null);
      assert.deepEqual(played?.problems ?? [], []);
    });
  }
});
