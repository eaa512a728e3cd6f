import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { DecisionFile } from "../../bench/decisionFile.ts";

test("decisions that arrive together are all in the file once each is durable", async () => {
  const directory = await mkdtemp(join(tmpdir(), "pgxa-decisions-"));
  try {
    const path = join(directory, "decisions");
    const file = await DecisionFile.open(path);
    const first = file.commit("a");
    await Promise.all([first, file.commit("b"), first.then(() => file.commit("c"))]);
    await file.close();
    assert.deepEqual((await readFile(path, "utf8")).split("\n"), ["a commit", "b commit", "c commit", ""]);
  } finally {
    await rm(directory, { recursive: true });
  }
});
