// Pure.
/**
 * The coordinator and recovery in a world that loses messages and crashes at any moment, all by one seed.
 *
 * `run` plays a random schedule, lets the faults stop, and says what is wrong with where everything came to rest:
 *
 * - every transaction has one outcome on all its shards, and nothing is left prepared;
 * - what was acknowledged is committed everywhere, what was reported as aborted is committed nowhere;
 * - where a shard itself lost data (failover), or the log is gone or failed, it is said, and said only then.
 *
 * A late request of the living process is delivered only after the last sweep: who forgot to fence leaves it behind.
 */
import type {
  CoordinatorEffect,
  CoordinatorEvent,
  CoordinatorState,
  Step,
} from "../../src/txn/coordinator.ts";
import { start } from "../../src/txn/coordinator.ts";
import type { Action, Evidence, Facts, Settlement } from "../../src/txn/recovery.ts";
import { Messages } from "./messages.ts";
import { SeededRandom } from "./seededRandom.ts";
import { SimulatedLog } from "./simulatedLog.ts";
import { type Answer, SimulatedShard } from "./simulatedShard.ts";

/** What is tested; a test plants a bug by replacing a part. */
export interface Rules {
  step(state: CoordinatorState, event: CoordinatorEvent): Step;
  actionFor(facts: Facts): Action;
  readonly evidence: Readonly<Record<Evidence, Settlement>>;
  readonly comparesServers: boolean;
}

export interface Faults {
  readonly crashes: boolean;
  readonly failovers: boolean;
  readonly lostLog: boolean;
}

interface RunningCommit {
  state: CoordinatorState;
  readonly shards: readonly number[];
}

interface KnownTransaction {
  readonly seq: number;
  readonly shards: readonly number[];
  /** Which server of the shard prepared it, by shard. */
  readonly servers: Map<number, number>;
  told: "committed" | "aborted" | "undecided" | null;
}

interface Sweep {
  readonly first: readonly string[];
  facts: readonly Omit<Facts, "sighting">[] | null;
}

const SHARDS = 3;
const TRANSACTIONS_MAX = 4;
const STEPS = 150;
/** Far more than any schedule needs to come to rest. */
const STEPS_TO_REST_MAX = 5_000;

export class Simulation {
  readonly #random: SeededRandom;
  readonly #rules: Rules;
  readonly #faults: Faults;
  readonly #shards: readonly SimulatedShard[];
  readonly #messages: Messages;
  readonly #log: SimulatedLog;
  readonly #known = new Map<string, KnownTransaction>();
  readonly #reported = new Set<string>();
  #generation = 0;
  #running = new Map<string, RunningCommit>();
  #applied = new Map<string, Set<number>>();
  #fences: { readonly shard: number; readonly gtrid: string }[] = [];
  #sweeps = new Map<number, Sweep>();
  /** What may make a report right. */
  #hasCause = false;
  #lostLog = false;

  constructor(seed: number, rules: Rules, faults: Faults) {
    this.#random = new SeededRandom(seed);
    this.#rules = rules;
    this.#faults = faults;
    this.#shards = Array.from({ length: SHARDS }, () => new SimulatedShard(this.#random));
    this.#messages = new Messages(this.#random);
    this.#log = new SimulatedLog(this.#random);
  }

  /** Plays the schedule; returns what is wrong in the end, nothing if all is well. */
  run(): readonly string[] {
    for (let i = 0; i < STEPS; i += 1) this.#anything();
    this.#comeToRest();
    return this.#problems();
  }

  // --- the schedule ---

  #anything(): void {
    if (this.#log.hasFailed && this.#random.chance(0.2)) return this.#crash();
    const dice = this.#random.below(100);
    if (dice < 10) return this.#begin();
    if (dice < 55) return void this.#messages.deliver();
    if (dice < 67) return this.#log.sync();
    if (dice < 83) return this.#sweepOn(this.#random.below(SHARDS), this.#random.chance(0.2));
    if (dice < 90) return this.#fenceOne();
    if (dice < 95) return this.#messages.loseOne();
    if (this.#faults.crashes) this.#breakSomething();
  }

  #breakSomething(): void {
    const dice = this.#random.below(10);
    if (dice < 4) return this.#crash();
    if (dice < 7) return this.#crashShard(this.#random.below(SHARDS), false);
    if (dice < 8) return this.#failLog();
    if (this.#faults.failovers) return this.#crashShard(this.#random.below(SHARDS), true);
    if (this.#faults.lostLog && dice < 9) this.#loseLog();
  }

  #crash(): void {
    this.#generation += 1;
    this.#messages.forgetListeners();
    for (const [gtrid, { shards }] of this.#running) {
      // Its connections are closed; what a backend is in the midst of may still arrive.
      if (this.#random.chance(0.5)) for (const shard of shards) this.#terminate(shard, gtrid);
    }
    this.#running = new Map();
    this.#applied = new Map();
    this.#fences = [];
    this.#sweeps = new Map();
    this.#log.crash();
  }

  #crashShard(shard: number, losesData: boolean): void {
    this.#hasCause ||= losesData;
    if (losesData) this.#shards[shard]!.failOver();
    else this.#shards[shard]!.crash();
    this.#sweeps.delete(shard);
    this.#messages.loseAllOf(shard);
  }

  #loseLog(): void {
    this.#crash();
    this.#log.lose(this.#known.size);
    this.#lostLog = true;
    this.#hasCause = true;
  }

