/** What is deadlocked, against an oracle that tries every set; and what is left when the victims are gone. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  type Deadlock,
  findDeadlocks,
  findStuck,
  type NodeId,
  type Wait,
  type WaitForGraph,
} from "../../src/deadlock/waitForGraph.ts";

const NODES = [..."abcdefghi"];

const all = (...on: readonly NodeId[]): Wait => ({ kind: "all", on });
const any = (...on: readonly NodeId[]): Wait => ({ kind: "any", on });
const graphOf = (waits: Readonly<Record<NodeId, Wait>>): WaitForGraph => new Map(Object.entries(waits));

/** Random graphs of up to nine nodes; some of them wait for nobody, some for themselves, some twice for the same. */
const graphs = (kinds: readonly Wait["kind"][] = ["all", "any"]): fc.Arbitrary<WaitForGraph> =>
  fc.integer({ min: 1, max: NODES.length }).chain((count) => {
    const names = NODES.slice(0, count);
    const on = fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 3 });
    const wait = fc.record({ kind: fc.constantFrom(...kinds), on });
    const waits = fc.tuple(...names.map(() => fc.option(wait, { freq: 4 })));
    return waits.map((list) => new Map(names.flatMap((name, i) => (list[i] ? [[name, list[i]]] : []))));
  });

/** The union of all sets whose members wait and can have what they wait for from nobody outside the set. */
function oracle(graph: WaitForGraph): Set<NodeId> {
  const nodes = [...graph.keys()];
  const union = new Set<NodeId>();
  for (let bits = 1; bits < 2 ** nodes.length; bits += 1) {
    const set = new Set(nodes.filter((_, i) => (bits >> i) % 2 === 1));
    const isClosed = [...set].every((node) => {
      const { kind, on } = graph.get(node)!;
      return kind === "all" ? on.some((to) => set.has(to)) : on.every((to) => set.has(to));
    });
    if (isClosed) for (const node of set) union.add(node);
  }
  return union;
}

const without = (graph: WaitForGraph, gone: Iterable<NodeId>): WaitForGraph => {
  const left = new Map(graph);
  for (const node of gone) left.delete(node);
  return left;
};

const first = (members: ReadonlySet<NodeId>): NodeId => [...members].sort()[0]!;

function assertCircle(graph: WaitForGraph, { circle, victim, members }: Deadlock): void {
  assert.ok(circle.length > 0);
  if (victim !== null) assert.equal(circle[0], victim);
  assert.equal(new Set(circle).size, circle.length, "nobody is in it twice");
  for (const [i, node] of circle.entries()) {
    assert.ok(members.has(node));
    assert.ok(graph.get(node)!.on.includes(circle[(i + 1) % circle.length]!), `${node} waits for the next`);
  }
}

const ring = (prefix: string, size: number): [NodeId, Wait][] =>
  Array.from({ length: size }, (_, i) => [`${prefix}${i}`, all(`${prefix}${(i + 1) % size}`)]);

/** Counts the reading of edges: what work is done, on no clock. */
function counted(graph: WaitForGraph): { readonly graph: WaitForGraph; reads(): number } {
  let count = 0;
  const nodes = [...graph].map(([node, { kind, on }]): [NodeId, Wait] => {
    const wait = {
      kind,
      get on() {
        count += on.length;
        return on;
      },
    };
    return [node, wait];
  });
  return { graph: new Map(nodes), reads: () => count };
}

describe("reduction", () => {
  it("finds stuck exactly those whom no set from outside can free", () => {
    fc.assert(
      fc.property(graphs(), (graph) => assert.deepEqual(new Set(findStuck(graph)), oracle(graph))),
      { numRuns: 1_000 },
    );
  });

  const cases: readonly (readonly [string, Readonly<Record<NodeId, Wait>>, string])[] = [
    ["a circle of two", { a: all("b"), b: all("a") }, "ab"],
    ["one who waits for itself", { a: all("a") }, "a"],
    ["those who wait for a circle too", { a: all("b"), b: all("a"), c: all("a"), d: all("c", "x") }, "abcd"],
    ["no chain", { a: all("b"), b: all("c"), c: all("d") }, ""],
    ["no tree", { a: all("b", "c"), b: all("d"), c: all("d"), e: all("d") }, ""],
    ["no circle of which one waits for any, and one of those goes", { a: any("b", "x"), b: all("a") }, ""],
    ["a circle in which all of any are stuck", { a: any("b", "c"), b: all("a"), c: all("a") }, "abc"],
    ["no one who waits for any of nobody", { a: any(), b: all("a") }, ""],
    ["one of whose all only one is stuck", { a: all("b", "x"), b: all("a") }, "ab"],
  ];
  for (const [says, waits, stuck] of cases) {
    it(`has ${says}`, () => assert.equal([...findStuck(graphOf(waits))].sort().join(""), stuck));
  }
});

