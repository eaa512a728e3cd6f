import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";
import { Fault } from "../../src/base/fault.ts";
import { FAULT_POINTS, type FaultPoint } from "../../src/base/faultPoint.ts";
import { makeSchema } from "../../src/cli/shardSchema.ts";
import type { CommitOutcome } from "../../src/txn/commitProtocol.ts";
import { startShards, type TestShards } from "../support/shards.ts";
import { shardConfig } from "./commitStage.ts";
import { FleetStage } from "./fleetStage.ts";

let shards: TestShards;
let stage: FleetStage;

const sqlstateOf = (outcome: CommitOutcome): string | undefined =>
  outcome.kind === "aborted" ? outcome.error.sqlstate : undefined;
const faultOf = (outcome: CommitOutcome): string | undefined =>
  outcome.kind === "aborted" && outcome.error instanceof Fault ? outcome.error.id : undefined;

suite("a commit decided on a shard", () => {
  before(async () => {
    shards = await startShards(3);
  });
  after(() => shards.stop());
  beforeEach(async () => {
    stage = await FleetStage.open(shards);
  });
  afterEach(() => stage.close());

  test("prepares one of two writers, commits the other with the decision, and leaves no row behind", async () => {
    const passed: FaultPoint[] = [];
    const one = await stage.join("one", {}, (point) => void passed.push(point));
    const [other, anchor] = await stage.writers(one, 1);
    assert.deepEqual(await stage.commit(one, other, anchor), { kind: "committed" });
    assert.equal(await stage.seen(1), 2);
    assert.deepEqual(
      [...other.said, ...anchor.said].map((sql) => sql.split("; ").at(-1)!.split(" '")[0]),
      ["PREPARE TRANSACTION", "COMMIT PREPARED", "COMMIT"],
    );
    const expected = FAULT_POINTS.filter((point) => !/^(client|decision)\./.test(point));
    assert.deepEqual(new Set(passed), new Set(expected));
    await stage.rest();
  });

  test("of three writers two are prepared", async () => {
    const one = await stage.join("one");
    const branches = await Promise.all(
      [0, 1, 2].map((i) => stage.branch(one, i, "INSERT INTO t VALUES (1)")),
    );
    assert.deepEqual(await stage.commit(one, ...branches), { kind: "committed" });
    assert.equal(await stage.seen(1), 3);
    await stage.rest();
  });

  test("what fails at the anchor's COMMIT aborts all, in the shard's own words", async () => {
    await stage.query(1, "INSERT INTO t VALUES (1)");
    const one = await stage.join("one");
    assert.equal(sqlstateOf(await stage.commit(one, ...(await stage.writers(one, 1)))), "23505");
    assert.equal(await stage.seen(1), 1);
    assert.deepEqual(await stage.left(), { prepared: [], decisions: [] });
  });

  test("a no of another rolls the anchor back", async () => {
    await stage.query(0, "INSERT INTO t VALUES (1)");
    const one = await stage.join("one");
    const [other, anchor] = await stage.writers(one, 1);
    assert.equal(sqlstateOf(await stage.commit(one, other, anchor)), "23505");
    assert.equal(anchor.isInTransaction, false);
    assert.equal(await stage.seen(1), 1);
    assert.deepEqual(await stage.left(), { prepared: [], decisions: [] });
  });

  test("an anchor whose transaction failed, or is gone, aborts all", async () => {
    const one = await stage.join("one");
    for (const [value, sql] of [
      [1, "SELECT 1/0"],
      [2, "INSERT INTO t VALUES (2); ROLLBACK"],
    ] as const) {
      const other = await stage.branch(one, 0, `INSERT INTO t VALUES (${value})`);
      const anchor = await stage.branch(one, 1, sql);
      assert.equal(sqlstateOf(await stage.commit(one, other, anchor)), "25P02");
      assert.equal(await stage.seen(value), 0);
    }
    await stage.rest();
  });

  test("the anchor may have used a temporary table", async () => {
    const one = await stage.join("one");
    const [other] = await stage.writers(one, 1);
    const anchor = await stage.branch(one, 2, "CREATE TEMPORARY TABLE own (); INSERT INTO t VALUES (1)");
    assert.deepEqual(await stage.commit(one, other, anchor), { kind: "committed" });
  });

  test("a lost answer of the anchor is asked back: committed if it had committed", async () => {
    const one = await stage.join("one");
    const [other, anchor] = await stage.writers(one, 1);
    anchor.losses.set("COMMIT", "after");
    assert.deepEqual(await stage.commit(one, other, anchor), { kind: "committed" });
    assert.equal(await stage.seen(1), 2);
    await stage.rest();
  });

  test("a lost answer of the anchor is asked back: aborted if it had not, and it never can any more", async () => {
    const one = await stage.join("one");
    const [other, anchor] = await stage.writers(one, 1);
    anchor.losses.set("COMMIT", "before");
    assert.equal(faultOf(await stage.commit(one, other, anchor)), "commit.branch_lost");
    assert.equal(await stage.seen(1), 0);
    const { prepared, decisions } = await stage.left();
    assert.deepEqual(prepared, []);
    assert.match(decisions.join(), /^abort f:one:/);
  });

  test("an anchor that cannot be asked back leaves the outcome unknown, and the resolver settles it", async () => {
    const one = await stage.join("one", { commit_timeout: "500ms" });
    const [other, anchor] = await stage.writers(one, 1);
    anchor.losses.set("COMMIT", "after");
    // Whoever wants to write a decision waits for this lock longer than the commit may take.
    const blocker = await stage.shards[1]!.connect();
    const committing = stage.commit(one, other, anchor);
    await blocker.query("BEGIN; LOCK TABLE pgxa.decision IN EXCLUSIVE MODE");
    const outcome = await committing;
    await blocker.query("ROLLBACK");
    await blocker.end();
    assert.ok(outcome.kind === "unknown" || outcome.kind === "committed", outcome.kind);
    await stage.rest(false);
    assert.notEqual(await stage.seen(1), 1);
  });

  test("a vote that is lost aborts all, and what it left prepared is rolled back by the anchor's word", async () => {
    const one = await stage.join("one");
    for (const [value, loss] of [
      [1, "before"],
      [2, "after"],
    ] as const) {
      const [other, anchor] = await stage.writers(one, value);
      other.losses.set("PREPARE TRANSACTION", loss);
      assert.equal(faultOf(await stage.commit(one, other, anchor)), "commit.vote_unknown");
      await stage.rest();
      assert.equal(await stage.seen(value), 0);
    }
  });

  test("a lost answer to COMMIT PREPARED is told by a notice, and the row goes when it is proven applied", async () => {
    const one = await stage.join("one");
    for (const [value, loss] of [
      [1, "before"],
      [2, "after"],
    ] as const) {
      const [other, anchor] = await stage.writers(one, value);
      other.losses.set("COMMIT PREPARED", loss);
      const outcome = await stage.commit(one, other, anchor);
      assert.equal(outcome.kind === "committed" && outcome.notice?.severity, "NOTICE");
      await stage.rest();
      assert.equal(await stage.seen(value), 2);
    }
  });

  test("with commit_ack: decided the client is told when the anchor has committed", async () => {
    const one = await stage.join("one", { commit_ack: "decided" });
    const [other, anchor] = await stage.writers(one, 1);
    const outcome = await stage.commit(one, other, anchor);
    assert.ok(outcome.kind === "committed" && outcome.applied !== undefined);
    assert.equal((await stage.query(1, "SELECT FROM t WHERE a = 1")).length, 1);
    await outcome.applied;
    assert.equal(await stage.seen(1), 2);
    await stage.rest();
  });

  test("a commit that asked for no durability waits for the disk all the same: others act on it", async () => {
    const one = await stage.join("one");
    const [other] = await stage.writers(one, 1);
    const anchor = await stage.branch(one, 2, "SET LOCAL synchronous_commit = off; INSERT INTO t VALUES (1)");
    const setting = "SHOW synchronous_commit";
    assert.deepEqual(((await anchor.connection.run(setting, 5_000)) as { rows: unknown }).rows, [["off"]]);
    const decide = "INSERT INTO pgxa.commit_decision VALUES ('f:x:1:1', 'commit', '[]')";
    assert.deepEqual(
      ((await anchor.connection.run(`${decide}; ${setting}`, 5_000)) as { rows: unknown }).rows,
      [["on"]],
    );
    assert.deepEqual(await stage.commit(one, other, anchor), { kind: "committed" });
  });

  test("a transaction under another role is decided by the right of who logged in", async () => {
    await stage.query(1, "DROP ROLE IF EXISTS teller; CREATE ROLE teller; GRANT ALL ON t TO teller");
    const one = await stage.join("one");
    const other = await stage.branch(one, 0, "INSERT INTO t VALUES (1)");
    const anchor = await stage.branch(
      one,
      1,
      "SET ROLE teller; SET search_path = nowhere; INSERT INTO public.t VALUES (1)",
    );
    assert.deepEqual(await stage.commit(one, other, anchor), { kind: "committed" });
    const teller = await stage.branch(one, 1, "SET SESSION AUTHORIZATION teller");
    const decide = "INSERT INTO pgxa.commit_decision VALUES ('f:x:1:1', 'commit', '[]')";
    const refused = await teller.connection.run(decide, 5_000);
    assert.equal(refused.kind === "error" && refused.error.sqlstate, "44000");
    await teller.connection.run("ROLLBACK", 5_000);
    await stage.query(1, "DROP TABLE t; DROP ROLE teller");
  });

  test("a serializable anchor is decided, too", async () => {
    const one = await stage.join("one");
    const begin = "BEGIN ISOLATION LEVEL SERIALIZABLE";
    const other = await stage.branch(one, 0, "INSERT INTO t VALUES (1)", begin);
    const anchor = await stage.branch(one, 1, "INSERT INTO t VALUES (1)", begin);
    assert.deepEqual(await stage.commit(one, other, anchor), { kind: "committed" });
    assert.equal(await stage.seen(1), 2);
  });

  test("an anchor that was made read-only after it had written aborts all, and says why", async () => {
    const one = await stage.join("one");
    const [other] = await stage.writers(one, 1);
    const anchor = await stage.branch(one, 2, "INSERT INTO t VALUES (1); SET TRANSACTION READ ONLY");
    const outcome = await stage.commit(one, other, anchor);
    assert.equal(faultOf(outcome), "commit.made_read_only");
    assert.equal(sqlstateOf(outcome), "25006");
    assert.equal(await stage.seen(1), 0);
    assert.deepEqual(await stage.left(), { prepared: [], decisions: [] });
  });

  test("a commit loses to an abort that others have decided, and says so", async () => {
    const one = await stage.join("one");
    const [other, anchor] = await stage.writers(one, 1);
    const runBehind = anchor.runBehind.bind(anchor);
    anchor.runBehind = async (first, values, ...rest) => {
      await stage.query(1, `INSERT INTO pgxa.decision VALUES ('${values[0]}', 'abort', '[]')`);
      return runBehind(first, values, ...rest);
    };
    assert.equal(faultOf(await stage.commit(one, other, anchor)), "commit.taken_over");
    assert.equal(await stage.seen(1), 0);
  });

  test("statements that a client deallocated unseen cost one transaction, which says so", async () => {
    const one = await stage.join("one");
    const writers = await stage.writers(one, 0);
    const say = (sql: string) => Promise.all(writers.map(({ connection }) => connection.run(sql, 5_000)));
    // Each has been a participant and the anchor: the last is that.
    const commitBothWays = async (value: number) => {
      assert.deepEqual(await stage.commit(one, ...writers), { kind: "committed" });
      await say(`BEGIN; INSERT INTO t VALUES (${value})`);
      assert.deepEqual(await stage.commit(one, ...writers.toReversed()), { kind: "committed" });
      assert.equal(await stage.seen(value), 2);
    };
    await commitBothWays(1);
    for (const { connection } of writers) {
      await say("BEGIN; INSERT INTO t VALUES (2)");
      await connection.run("DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$", 5_000);
      assert.equal(faultOf(await stage.commit(one, ...writers)), "commit.deallocated");
      assert.equal(await stage.seen(2), 0);
      await say("ROLLBACK");
    }
    await say("BEGIN; INSERT INTO t VALUES (3)");
    await commitBothWays(4);
  });

  test("a schema of version 1 is refused at a start, and made new by running shards init again", async () => {
    const config = shardConfig(shards.shards[1]!);
    const check = "ALTER TABLE pgxa.decision ADD CHECK (outcome IN ('commit', 'abort'))";
    await stage.query(1, `DROP VIEW pgxa.commit_decision; ${check}; UPDATE pgxa.installed SET version = 1`);
    await assert.rejects(stage.join("one"), { id: "log.no_schema" });
    assert.deepEqual([await makeSchema(config), await makeSchema(config)], ["made", "was there"]);
    const two = await stage.join("two");
    assert.deepEqual(await stage.commit(two, ...(await stage.writers(two, 1))), { kind: "committed" });
    assert.equal(await stage.seen(1), 2);
  });

  test("many commits at once leave neither rows nor prepared transactions", async () => {
    const members = [await stage.join("one"), await stage.join("two")];
    const outcomes = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        const member = members[i % 2]!;
        return stage.commit(member, ...(await stage.writers(member, i)));
      }),
    );
    assert.deepEqual(new Set(outcomes.map(({ kind }) => kind)), new Set(["committed"]));
    await stage.rest();
    assert.deepEqual(await stage.left(), { prepared: [], decisions: [] });
  });

  test("two of one name are two owners", async () => {
    const [one, other] = [await stage.join("same"), await stage.join("same")];
    for (const [i, member] of [one, other].entries())
      assert.deepEqual(await stage.commit(member, ...(await stage.writers(member, i))), {
        kind: "committed",
      });
    await stage.rest();
  });

  test("pgxa does not start on shards that are not prepared, and says what to do", async () => {
    await stage.query(2, "DROP SCHEMA pgxa CASCADE");
    await assert.rejects(stage.join("one"), (error) => {
      assert.ok(error instanceof Fault);
      assert.equal(error.id, "log.no_schema");
      assert.match(error.detail ?? "", /shard "west"/i);
      assert.match(error.hint ?? "", /shards init/);
      return true;
    });
  });
});
