import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { InvariantError } from "../../src/base/invariant.ts";
import {
  COORDINATOR_TABLE,
  type CoordinatorEffect,
  type CoordinatorEvent,
  type CoordinatorState,
  type Occurrence,
  type Phase,
  start,
  step,
  type Vote,
} from "../../src/txn/coordinator.ts";

const PHASES: readonly Phase[] = [
  "preparing",
  "aborting",
  "deciding",
  "asking",
  "committing",
  "committed",
  "aborted",
  "undecided",
];
const OCCURRENCES: readonly Occurrence[] = [
  "yes",
  "lastYes",
  "no",
  "unknown",
  "decided",
  "logFailed",
  "refused",
  "unheard",
  "settled",
  "lastSettled",
];

const voted = (participant: number, vote: Vote): CoordinatorEvent => ({ kind: "voted", participant, vote });
const settled = (participant: number): CoordinatorEvent => ({ kind: "settled", participant });
const DECIDED: CoordinatorEvent = { kind: "decided" };
const LOG_FAILED: CoordinatorEvent = { kind: "logFailed" };
const REFUSED: CoordinatorEvent = { kind: "refused" };
const UNHEARD: CoordinatorEvent = { kind: "unheard" };

/** Plays `events` from the start of a commit with `participants`. */
function play(participants: number, events: readonly CoordinatorEvent[], anchor = -1) {
  let { state } = start(participants, anchor);
  let effects: readonly CoordinatorEffect[] = [];
  for (const event of events) ({ state, effects } = step(state, event));
  return { state, effects };
}

const show = (effects: readonly CoordinatorEffect[]) =>
  effects.map((effect) => ("participant" in effect ? `${effect.kind} ${effect.participant}` : effect.kind));

test("the table is total: every phase says something of every occurrence", () => {
  assert.deepEqual(Object.keys(COORDINATOR_TABLE).sort(), [...PHASES].sort());
  for (const phase of PHASES) {
    assert.deepEqual(Object.keys(COORDINATOR_TABLE[phase]).sort(), [...OCCURRENCES].sort(), phase);
    for (const cell of Object.values(COORDINATOR_TABLE[phase]))
      assert.ok(cell === "illegal" || PHASES.includes(cell));
  }
});

/** What leads two participants into each phase, with participant 1 last to speak; without an anchor nobody asks back. */
const WAYS: Readonly<Record<Exclude<Phase, "asking">, readonly CoordinatorEvent[]>> = {
  preparing: [voted(0, "yes")],
  aborting: [voted(0, "no")],
  deciding: [voted(0, "yes"), voted(1, "yes")],
  committing: [voted(0, "yes"), voted(1, "yes"), DECIDED, settled(0)],
  committed: [voted(0, "yes"), voted(1, "yes"), DECIDED, settled(0), settled(1)],
  aborted: [voted(0, "no"), voted(1, "no")],
  undecided: [voted(0, "yes"), voted(1, "yes"), LOG_FAILED],
};
const EVENTS: Readonly<Record<string, CoordinatorEvent>> = {
  yes: voted(1, "yes"),
  no: voted(1, "no"),
  unknown: voted(1, "unknown"),
  decided: DECIDED,
  logFailed: LOG_FAILED,
  refused: REFUSED,
  unheard: UNHEARD,
  settled: settled(1),
};
/** Where each event leads participant 1 of two; what is not here must throw. */
const LEADS: Readonly<Partial<Record<Phase, Readonly<Record<string, readonly [Phase, ...string[]]>>>>> = {
  preparing: {
    yes: ["deciding", "decide"],
    no: ["aborting", "rollbackPrepared 0"],
    unknown: ["aborting", "rollbackPrepared 0", "fence 1"],
  },
  aborting: {
    yes: ["aborting", "rollbackPrepared 1"],
    no: ["aborted", "tell"],
    unknown: ["aborting", "fence 1"],
  },
  deciding: {
    decided: ["committing", "commitPrepared 0", "commitPrepared 1"],
    logFailed: ["undecided", "tell"],
    refused: ["aborting", "rollbackPrepared 0", "rollbackPrepared 1"],
  },
  committing: { settled: ["committed", "tell"] },
};

