/** What two workers say as one pgxa would say it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type * as view from "../../../src/admin/views.ts";
import { DeadlockBook } from "../../../src/admin/workers/deadlockBook.ts";
import { mergeFamilies } from "../../../src/admin/workers/families.ts";
import { MergedSources } from "../../../src/admin/workers/mergedSources.ts";
import { addRemains, mergeFact, remainsOf } from "../../../src/admin/workers/merging.ts";
import { Buckets } from "../../../src/observe/buckets.ts";
import { noTotals, OTHER } from "../../../src/observe/traffic.ts";
import { DEADLOCK, sourcesOf } from "../consoleStage.ts";

function bucketsOf(...durations: readonly number[]): Buckets {
  const buckets = new Buckets([1, 10]);
  for (const ms of durations) buckets.observe(ms);
  return buckets;
}

const trafficOf = (name: string, queries: number, errors: readonly (readonly [string, number])[] = []) => ({
  name,
  totals: { ...noTotals(), queries },
  errors: new Map(errors),
  query: bucketsOf(0.5, 5),
  transaction: bucketsOf(),
  wait: bucketsOf(50),
});

describe("numbers", () => {
  it("add up database by database, and bucket by bucket", () => {
    const merged = mergeFact("traffic", [
      [trafficOf("bank", 3, [["23", 1]]), trafficOf("shop", 1)],
      [trafficOf("bank", 4, [["23", 2]])],
    ]);
    assert.deepEqual(
      merged.map(({ name, totals }) => [name, totals.queries]),
      [
        ["bank", 7],
        ["shop", 1],
      ],
    );
    assert.equal(merged[0]!.errors.get("23"), 3);
    assert.deepEqual([...merged[0]!.query.counts], [2, 2, 0]);
    assert.equal(merged[0]!.query.sumMs, 11);
  });

  it("of many databases with names that clients chose are told apart as far as one process does", () => {
    const [half, other] = [0, 100].map((from) =>
      Array.from({ length: 100 }, (_, i) => trafficOf(`db${from + i}`, 1)),
    );
    const merged = mergeFact("traffic", [half!, other!]);
    assert.equal(merged.length, 101);
    assert.equal(merged.find(({ name }) => name === OTHER)?.totals.queries, 100);
  });

  it("of one query are worked out from those of all", () => {
    const averages = mergeFact("averages", [
      new Map([["bank", { ...noTotals(), queries: 10, queryMs: 10 }]]),
      new Map([["bank", { ...noTotals(), queries: 30, queryMs: 90 }]]),
    ]);
    const { statistics } = new MergedSources({ averages }, () => 0);
    const { queryMs, perSecond } = statistics.of("bank");
    assert.deepEqual([queryMs, perSecond.queries, statistics.of("shop").queryMs], [2.5, 40, 0]);
  });

  it("that a dead worker had counted stay, and what it had does not", () => {
    const { databases, traffic, planCache, commits } = sourcesOf();
    const gone = remainsOf({
      databases: databases(),
      traffic: [...traffic.databases],
      planCache: planCache(),
      commits: commits(),
      handshakes: 3,
    });
    assert.deepEqual(Object.keys(gone).sort(), ["commits", "planCache", "traffic"]);
    const both = addRemains(gone, gone);
    assert.equal(both.traffic![0]!.totals.queries, 60);
    assert.deepEqual(both.planCache, { plans: 0, hits: 18, normalisedHits: 8, misses: 10 });
    assert.deepEqual([both.commits!.outcomes.committed, both.commits!.slots], [8, []]);
  });
});

describe("pools", () => {
  const [bank] = sourcesOf().databases();
  const pool = bank!.pools[0]!;

  it("have the size of one and the connections of all", () => {
    const other = { ...pool, servers: { active: 2, idle: 3, login: 0 }, queued: 4 };
    const [merged] = mergeFact("databases", [[bank!], [{ ...bank!, clients: 5, pools: [other] }]]);
    assert.equal(merged!.clients, 7);
    const { max, servers, queued } = merged!.pools[0]!;
    assert.deepEqual([max, servers, queued], [20, { active: 3, idle: 3, login: 1 }, 5]);
  });

  it("to a standby are another one than that to the primary, which may be on another host by now", () => {
    const standby = { ...pool, role: "standby" as const };
    const moved = { ...pool, host: "db2" };
    const pools = [pool, standby, moved, { ...standby, host: "db2" }];
    const merged = mergeFact(
      "databases",
      pools.map((one) => [{ ...bank!, pools: [one] }]),
    );
    assert.equal(merged[0]!.pools.length, 3);
  });

  it("keep how long their connections took to come after the death of a worker", () => {
    const checkout = bucketsOf(5);
    const key = '["east",[],"bank_1","app"]';
    const checkouts = [{ database: "bank", pool: key, checkout: bucketsOf(5, 50) }];
    const facts = { databases: [{ ...bank!, pools: [{ ...pool, checkout }] }], checkouts };
    const [merged] = new MergedSources(facts, () => 0).databases();
    assert.equal(merged!.pools[0]!.checkout.count, 2);
  });
});

describe("a shard", () => {
  it("is as the worker sees it that sees the worst", () => {
    const [east] = sourcesOf().shards();
    const healths: readonly (view.ShardHealth | null)[] = [
      { state: "up", reason: null, breaker: "half_open" },
      { state: "down", reason: "refused", breaker: "closed" },
      null,
    ];
    const [merged, ...more] = mergeFact(
      "shards",
      healths.map((health) => [{ ...east!, health }]),
    );
    assert.deepEqual(more, []);
    assert.deepEqual(merged!.health, { state: "down", reason: "refused", breaker: "half_open" });
  });
});

describe("what is in doubt", () => {
  it("is there once, whoever sees it", () => {
    const doubts = sourcesOf().inDoubt();
    assert.deepEqual(mergeFact("inDoubt", [doubts, doubts]), doubts);
  });

  it("names the client of another worker that it keeps waiting", async () => {
    const [doubt] = await sourcesOf().inDoubtNow();
    const inDoubtNow = [{ ...doubt!, waiters: ["client 9", "pid 4711", "pid 99"] }];
    const facts = { inDoubtNow, servers: sourcesOf().servers() };
    const [row] = await new MergedSources(facts, () => 0).inDoubtNow();
    assert.deepEqual(row!.waiters, ["client 9", "client 7", "pid 99"]);
  });

  it("has one verdict for each of an operator's decisions, the one of who knows", () => {
    const names = ["unproven", "confirmed"];
    const verdicts = mergeFact("verdicts", [
      { names, of: { t: "unproven", u: "unproven" } },
      { names, of: { t: "confirmed" } },
      { names, of: { t: "unproven" } },
    ]);
    const sources = new MergedSources({ verdicts }, () => 0);
    assert.deepEqual(sources.heuristicCounts(), { unproven: 1, confirmed: 1 });
  });
});

describe("deadlocks", () => {
  it("get numbers of their own, in the order of time, and keep them", () => {
    const book = new DeadlockBook();
    const [a, b] = [{}, {}];
    const of = (id: number, atMs: number) => ({ ...DEADLOCK, id, atMs });
    book.hear([
      [a, [of(1, 30)]],
      [b, [of(1, 10)]],
    ]);
    book.hear([
      [a, [of(1, 30), of(2, 50)]],
      [b, [of(1, 10)]],
    ]);
    book.hear([[{}, [of(1, 70)]]]); // of the one that followed b
    assert.deepEqual(
      book.records.map(({ id, atMs }) => [id, atMs]),
      [
        [1, 10],
        [2, 30],
        [3, 50],
        [4, 70],
      ],
    );
  });
});

describe("metrics that prom-client keeps", () => {
  it("are put together as they say, and left out where that means nothing", () => {
    const families = (value: number) =>
      ["sum", "max", "min", "average", "first", "omit"].map((aggregator) => ({
        name: aggregator,
        help: "",
        type: "gauge",
        aggregator,
        values: [
          { value, labels: { a: "1", b: "2" } },
          { value: 1, labels: {}, metricName: `only_${value}` },
        ],
      }));
    const merged = mergeFamilies([...families(1), ...families(3)]);
    assert.deepEqual(
      merged.map(({ name, values }) => [name, values[0]!.value, values.length]),
      [
        ["sum", 4, 3],
        ["max", 3, 3],
        ["min", 1, 3],
        ["average", 2, 3],
        ["first", 1, 3],
      ],
    );
  });
});
