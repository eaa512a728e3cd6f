/** What is shown of all workers: that nothing is forgotten, and that each table takes the facts it says. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SHOWS, understand } from "../../../src/admin/console.ts";
import { readStatements } from "../../../src/admin/consoleText.ts";
import { registerAll } from "../../../src/admin/instruments.ts";
import type { Shown } from "../../../src/admin/views.ts";
import { FACT_NAMES, type FactName, type Facts, takeFacts } from "../../../src/admin/workers/facts.ts";
import { MergedSources } from "../../../src/admin/workers/mergedSources.ts";
import { mergeFact } from "../../../src/admin/workers/merging.ts";
import { METRIC_FACTS, ownFamilies } from "../../../src/admin/workers/scraping.ts";
import { ACROSS } from "../../../src/admin/workers/shows.ts";
import { instrumentsOf } from "../../../src/cli/composeView.ts";
import { Metrics } from "../../../src/observe/metrics.ts";
import { sourcesOf } from "../consoleStage.ts";

const ALL_INSTRUMENTS = instrumentsOf({ metrics: { pgbouncerNames: true } } as never);
const counted = () => ownFamilies(new Metrics().registry);
const factsOf = async (names: readonly FactName[]): Promise<Partial<Facts>> =>
  structuredClone(await takeFacts({ sources: sourcesOf(), counted }, names));

/** As if one worker were all there are. */
async function alone(names: readonly FactName[]): Promise<Shown> {
  const facts = await factsOf(names);
  const merged = Object.entries(facts).map(([name, fact]) => [
    name,
    mergeFact(name as FactName, [fact] as never),
  ]);
  return new MergedSources(Object.fromEntries(merged), () => 100_000);
}

describe("the tables of all workers", () => {
  it("are told of for every SHOW there is", () => {
    assert.deepEqual(Object.keys(ACROSS).sort(), Object.keys(SHOWS).sort());
  });

  for (const [name, { facts }] of Object.entries(ACROSS)) {
    it(`${name}: one worker shows what a lone process does, from the facts it says`, async () => {
      const lone = await SHOWS[name]!.rows(sourcesOf());
      if (facts.length > 0) assert.deepEqual(await SHOWS[name]!.rows(await alone(facts)), lone);
    });

    it(`${name}: each of its facts is needed`, async () => {
      for (const left of facts) {
        const others = facts.filter((fact) => fact !== left);
        await assert.rejects(async () => SHOWS[name]!.rows(await alone(others)), left);
      }
    });
  }

  it("are asked for everywhere, and what is the same everywhere only here", async () => {
    const asked: (readonly FactName[])[] = [];
    const everywhere = (names: readonly FactName[]) => {
      asked.push(names);
      return alone(names);
    };
    const user = { name: "ann", role: "admin" } as const;
    for (const name of Object.keys(SHOWS)) {
      const [statement] = readStatements(`SHOW ${name}`);
      await understand(statement!, user, { ...sourcesOf(), everywhere }).run();
    }
    assert.deepEqual(
      asked,
      Object.keys(SHOWS).flatMap((name) => (ACROSS[name]!.facts.length > 0 ? [ACROSS[name]!.facts] : [])),
    );
  });
});

describe("the metrics of all workers", () => {
  const scrape = async (sources: Shown): Promise<string> => {
    const { registry } = new Metrics();
    registerAll(registry, ALL_INSTRUMENTS, sources);
    return registry.metrics();
  };

  it("are those of a lone process while there is one worker", async () => {
    assert.equal(await scrape(await alone(METRIC_FACTS)), await scrape(sourcesOf()));
  });

  it("take no fact that they do not need", async () => {
    const optional: readonly FactName[] = ["counted", "checkouts"]; // are put in where they are there
    for (const left of METRIC_FACTS.filter((name) => !optional.includes(name))) {
      const others = METRIC_FACTS.filter((fact) => fact !== left);
      await assert.rejects(async () => scrape(await alone(others)), left);
    }
  });
});

describe("the facts", () => {
  it("are all plain enough to be sent to another process, and of none there is something to show", async () => {
    const facts = await factsOf(FACT_NAMES);
    assert.deepEqual(Object.keys(facts).sort(), [...FACT_NAMES].sort());
    for (const name of FACT_NAMES) assert.notEqual(mergeFact(name, []), undefined, name);
  });
});