/** The same of three participants of whom 2 is the anchor, with participant 1 last to speak of the others. */
const ANCHORED_WAYS: Readonly<Record<Phase, readonly CoordinatorEvent[]>> = {
  preparing: [voted(0, "yes")],
  aborting: [voted(0, "no"), settled(2)],
  deciding: [voted(0, "yes"), voted(1, "yes")],
  asking: [voted(0, "yes"), voted(1, "yes"), UNHEARD],
  committing: [voted(0, "yes"), voted(1, "yes"), DECIDED, settled(0)],
  committed: [voted(0, "yes"), voted(1, "yes"), DECIDED, settled(0), settled(1)],
  aborted: [voted(0, "yes"), voted(1, "yes"), UNHEARD, REFUSED, settled(0), settled(1)],
  undecided: [voted(0, "yes"), voted(1, "yes"), UNHEARD, LOG_FAILED],
};
const ANCHORED_LEADS: typeof LEADS = {
  preparing: {
    yes: ["deciding", "decide"],
    no: ["aborting", "rollbackPrepared 0", "rollback 2"],
    unknown: ["aborting", "rollbackPrepared 0", "fence 1", "rollback 2"],
  },
  aborting: LEADS.aborting!,
  deciding: {
    decided: ["committing", "commitPrepared 0", "commitPrepared 1"],
    refused: ["aborting", "rollbackPrepared 0", "rollbackPrepared 1", "rollback 2"],
    unheard: ["asking", "ask"],
    logFailed: ["undecided", "tell"],
  },
  asking: {
    decided: ["committing", "commitPrepared 0", "commitPrepared 1"],
    refused: ["aborting", "rollbackPrepared 0", "rollbackPrepared 1"],
    logFailed: ["undecided", "tell"],
  },
  committing: LEADS.committing!,
};

for (const [participants, anchor, ways, leads] of [
  [2, -1, WAYS, LEADS],
  [3, 2, ANCHORED_WAYS, ANCHORED_LEADS],
] as const) {
  const kind = anchor < 0 ? "" : ", with an anchor,";
  for (const [phase, way] of Object.entries(ways) as [Phase, readonly CoordinatorEvent[]][]) {
    for (const [name, event] of Object.entries(EVENTS)) {
      const lead = leads[phase]?.[name];
      const leading = lead === undefined ? "is a broken invariant" : `leads to ${lead.join(", ")}`;
      test(`${name} while ${phase}${kind} ${leading}`, () => {
        const { state } = play(participants, way, anchor);
        assert.equal(state.phase, phase);
        if (lead === undefined) return assert.throws(() => step(state, event), InvariantError);
        const next = step(state, event);
        assert.deepEqual([next.state.phase, ...show(next.effects)], lead);
      });
    }
  }
}

test("every participant but the anchor is asked at once", () => {
  assert.deepEqual(show(start(3, 1).effects), ["prepare 0", "prepare 2"]);
  assert.throws(() => start(2, 2), InvariantError);
});

test("an abort ends when the anchor's own transaction is rolled back, too", () => {
  const { state, effects } = play(2, [voted(0, "no")], 1);
  assert.equal(state.phase, "aborting");
  assert.deepEqual(show(effects), ["rollback 1"]);
  assert.deepEqual(step(state, settled(1)).effects, [{ kind: "tell", outcome: "aborted", refusedBy: 0 }]);
});

test("an anchor that refuses is the one that is named", () => {
  const { effects } = play(2, [voted(1, "yes"), REFUSED, settled(0), settled(1)], 0);
  assert.deepEqual(effects, [{ kind: "tell", outcome: "aborted", refusedBy: 0 }]);
});

test("every participant is asked at once", () => {
  assert.deepEqual(show(start(3).effects), ["prepare 0", "prepare 1", "prepare 2"]);
  assert.throws(() => start(1), InvariantError);
});

test("a yes that comes after a no is rolled back, and the abort is told when that is done", () => {
  const { state, effects } = play(3, [voted(1, "no"), voted(0, "yes"), voted(2, "yes"), settled(2)]);
  assert.equal(state.phase, "aborting");
  assert.deepEqual(effects, []);
  const last = step(state, settled(0));
  assert.deepEqual(last.effects, [{ kind: "tell", outcome: "aborted", refusedBy: 1 }]);
});

