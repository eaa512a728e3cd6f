// Pure.
/** What is explored: who takes part, and which faults there may be. */
import type { BranchPlan } from "../world/simulatedProcess.ts";
import type { Budget, WorldOptions } from "../world/world.ts";

export interface Configuration {
  readonly name: string;
  readonly world: WorldOptions;
  /** The transaction that is committed. */
  readonly plan: readonly BranchPlan[];
}

/** Branches on the first shards, all of which will commit if they are asked to. */
export const writers = (count: number): readonly BranchPlan[] =>
  Array.from({ length: count }, (_, shard): BranchPlan => ({ shard, refuses: null }));

/** In which the shard at `index` says no at `refuses`. */
const withRefusal = (count: number, index: number, refuses: BranchPlan["refuses"]): readonly BranchPlan[] =>
  writers(count).map((branch) => (branch.shard === index ? { ...branch, refuses } : branch));

/** One process and its files. */
function file(participants: number, budget: Budget, plan = writers(participants), note = ""): Configuration {
  const name = `file log, ${participants} participants, ${inWords(budget)}${note}`;
  return { name, world: { shards: participants, processes: ["p"], log: "file", budget }, plan };
}

/** `p` commits, and `q` of the same fleet looks after it; only `p` crashes. */
function shard(
  participants: number,
  budget: Budget,
  {
    plan = writers(participants),
    note = "",
    ...more
  }: Partial<WorldOptions & { plan: readonly BranchPlan[]; note: string }> = {},
): Configuration {
  const name = `shard log, ${participants} participants, ${inWords(budget)}${note}`;
  const world: WorldOptions = {
    ...{ shards: participants, processes: ["p", "q"], log: "shard", budget, crashing: ["p"] },
    ...more,
  };
  return { name, world, plan };
}

const WORDS: Readonly<Record<string, readonly [one: string, several: string]>> = {
  crash: ["crash", "crashes"],
  shardCrash: ["shard crash", "shard crashes"],
  failover: ["failover", "failovers"],
  loss: ["loss", "losses"],
  duplicate: ["duplicate", "duplicates"],
  expiry: ["expiry", "expiries"],
  sweep: ["early sweep", "early sweeps"],
  renewal: ["renewal", "renewals"],
  oldLook: ["look for old decisions", "looks for old decisions"],
  slowLook: ["look that takes too long", "looks that take too long"],
};

function inWords(budget: Budget): string {
  const said = Object.entries(budget).map(([kind, count]) => {
    const [one, several] = WORDS[kind] ?? [kind, kind];
    return `${count} ${count === 1 ? one : several}`;
  });
  return said.length === 0 ? "no fault" : said.join(", ");
}

/** For every run of the tests: seconds. */
export const SMALL: readonly Configuration[] = [
  file(2, {}),
  file(2, { loss: 1 }),
  file(2, { crash: 1 }, withRefusal(2, 1, "prepare"), ", north refuses"),
  file(3, {}),
  shard(2, {}),
  shard(2, { crash: 1 }),
  shard(2, { loss: 1 }),
  shard(2, { loss: 1 }, { plan: withRefusal(2, 1, "commit"), note: ", the anchor refuses" }),
  shard(3, {}),
];

/** For `npm run explore`: minutes. */
export const LARGE: readonly Configuration[] = [
  file(2, { crash: 1 }),
  file(2, { crash: 2 }),
  file(2, { shardCrash: 1 }),
  file(2, { failover: 1 }),
  file(3, { loss: 1 }),
  shard(2, { crash: 2 }),
  shard(2, { crash: 2, expiry: 1 }),
  shard(2, { loss: 1, crash: 1 }),
  shard(2, { expiry: 2, sweep: 1 }),
  shard(2, { duplicate: 1, sweep: 1 }),
  shard(2, { shardCrash: 1 }),
  shard(2, { crash: 1, oldLook: 1 }, { removesOld: true }),
  shard(3, { crash: 2 }),
  shard(3, { loss: 1 }),
];
