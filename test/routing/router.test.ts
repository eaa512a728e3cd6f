/** Parameters to shards, keys of hints, and the plans that are kept. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { Fault } from "../../src/base/fault.ts";
import { loadParser } from "../../src/routing/parse.ts";
import type { KeySource } from "../../src/routing/plan.ts";
import { PlanCache } from "../../src/routing/planCache.ts";
import { Router } from "../../src/routing/router.ts";
import { bindOf, KEY, newRouter, OTHER, ownerOf, SAME, SHARDS, TABLES } from "./routingStage.ts";

before(loadParser);

const router = newRouter();

function resolve(text: string, values: readonly (string | Buffer | null)[], oids: readonly number[] = []) {
  const plan = router.plan(text);
  assert.ok(plan.kind === "statement" && plan.target.kind === "keys", text);
  const shard = router.resolveKeys(plan.target.keys, bindOf(...values), oids);
  return shard instanceof Fault ? shard.id : SHARDS[shard];
}

const int8 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
};
const int4 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};
const int2 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
};

describe("parameters", () => {
  const byId = "SELECT * FROM accounts WHERE id = $1";

  it("give the shard in text and in binary of any width", () => {
    const home = ownerOf("-77");
    assert.equal(resolve(byId, ["-77"]), home);
    assert.equal(resolve(byId, [int8(-77n)], [20]), home);
    assert.equal(resolve(byId, [int4(-77)], [23]), home);
    assert.equal(resolve(byId, [int2(-77)], [21]), home);
    assert.equal(resolve("SELECT * FROM owners WHERE name = $1", ["Zoë"], [1043]), ownerOf("Zoë", "text"));
    assert.equal(
      resolve("SELECT * FROM owners WHERE name = $1", [Buffer.from("Zoë")], [25]),
      ownerOf("Zoë", "text"),
    );
  });

  it("that cannot be a key are refused", () => {
    assert.equal(resolve(byId, [null]), "route.null_key");
    assert.equal(resolve(byId, []), "route.no_key");
    assert.equal(resolve(byId, ["x"]), "route.bad_key");
    assert.equal(resolve(byId, ["1"], [25]), "route.bad_key");
    assert.equal(resolve(byId, ["1"], [1700]), "route.bad_key");
    assert.equal(resolve(byId, [Buffer.alloc(3)]), "route.bad_key");
    assert.equal(resolve("SELECT * FROM cards WHERE id = $1", [int8(2n ** 31n)]), "route.bad_key");
  });

  it("must agree on the shard", () => {
    const insert = "INSERT INTO accounts (id) VALUES ($1), ($2)";
    assert.equal(resolve(insert, [KEY, SAME]), ownerOf(KEY));
    assert.equal(resolve(insert, [KEY, OTHER]), "route.many_shards");
    const mixed = `INSERT INTO accounts (id) VALUES ($1), (${KEY})`;
    assert.equal(resolve(mixed, [SAME]), ownerOf(KEY));
    assert.equal(resolve(mixed, [OTHER]), "route.many_shards");
  });

  it("that stand elsewhere too may have another type, unless it is declared", () => {
    const twice = "UPDATE accounts SET balance = $1 WHERE id = $1";
    assert.equal(resolve(twice, [KEY]), ownerOf(KEY));
    assert.equal(resolve(twice, [int8(BigInt(KEY))], [20]), ownerOf(KEY));
    assert.equal(resolve(twice, [int8(BigInt(KEY))]), "route.bad_key");
    const both = "SELECT * FROM accounts a, transfers t WHERE a.id = $1 AND t.account_id = $1";
    assert.equal(resolve(both, [int8(BigInt(KEY))]), ownerOf(KEY));
    assert.equal(resolve("SELECT $1 FROM owners WHERE name = $1", [Buffer.from("x")]), ownerOf("x", "text"));
    assert.equal(resolve("SELECT $1 FROM days WHERE day = $1", ["2024-01-01"]), "route.bad_key");
    assert.equal(resolve("SELECT * FROM days WHERE day = $1", ["2024-01-01"]), ownerOf("2024-01-01", "date"));
  });

  it("an error that is no refusal is let go", () => {
    const broken = { ...bindOf("1"), parameter: () => assert.fail("broken") };
    const keys: readonly KeySource[] = [{ kind: "parameter", index: 0, keyType: "int8", column: "id" }];
    assert.throws(() => router.resolveKeys(keys, broken, []), /broken/);
  });
});

describe("the shard of a hint", () => {
  it("is found by name", () => {
    assert.equal(router.shardByName("east"), 1);
    const fault = router.shardByName("west") as Fault;
    assert.equal(fault.id, "route.unknown_shard");
    assert.match(fault.hint!, /north, east, south/);
  });

  it("is found by key when all tables share one type of key", () => {
    const alike = new Router(
      SHARDS,
      TABLES.filter((table) => table.kind !== "sharded" || table.keyType === "int8"),
    );
    assert.equal(SHARDS[alike.shardByKey(KEY) as number], ownerOf(KEY));
    assert.equal((alike.shardByKey("x") as Fault).id, "route.bad_key");
    assert.equal((router.shardByKey(KEY) as Fault).id, "route.unsupported");
    const hinted = alike.plan(`SELECT * FROM accounts /* pgxa: key=${KEY} */`);
    assert.deepEqual(hinted.kind === "statement" && hinted.target, {
      kind: "shard",
      shard: SHARDS.map(String).indexOf(ownerOf(KEY)),
    });
  });
});

describe("plans", () => {
  it("are made once for a text, refusals too", () => {
    for (const text of ["SELECT 1", "SELECT * FROM accounts", "SELECT FROM FROM"]) {
      assert.equal(router.plan(text), router.plan(text));
    }
  });

  it("are kept within their number", () => {
    const small = newRouter(10);
    for (let i = 0; i < 100; i += 1) small.plan(`SELECT ${i}`);
    assert.ok(small.cached <= 11, String(small.cached));
  });

  it("of a statement nested too deeply for the planner are refusals", () => {
    const plan = router.plan(`SELECT * FROM currencies${" CROSS JOIN currencies".repeat(2_500)}`);
    assert.ok(plan.kind === "statement" || (plan.kind === "refused" && plan.fault.sqlstate === "0A000"));
  });
});

describe("the plan cache", () => {
  const plan = { kind: "empty" } as const;

  it("keeps what is used and forgets the rest", () => {
    const cache = new PlanCache(4, 1_000_000);
    cache.set("used", plan);
    for (let i = 0; i < 50; i += 1) {
      assert.equal(cache.get("used"), plan, `after ${i}`);
      cache.set(`once ${i}`, plan);
      assert.ok(cache.size <= 5);
    }
    assert.equal(cache.get("once 0"), null);
  });

  it("is bounded by the length of its texts", () => {
    const cache = new PlanCache(1_000, 800);
    for (let i = 0; i < 100; i += 1) cache.set(`${i}${"x".repeat(90)}`, plan);
    assert.ok(cache.size < 12, String(cache.size));
    cache.set("y".repeat(101), plan);
    assert.equal(cache.get("y".repeat(101)), null);
  });
});