  /** Until the log is read again nobody knows what it holds, and that is reported. */
  #failLog(): void {
    this.#hasCause = true;
    this.#log.failSync();
  }

  #terminate(shard: number, gtrid: string): void {
    this.#messages.terminate(shard, gtrid);
    this.#shards[shard]!.terminate(gtrid);
  }

  // --- a commit ---

  #begin(): void {
    if (this.#known.size >= TRANSACTIONS_MAX || this.#log.hasFailed) return;
    const seq = this.#known.size;
    const gtrid = `t${seq}`;
    const absent = this.#random.below(SHARDS + 1);
    const shards = this.#shards.map((_, shard) => shard).filter((shard) => shard !== absent);
    for (const shard of shards) this.#shards[shard]!.begin(gtrid, this.#random.chance(0.08));
    this.#known.set(gtrid, { seq, shards, servers: new Map(), told: null });
    const { state, effects } = start(shards.length);
    this.#running.set(gtrid, { state, shards });
    for (const effect of effects) this.#perform(gtrid, effect);
  }

  #dispatch(gtrid: string, event: CoordinatorEvent): void {
    const commit = this.#running.get(gtrid);
    if (commit === undefined) return;
    const { state, effects } = this.#rules.step(commit.state, event);
    commit.state = state;
    for (const effect of effects) this.#perform(gtrid, effect);
  }

  #perform(gtrid: string, effect: CoordinatorEffect): void {
    const { shards } = this.#running.get(gtrid)!;
    switch (effect.kind) {
      case "prepare":
        return this.#prepare(gtrid, shards[effect.participant]!, effect.participant);
      case "decide":
        return this.#log.decideCommit({ gtrid, onDurable: (outcome) => this.#onDecided(gtrid, outcome) });
      case "commitPrepared":
        return this.#finish(gtrid, shards[effect.participant]!, effect.participant, "committed");
      case "rollbackPrepared":
        return this.#finish(gtrid, shards[effect.participant]!, effect.participant, "aborted");
      case "fence":
        this.#fences.push({ shard: shards[effect.participant]!, gtrid });
        return this.#dispatch(gtrid, { kind: "settled", participant: effect.participant });
      case "tell":
        this.#known.get(gtrid)!.told = effect.outcome;
        this.#running.delete(gtrid);
    }
  }

  #prepare(gtrid: string, shard: number, participant: number): void {
    const execute = (): Answer => {
      this.#known.get(gtrid)!.servers.set(shard, this.#shards[shard]!.server);
      return this.#shards[shard]!.prepare(gtrid);
    };
    this.#send(gtrid, shard, execute, (answer) => {
      const vote = answer === null ? "unknown" : answer === "done" ? "yes" : "no";
      this.#dispatch(gtrid, { kind: "voted", participant, vote });
    });
  }

  #finish(gtrid: string, shard: number, participant: number, outcome: "committed" | "aborted"): void {
    this.#send(
      gtrid,
      shard,
      () => this.#shards[shard]!.finish(gtrid, outcome),
      (answer) => {
        if (answer === "done" && outcome === "committed") this.#noteApplied(gtrid, shard);
        this.#dispatch(gtrid, { kind: "settled", participant });
      },
    );
  }

  #send(
    gtrid: string,
    shard: number,
    execute: () => Answer,
    onAnswer: (answer: Answer | null) => void,
  ): void {
    this.#messages.send({ generation: this.#generation, shard, gtrid, execute, onAnswer });
  }

  #onDecided(gtrid: string, outcome: "commit" | "abort" | null): void {
    if (outcome === "abort") throw new Error(`${gtrid}: aborted by somebody else while it runs`);
    this.#dispatch(gtrid, { kind: outcome === "commit" ? "decided" : "logFailed" });
  }

  #noteApplied(gtrid: string, shard: number): void {
    const applied = this.#applied.get(gtrid) ?? new Set();
    this.#applied.set(gtrid, applied.add(shard));
    if (this.#known.get(gtrid)!.shards.every((one) => applied.has(one))) this.#log.conclude(gtrid);
  }

  // --- recovery ---

  #fenceOne(): void {
    const fence = this.#fences.shift();
    if (fence !== undefined) this.#terminate(fence.shard, fence.gtrid);
  }

  /** One more step of the sweep of `shard`: what is prepared; facts; what is prepared still, and the actions. */
  #sweepOn(shard: number, losesAnswer: boolean): void {
    const sweep = this.#sweeps.get(shard);
    if (sweep === undefined) {
      this.#sweeps.set(shard, { first: this.#shards[shard]!.prepared, facts: null });
    } else if (sweep.facts === null) {
      sweep.facts = sweep.first.map((gtrid) => ({
        owner: "ours",
        activity: this.#running.has(gtrid) ? "running" : "idle",
        verdict: this.#log.lookup(gtrid, this.#known.get(gtrid)!.seq),
      }));
    } else {
      this.#sweeps.delete(shard);
      this.#act(shard, sweep.first, sweep.facts, losesAnswer);
    }
  }

  #act(
    shard: number,
    first: readonly string[],
    facts: readonly Omit<Facts, "sighting">[],
    losesAnswer: boolean,
  ): void {
    const stillThere = this.#shards[shard]!.prepared;
    for (const [i, gtrid] of first.entries()) {
      const sighting = stillThere.includes(gtrid) ? "twice" : "once";
      const action = this.#rules.actionFor({ ...facts[i]!, sighting });
      if (action === "report") this.#reported.add(gtrid);
      if (action === "commitPrepared") this.#resolve(shard, gtrid, "committed", losesAnswer);
      if (action === "rollbackPrepared" && this.#log.decideAbort(gtrid))
        this.#resolve(shard, gtrid, "aborted", losesAnswer);
    }
    for (const gtrid of [...this.#log.commits]) this.#gatherEvidence(shard, gtrid, stillThere);
  }

  #resolve(shard: number, gtrid: string, outcome: "committed" | "aborted", losesAnswer: boolean): void {
    const answer = this.#shards[shard]!.finish(gtrid, outcome);
    if (answer === "done" && outcome === "committed" && !losesAnswer) this.#noteApplied(gtrid, shard);
  }

  #gatherEvidence(shard: number, gtrid: string, stillThere: readonly string[]): void {
    const { shards, servers } = this.#known.get(gtrid)!;
    if (!shards.includes(shard) || stillThere.includes(gtrid) || this.#running.has(gtrid)) return;
    if (this.#applied.get(gtrid)?.has(shard)) return;
    const evidence = this.#shards[shard]!.evidence(
      gtrid,
      servers.get(shard) ?? 0,
      this.#rules.comparesServers,
    );
    const settlement = this.#rules.evidence[evidence];
    if (settlement === "done") this.#noteApplied(gtrid, shard);
    else if (settlement === "lost") this.#reported.add(gtrid);
  }

  // --- the end ---

  #comeToRest(): void {
    if (this.#log.hasFailed) this.#crash();
    this.#messages.deliverUnheardOf((generation) => generation < this.#generation);
    for (let steps = 0; this.#log.isWriting || this.#messages.areHeard; steps += 1) {
      if (steps > STEPS_TO_REST_MAX) throw new Error("the schedule does not come to rest");
      this.#log.sync();
      this.#messages.deliver(({ isHeard }) => isHeard);
    }
    while (this.#fences.length > 0) this.#fenceOne();
    this.#sweeps.clear();
    // The second round settles by evidence what the first finished.
    for (let i = 0; i < 6 * SHARDS; i += 1) this.#sweepOn(Math.floor(i / 3) % SHARDS, false);
    this.#messages.deliverUnheardOf(() => true);
  }

  #problems(): readonly string[] {
    const stuck = [...this.#running.keys()].map((gtrid) => `${gtrid} never ended`);
    return [...stuck, ...[...this.#known].flatMap(([gtrid, known]) => this.#problemsOf(gtrid, known))];
  }

  #problemsOf(gtrid: string, { shards, told }: KnownTransaction): readonly string[] {
    const statuses = shards.map((shard) => this.#shards[shard]!.branches.get(gtrid)!.status);
    const committed = statuses.filter((status) => status === "committed").length;
    const isTorn = committed > 0 && committed < shards.length;
    const isReported = this.#reported.has(gtrid);
    const problem = (is: boolean, what: string) =>
      is ? [`${gtrid} ${what}: told ${told}, is ${statuses.join(" ")}`] : [];
    const hurt = (isTorn || (told === "committed" && committed < shards.length)) && !isReported;
    return [
      ...problem(hurt, "has two outcomes and nobody said so"),
      ...problem(told === "aborted" && committed > 0, "was reported aborted and is committed"),
      ...problem(statuses.includes("prepared") && !(this.#lostLog && isReported), "is left prepared"),
      ...problem(this.#lostLog && committed > 0 && statuses.includes("aborted"), "was rolled back by guess"),
      ...problem(isReported && !this.#hasCause, "was reported for nothing"),
    ];
  }
}