describe("deadlocks", () => {
  it("have a circle of waits that begins with the victim, and nobody in them who is not stuck", () => {
    const run = (graph: WaitForGraph) => {
      const gone: NodeId[] = [];
      for (const deadlock of findDeadlocks(graph, first)) {
        assertCircle(graph, deadlock);
        const stuck = oracle(without(graph, gone));
        for (const node of deadlock.members) assert.ok(stuck.has(node), `${node} is stuck`);
        gone.push(deadlock.victim!);
      }
    };
    fc.assert(fc.property(graphs(), run), { numRuns: 500 });
  });

  it("leave nobody stuck when their victims are gone, and are none where nobody is", () => {
    const run = (graph: WaitForGraph) => {
      const victims = findDeadlocks(graph, first).map(({ victim }) => victim!);
      assert.equal(victims.length === 0, oracle(graph).size === 0);
      assert.equal(new Set(victims).size, victims.length);
      assert.equal(oracle(without(graph, victims)).size, 0);
    };
    fc.assert(fc.property(graphs(), run), { numRuns: 500 });
  });

  it("of which nobody may be chosen keep no other from being found", () => {
    const protectedOnes = fc.subarray(NODES);
    const run = (graph: WaitForGraph, kept: readonly NodeId[]) => {
      const choose = (members: ReadonlySet<NodeId>) =>
        [...members].sort().find((node) => !kept.includes(node)) ?? null;
      const deadlocks = findDeadlocks(graph, choose);
      for (const deadlock of deadlocks) {
        assertCircle(graph, deadlock);
        if (deadlock.victim === null) for (const node of deadlock.members) assert.ok(kept.includes(node));
      }
      const gone = deadlocks.flatMap(({ victim, members }) => (victim === null ? [...members] : [victim]));
      assert.equal(oracle(without(graph, gone)).size, 0);
    };
    fc.assert(fc.property(graphs(), protectedOnes, run), { numRuns: 500 });
  });

  it("that are disjoint lose one victim each", () => {
    const graph: WaitForGraph = new Map([...ring("a", 2), ...ring("b", 3), ...ring("c", 5)]);
    const deadlocks = findDeadlocks(graph, first);
    assert.deepEqual(deadlocks.map(({ victim }) => victim).sort(), ["a0", "b0", "c0"]);
    assert.deepEqual(deadlocks.map(({ circle }) => circle.length).sort(), [2, 3, 5]);
  });

  it("that share a party lose that one alone if it is chosen", () => {
    const graph = graphOf({ a: all("b", "c"), b: all("a"), c: all("a") });
    assert.deepEqual(
      findDeadlocks(graph, () => "a").map(({ victim }) => victim),
      ["a"],
    );
    assert.deepEqual(
      findDeadlocks(graph, (members) => (members.has("b") ? "b" : "c")).map(({ victim }) => victim),
      ["b", "c"],
    );
  });

  it("are broken where others wait for them, and those lose nobody", () => {
    const graph: WaitForGraph = new Map([...ring("a", 2), ["x", all("a0")], ["y", all("x")]]);
    const [only, ...rest] = findDeadlocks(graph, (members) => [...members].sort().at(-1)!);
    assert.deepEqual(rest, []);
    assert.deepEqual(only!.circle, ["a1", "a0"]);
  });

  it("are found behind one that is left to somebody else", () => {
    const graph = graphOf({ u: all("v"), v: all("u"), a: all("b", "u"), b: all("a") });
    const deadlocks = findDeadlocks(graph, (members) => (members.has("u") ? null : "b"));
    assert.deepEqual(
      deadlocks.map(({ victim }) => victim),
      [null, "b"],
    );
  });

  it("tell the shortest circle through the victim", () => {
    const graph = graphOf({ a: all("b"), b: all("c", "a"), c: all("d"), d: all("a") });
    const circleOf = (node: NodeId) =>
      findDeadlocks(graph, (members) => (members.has(node) ? node : first(members)))[0]!.circle;
    assert.deepEqual(circleOf("a"), ["a", "b"]);
    assert.deepEqual(circleOf("d"), ["d", "a", "b", "c"]);
  });
});

describe("ten thousand", () => {
  const SIZE = 10_000;

  it("in a chain are reduced in one pass", () => {
    const chain = Array.from({ length: SIZE }, (_, i): [NodeId, Wait] => [`n${i}`, all(`n${i + 1}`)]);
    const { graph, reads } = counted(new Map(chain));
    assert.equal(findStuck(graph).size, 0);
    assert.deepEqual(findDeadlocks(graph, first), []);
    assert.ok(reads() <= 4 * SIZE, `${reads()} reads`);
  });

  it("in one circle are one deadlock", () => {
    const { graph, reads } = counted(new Map(ring("n", SIZE)));
    const deadlocks = findDeadlocks(graph, () => "n7");
    assert.equal(deadlocks.length, 1);
    assert.equal(deadlocks[0]!.circle.length, SIZE);
    assert.ok(reads() <= 10 * SIZE, `${reads()} reads`);
  });

  it("in circles of two lose five thousand, in a few passes", () => {
    const pairs = Array.from({ length: SIZE / 2 }, (_, i) => ring(`p${i}-`, 2)).flat();
    const { graph, reads } = counted(new Map(pairs));
    assert.equal(findDeadlocks(graph, first).length, SIZE / 2);
    assert.ok(reads() <= 10 * SIZE, `${reads()} reads`);
  });

  it("who all wait for all of one circle are left out of it", () => {
    const around = Array.from({ length: SIZE }, (_, i): [NodeId, Wait] => [`w${i}`, all("r0", "r1")]);
    const { graph, reads } = counted(new Map([...around, ...ring("r", 2)]));
    const deadlocks = findDeadlocks(graph, first);
    assert.deepEqual(
      deadlocks.map(({ members }) => members.size),
      [2],
    );
    assert.ok(reads() <= 20 * SIZE, `${reads()} reads`);
  });
});