test("the first shard that refused is named, whatever the others say later", () => {
  const { effects } = play(3, [voted(2, "unknown"), voted(0, "no"), voted(1, "no"), settled(2)]);
  assert.deepEqual(effects, [{ kind: "tell", outcome: "aborted", refusedBy: 2 }]);
});

test("a vote lost to a timeout aborts every participant", () => {
  const { effects } = play(3, [voted(0, "yes"), voted(1, "yes"), voted(2, "unknown")]);
  assert.deepEqual(show(effects), ["rollbackPrepared 0", "rollbackPrepared 1", "fence 2"]);
});

test("nobody votes or is settled twice", () => {
  assert.throws(() => play(3, [voted(0, "yes"), voted(0, "no")]), InvariantError);
  assert.throws(() => play(3, [voted(0, "no"), voted(0, "yes")]), InvariantError);
  assert.throws(() => play(2, [...WAYS.deciding, DECIDED, settled(0), settled(0)]), InvariantError);
  assert.throws(() => play(3, [voted(0, "no"), settled(0)]), InvariantError);
});

/** Every event that may come next: votes of those not heard, the log's word, the end of what is to be settled. */
function possible(state: CoordinatorState): CoordinatorEvent[] {
  const events: CoordinatorEvent[] = state.phase === "deciding" ? [DECIDED, LOG_FAILED] : [];
  if (state.phase === "deciding" && state.anchor >= 0) events.splice(1, 1, REFUSED, UNHEARD);
  if (state.phase === "asking") events.push(DECIDED, REFUSED, LOG_FAILED);
  const mayVote = state.phase === "preparing" || state.phase === "aborting";
  const maySettle = state.phase === "committing" || state.phase === "aborting";
  for (const [participant, standing] of state.standings.entries()) {
    if (standing === "asked" && mayVote) {
      for (const vote of ["yes", "no", "unknown"] as const) events.push(voted(participant, vote));
    }
    const isOwed = standing === "prepared" || standing === "unheard" || standing === "open";
    if (isOwed && maySettle) events.push(settled(participant));
  }
  return events;
}

test("any schedule ends, told once, with nothing committed before the decision nor without a yes of all", () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 6 }), fc.infiniteStream(fc.nat()), (participants, chance) => {
      const random = chance[Symbol.iterator]();
      const anchor = (random.next().value % (participants + 1)) - 1;
      const prepared = participants - (anchor < 0 ? 0 : 1);
      let current = start(participants, anchor);
      const performed = [...current.effects];
      let isDecided = false;
      const votes = new Map<number, Vote>();
      for (let events = possible(current.state); events.length > 0; events = possible(current.state)) {
        const event = events[random.next().value % events.length]!;
        isDecided ||= event.kind === "decided";
        if (event.kind === "voted") votes.set(event.participant, event.vote);
        current = step(current.state, event);
        performed.push(...current.effects);
        const commits = performed.filter(({ kind }) => kind === "commitPrepared").length;
        assert.ok(commits === 0 || (isDecided && [...votes.values()].every((vote) => vote === "yes")));
        assert.ok(commits === 0 || commits === prepared);
        const rollbacks = performed.filter(({ kind }) => kind === "rollback" || kind === "rollbackPrepared");
        assert.ok(rollbacks.length === 0 || !isDecided, "what is decided is not rolled back");
      }
      const tells = performed.filter((effect) => effect.kind === "tell");
      assert.equal(tells.length, 1);
      assert.equal(tells[0]!.outcome, current.state.phase);
      assert.equal(performed.at(-1)!.kind, "tell");
      for (const [participant, vote] of votes)
        checkCleanUp(performed, participant, vote, current.state.phase);
    }),
    { numRuns: 2_000 },
  );
});

/** An abort undoes each yes, fences each unknown, and has nothing to do after a no. */
function checkCleanUp(
  performed: readonly CoordinatorEffect[],
  participant: number,
  vote: Vote,
  phase: Phase,
): void {
  const own = performed
    .filter((effect) => "participant" in effect && effect.participant === participant)
    .slice(1);
  if (phase !== "aborted") return;
  const expected = { yes: ["rollbackPrepared"], unknown: ["fence"], no: [] }[vote];
  assert.deepEqual(
    own.map(({ kind }) => kind),
    expected,
  );
}
