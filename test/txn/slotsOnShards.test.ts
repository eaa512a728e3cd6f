/** Slots of max_prepared_transactions over real shards that have few. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Fault } from "../../src/base/fault.ts";
import type { CommitOutcome } from "../../src/txn/commitProtocol.ts";
import { startShards, type TestShards } from "../support/shards.ts";
import { CommitStage } from "./commitStage.ts";
import { FleetStage } from "./fleetStage.ts";

const MAX = 2;
const STRANGER = "BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION";

let shards: TestShards;

const sqlstateOf = (outcome: CommitOutcome): string =>
  outcome.kind === "aborted" ? outcome.error.sqlstate : outcome.kind;

suite("shards with two slots for prepared transactions", () => {
  let stage: CommitStage;

  before(async () => {
    shards = await startShards(2, { settings: { max_prepared_transactions: String(MAX) } });
  });
  after(() => shards.stop());
  beforeEach(async () => {
    stage = await CommitStage.open(shards);
  });
  afterEach(() => stage.close());

  test("many transactions at once all commit: none is refused by a shard", async () => {
    const all = await Promise.all(Array.from({ length: 12 }, (_, i) => stage.writers(i)));
    const outcomes = await Promise.all(all.map((writers) => stage.commit(...writers)));
    assert.deepEqual(new Set(outcomes.map(sqlstateOf)), new Set(["committed"]));
    assert.deepEqual(
      stage.slots.usage().map(({ used, max }) => [used, max]),
      [
        [0, MAX],
        [0, MAX],
      ],
    );
  });

  test("who finds none in time is rolled back with 53200, and nothing is left", async () => {
    stage.config = { ...stage.config, prepareTimeoutMs: 100 };
    await stage.restart();
    await stage.query(1, `${STRANGER} 'x1'`);
    await stage.query(1, `${STRANGER} 'x2'`);
    await stage.resolver.start();
    const outcome = await stage.commit(...(await stage.writers(1)));
    assert.ok(outcome.kind === "aborted" && outcome.error instanceof Fault);
    assert.equal(outcome.error.id, "commit.no_slots");
    assert.match(
      outcome.error.detail ?? "",
      /Shard "north" has max_prepared_transactions = 2: 0 .* 2 by others/,
    );
    for (const gid of ["x1", "x2"]) await stage.query(1, `ROLLBACK PREPARED '${gid}'`);
    assert.equal(await stage.seen(1), 0);
    assert.equal(await stage.prepared(), 0);
  });

  test("who waits for what others have goes on soon after they have given it back", async () => {
    for (const gid of ["x1", "x2"]) await stage.query(1, `${STRANGER} '${gid}'`);
    await stage.resolver.start();
    const committing = stage.commit(...(await stage.writers(1)));
    for (const gid of ["x1", "x2"]) await stage.query(1, `ROLLBACK PREPARED '${gid}'`);
    assert.deepEqual(await committing, { kind: "committed" });
  });

  test("a slot that others took since they were last counted is refused by the shard itself, with its hint", async () => {
    stage.resolver.stop(); // it counts no more
    const writers = await stage.writers(1);
    for (const gid of ["x1", "x2"]) await stage.query(1, `${STRANGER} '${gid}'`);
    const outcome = await stage.commit(...writers);
    for (const gid of ["x1", "x2"]) await stage.query(1, `ROLLBACK PREPARED '${gid}'`);
    assert.equal(sqlstateOf(outcome), "53200");
    assert.ok(outcome.kind === "aborted" && !(outcome.error instanceof Fault));
    assert.match(outcome.error.hint ?? "", /max_prepared_transactions/);
    await stage.rest();
    assert.equal(await stage.seen(1), 0);
  });

  test("what is in doubt keeps its slot until the resolver has finished it", async () => {
    const writers = await stage.writers(1);
    stage.resolver.stop(); // nobody finishes it yet
    writers[1].losses.set("COMMIT PREPARED", "before");
    const outcome = await stage.commit(...writers);
    assert.ok(outcome.kind === "committed" && outcome.notice !== undefined);
    const north = () => stage.slots.usage().find(({ shard }) => shard === "north");
    assert.deepEqual([north()?.used, north()?.left], [1, 1]);
    await stage.resolver.start();
    await stage.rest();
    assert.deepEqual([north()?.used, north()?.left], [0, 0]);
  });

  test("a vote that was not heard keeps its slot until its backend is gone and nothing is found prepared", async () => {
    const writers = await stage.writers(1);
    writers[1].losses.set("PREPARE TRANSACTION", "before");
    assert.equal(sqlstateOf(await stage.commit(...writers)), "40000");
    while (stage.slots.usage().some(({ used }) => used > 0)) await delay(5);
    assert.equal(await stage.prepared(), 0);
  });
});

suite("an anchor where slots are short", () => {
  let fleet: FleetStage;

  before(async () => {
    shards = await startShards(2, { settings: { max_prepared_transactions: String(MAX) } });
    fleet = await FleetStage.open(shards);
  });
  after(async () => {
    await fleet.close();
    await shards.stop();
  });

  test("is the shard that has none left, for it needs none", async () => {
    for (const gid of ["x1", "x2"]) await fleet.query(0, `${STRANGER} '${gid}'`);
    const member = await fleet.join("a", { prepare_timeout: "100ms" });
    const writers = await fleet.writers(member, 1);
    assert.deepEqual(await fleet.commit(member, ...writers), { kind: "committed" });
    assert.match(writers[0].said.at(-1) ?? "", /^INSERT INTO pgxa\.commit_decision /);
    for (const gid of ["x1", "x2"]) await fleet.query(0, `ROLLBACK PREPARED '${gid}'`);
    assert.equal(await fleet.seen(1), 2);
  });
});

test("a start over a shard that can prepare nothing is refused, and says which and what to do", async () => {
  const unable = await startShards(2, { settings: { max_prepared_transactions: "0" } });
  try {
    const fleet = await FleetStage.open(unable);
    await assert.rejects(fleet.join("a"), (error: unknown) => {
      assert.ok(error instanceof Fault);
      assert.equal(error.sqlstate, "55000");
      assert.match(error.detail ?? "", /max_prepared_transactions is 0 on "east", "north"/);
      assert.match(error.hint ?? "", /Set max_prepared_transactions/);
      return true;
    });
  } finally {
    await unable.stop();
  }
});
