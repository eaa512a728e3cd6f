/**
 * A short run of the simulation; `npm run sim` plays more.
 *
 * `SIM_SEED=n` begins elsewhere, `SIM_TRANSACTIONS=n` plays more of them.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PLANTS } from "../explore/plants.ts";
import { parseOptions } from "./options.ts";
import type { Simulated } from "./simulation.ts";
import { Tally } from "./tally.ts";
import { playRun, replayWorld } from "./worlds.ts";

const SEED = Number(process.env["SIM_SEED"] ?? 1);
const TRANSACTIONS = Number(process.env["SIM_TRANSACTIONS"] ?? 600);
/** A planted bug must be found within so many. */
const PLANTED_TRANSACTIONS = 8_000;
/** What chance finds only after long: the explorer (test/explore) finds all of them. */
const SELDOM: ReadonlySet<string> = new Set(["missing fence", "42704 as success"]);

describe("a simulation of commits, crashes and lost messages", () => {
  it("leaves one outcome everywhere, keeps what it told, and nothing prepared", async () => {
    const tally = new Tally();
    const failure = await playRun(SEED, TRANSACTIONS, (simulated) => tally.add(simulated));
    assert.equal(failure, null);
    assert.equal(tally.transactions, TRANSACTIONS);
    assert.match(tally.words(), /with the shard log/);
    assert.match(tally.words(), /with the file log/);
  });

  it("plays the same again for the same seed, and other things for another", async () => {
    const steps = async (seed: number): Promise<readonly string[]> => {
      const words: string[] = [];
      await replayWorld(seed, 20, 0, (word) => words.push(word));
      return words;
    };
    const first = await steps(7);
    assert.deepEqual(await steps(7), first);
    assert.notDeepEqual(await steps(8), first);
    assert.ok(first.length > 100);
  });

  for (const { name, configuration } of PLANTS.filter((plant) => !SELDOM.has(plant.name))) {
    it(`finds a bug that was put in: ${name}`, async () => {
      const { rules, alterations } = configuration.world;
      const planted = {
        ...(rules === undefined ? {} : { rules }),
        ...(alterations === undefined ? {} : { alterations }),
      };
      const played: Simulated[] = [];
      const failure = await playRun(1, PLANTED_TRANSACTIONS, (simulated) => played.push(simulated), {
        planted,
      });
      assert.notEqual(failure, null, `not found in ${played.length} worlds`);
    });
  }
});

describe("the options of npm run sim", () => {
  it("have defaults", () => {
    assert.deepEqual(parseOptions([]), { seed: 1, runs: 1, transactions: 100_000, world: null });
    assert.equal(parseOptions(["--help"]), "help");
  });

  it("are refused by name", () => {
    assert.throws(() => parseOptions(["--runs", "0"]), /--runs must be a whole number from 1 on, not "0"/);
    assert.throws(() => parseOptions(["--seed", "x"]), /--seed must be a whole number/);
    assert.throws(() => parseOptions(["--sed", "1"]), /--sed/);
  });
});
