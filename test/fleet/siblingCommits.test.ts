import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ResolveRequest } from "../../src/admin/operations.ts";
import { shardId } from "../../src/base/brands.ts";
import { Fault } from "../../src/base/fault.ts";
import { relayResolve, resolvesBy } from "../../src/cli/siblings.ts";
import {
  askSiblings,
  relayCommits,
  type SiblingView,
  serveSiblings,
} from "../../src/fleet/siblingCommits.ts";
import { CrewStage } from "./crewStage.ts";

const passed = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const NOTHING: SiblingView = { running: [], known: [], left: [] };
const REQUEST: ResolveRequest = {
  gtrid: "f:c:1:1",
  outcome: "abort",
  isConfirmed: true,
  by: "me",
  reason: "",
};

describe("workers that ask each other about commits", () => {
  function staged(views: readonly SiblingView[]) {
    const stage = new CrewStage(views.length);
    relayCommits(stage.crew);
    const searches = views.map(() => 0);
    const workers = views.map((view, index) => {
      const worker = stage.join(index);
      const searchSoon = (): void => void (searches[index]! += 1);
      serveSiblings(worker.membership, { look: async () => view, searchSoon });
      return worker;
    });
    return { stage, workers, searches };
  }

  test("learn what all the others know, and not what they know themselves", async () => {
    const doubt = { gid: "c", shard: shardId("east"), preparedAtMs: 1, xminAge: 2, reason: "a reason" };
    const { workers } = staged([
      { ...NOTHING, running: ["own"] },
      { ...NOTHING, running: ["a"], known: [["b", "commit"]] },
      { ...NOTHING, left: [doubt] },
    ]);
    assert.deepEqual(await askSiblings(workers[0]!.membership, ["a", "b"]), {
      running: ["a"],
      known: [["b", "commit"]],
      left: [doubt],
    });
  });

  test("learn nothing from who is gone, nor without a parent, nor alone", async () => {
    const { stage, workers } = staged([NOTHING, { ...NOTHING, running: ["a"] }]);
    stage.leave(workers[1]!);
    assert.deepEqual(await askSiblings(workers[0]!.membership, ["a"]), NOTHING);
    workers[0]!.membership.parent.close();
    assert.deepEqual(await askSiblings(workers[0]!.membership, ["a"]), NOTHING);
    assert.deepEqual(await askSiblings(null, ["a"]), NOTHING);
  });

  test("search for what one left that is gone", async () => {
    const { stage, workers, searches } = staged([NOTHING, NOTHING, NOTHING]);
    stage.leave(workers[1]!);
    await passed();
    assert.deepEqual(searches, [1, 0, 1]);
  });
});

describe("RESOLVE among workers", () => {
  const elsewhere = (detail: string) => async () => {
    throw new Fault("resolve.owner_alive", { detail });
  };
  const doing = (says: string) => async () => [{ shard: null, gid: null, says }];

  function staged(own: readonly Parameters<typeof resolvesBy>[1][]) {
    const stage = new CrewStage(own.length);
    relayResolve(stage.crew);
    return own.map((resolve, index) => resolvesBy(stage.join(index).membership, resolve));
  }

  test("is done by the one that is asked, if it can", async () => {
    const [first] = staged([doing("here"), doing("there")]);
    assert.deepEqual(
      (await first!(REQUEST)).map(({ says }) => says),
      ["here"],
    );
  });

  test("is done by the one that has the transaction in hand", async () => {
    const [first] = staged([elsewhere("1"), elsewhere("2"), doing("there")]);
    assert.deepEqual(
      (await first!(REQUEST)).map(({ says }) => says),
      ["there"],
    );
  });

  test("is refused by the one that commits it", async () => {
    const running = async () => {
      throw new Fault("resolve.running");
    };
    const [first] = staged([elsewhere("1"), running, doing("never")]);
    await assert.rejects(first!(REQUEST), { id: "resolve.running" });
  });

  test("is refused as it was at first if nobody has it in hand", async () => {
    const [first] = staged([elsewhere("1"), elsewhere("2")]);
    await assert.rejects(first!(REQUEST), { id: "resolve.owner_alive", detail: "1" });
  });
});
