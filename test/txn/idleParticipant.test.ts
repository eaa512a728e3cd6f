/** A shard that ends transactions which stand idle, as a participant does that waits for the others' votes. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";
import { Fault } from "../../src/base/fault.ts";
import { startShards, type TestShards } from "../support/shards.ts";
import { FleetStage, type Member } from "./fleetStage.ts";

const SLOW = `
  CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(2); RETURN NULL; END';
  CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()`;
const IMPATIENT = "SET idle_in_transaction_session_timeout = '800ms'; BEGIN";

suite("a participant that its shard ends because it stood idle", () => {
  let shards: TestShards;
  let fleet: FleetStage;
  let member: Member;

  before(async () => {
    shards = await startShards(2);
  });
  after(() => shards.stop());
  beforeEach(async () => {
    fleet = await FleetStage.open(shards);
    member = await fleet.join("a");
  });
  afterEach(() => fleet.close());

  test("as the anchor, while the others prepare, aborts all, and nothing is left", async () => {
    await fleet.query(0, SLOW);
    const sql = "INSERT INTO t VALUES (1)";
    const other = await fleet.branch(member, 0, sql);
    const anchor = await fleet.branch(member, 1, sql, IMPATIENT);
    const outcome = await fleet.commit(member, other, anchor);
    assert.ok(outcome.kind === "aborted" && outcome.error instanceof Fault);
    assert.equal(outcome.error.id, "commit.branch_lost");
    assert.match(outcome.error.detail ?? "", /Shard "north" did not answer COMMIT/);
    await fleet.rest();
    assert.equal(await fleet.seen(1), 0);
  });

  test("is not ended once it is prepared: it is idle in no transaction", async () => {
    await fleet.query(1, SLOW);
    const sql = "INSERT INTO t VALUES (2)";
    const other = await fleet.branch(member, 0, sql, IMPATIENT);
    const anchor = await fleet.branch(member, 1, sql); // its COMMIT takes two seconds
    assert.deepEqual(await fleet.commit(member, other, anchor), { kind: "committed" });
    assert.equal(await fleet.seen(2), 2);
  });
});
