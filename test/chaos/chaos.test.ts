/**
 * A short run of `npm run chaos` with each log: some faults of each kind, and after each of them everything is right.
 *
 * The verdict does not hang on how fast the machine is: every wait is for something that must come, and its bound is
 * many times what it takes.
 */
import assert from "node:assert/strict";
import { mkdtempSync, realpathSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { FAULTS } from "./faults.ts";
import type { LogKind } from "./options.ts";
import { runChaos } from "./run.ts";
import { sumOf } from "./summary.ts";

const SEED = 6;
const CLIENTS = 4;

/** With each log others; the long run has them all with both. */
const SOME: Readonly<Record<LogKind, readonly string[]>> = {
  file: ["pgxa-kill", "prepare-end", "link-requests"],
  shard: ["pgxa-stop", "shard-kill", "link-replies"],
};

describe("transfers through two pgxa stay atomic and are what clients were told", () => {
  for (const log of ["file", "shard"] as const) {
    test(`with the log ${log === "file" ? "in files" : "on the shards"}, while ${SOME[log].join(", ")} happen`, async () => {
      const faults = FAULTS.filter(({ name }) => SOME[log].includes(name));
      const summary = await runChaos({
        log,
        seed: SEED,
        faults,
        clients: CLIENTS,
        hasDisks: false,
        endsAfter: { phases: faults.length },
        home: realpathSync(mkdtempSync(join(tmpdir(), `pgxa-chaos-test-${log}-`))),
        twoAtOnce: 0,
        tell: () => {},
      });
      for (const { name, counts } of summary.figures)
        assert.ok(sumOf(counts) > 0, `transfers during ${name}`);
      assert.equal(summary.figures.length, faults.length + 1, "every fault came, and the calm between them");
    });
  }
});
