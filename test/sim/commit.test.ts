import assert from "node:assert/strict";
import { test } from "node:test";
import { step } from "../../src/txn/coordinator.ts";
import { actionFor, EVIDENCE_TABLE } from "../../src/txn/recovery.ts";
import { type Faults, type Rules, Simulation } from "./simulation.ts";

const RULES: Rules = { step, actionFor, evidence: EVIDENCE_TABLE, comparesServers: true };

const LOSSES: Faults = { crashes: false, failovers: false, lostLog: false };
const CRASHES: Faults = { ...LOSSES, crashes: true };
const FAILOVERS: Faults = { ...CRASHES, failovers: true };
const LOST_LOG: Faults = { ...CRASHES, lostLog: true };

/** `SIM_SEED=n` replays one schedule, `SIM_SCHEDULES=n` plays that many of each kind from a new beginning. */
const FIRST_SEED = Number(process.env["SIM_SEED"] ?? 1);
const SCHEDULES = process.env["SIM_SEED"] === undefined ? Number(process.env["SIM_SCHEDULES"] ?? 20_000) : 1;
/** A planted bug must be found within so many schedules. */
const MUTANT_SCHEDULES = 20_000;

/** The first schedule in which something goes wrong, in words; null if all is well. */
function firstProblem(rules: Rules, faults: Faults, firstSeed: number, schedules: number): string | null {
  for (let seed = firstSeed; seed < firstSeed + schedules; seed += 1) {
    try {
      const problems = new Simulation(seed, rules, faults).run();
      if (problems.length > 0) return `seed ${seed}: ${problems.join("; ")}`;
    } catch (error) {
      return `seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`;
    }
  }
  return null;
}

const holds = (faults: Faults) => assert.equal(firstProblem(RULES, faults, FIRST_SEED, SCHEDULES), null);

test("lost messages leave one outcome everywhere and nothing prepared", () => holds(LOSSES));
test("crashes of pgxa, of shards and of the log's disk leave one outcome everywhere", () => holds(CRASHES));
test("a failover that loses prepared transactions is reported whenever it tears one", () => holds(FAILOVERS));
test("with the log gone nothing is rolled back by guess", () => holds(LOST_LOG));

function isFound(name: string, faults: Faults, mutation: Partial<Rules>, what: RegExp): void {
  test(`the simulation finds a planted bug: ${name}`, () => {
    const problem = firstProblem({ ...RULES, ...mutation }, faults, 1, MUTANT_SCHEDULES);
    assert.match(problem ?? "nothing was found", what);
  });
}

isFound(
  "the decision is written after phase 2 has begun",
  CRASHES,
  {
    step(state, event) {
      if (event.kind === "decided" || event.kind === "logFailed") return { state, effects: [] };
      const honest = step(state, event);
      if (honest.state.phase !== "deciding") return honest;
      const early = step(honest.state, { kind: "decided" });
      return { state: early.state, effects: [...early.effects, ...honest.effects] };
    },
  },
  /two outcomes/,
);

isFound(
  "an unknown vote counts as no and is not fenced",
  LOSSES,
  {
    step: (state, event) =>
      step(state, event.kind === "voted" && event.vote === "unknown" ? { ...event, vote: "no" } : event),
  },
  /left prepared/,
);

isFound(
  "an unknown vote counts as yes",
  CRASHES,
  {
    step: (state, event) =>
      step(state, event.kind === "voted" && event.vote === "unknown" ? { ...event, vote: "yes" } : event),
  },
  /two outcomes|reported for nothing/,
);

isFound(
  "42704 counts as success",
  FAILOVERS,
  { evidence: { ...EVIDENCE_TABLE, aborted: "done", forgotten: "done", "other server": "done" } },
  /two outcomes and nobody said so/,
);

isFound(
  "a transaction id is believed on another server",
  FAILOVERS,
  { comparesServers: false },
  /two outcomes and nobody said so/,
);

isFound(
  "recovery does not ask what is running",
  LOSSES,
  { actionFor: (facts) => actionFor({ ...facts, activity: "idle" }) },
  /aborted by somebody else while it runs|two outcomes|reported/,
);

isFound(
  "abort is presumed where the log cannot know",
  LOST_LOG,
  {
    actionFor: (facts) =>
      actionFor({ ...facts, verdict: facts.verdict === "unknowable" ? "absent" : facts.verdict }),
  },
  /two outcomes|rolled back by guess/,
);
