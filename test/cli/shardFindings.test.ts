/** What is made of a shard's answers. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type Facts,
  type Finding,
  judgeClock,
  judgeFacts,
  judgeKey,
  judgeLeftovers,
  judgeServers,
} from "../../src/cli/shardFindings.ts";
import type { KeyType } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/load.ts";

const FIT: Facts = {
  version: "17.2",
  major: 17,
  prepared_max: 100,
  connections_max: 100,
  encoding: "UTF8",
  is_standby: false,
  may_identify: true,
};

const configOf = (shards: number) =>
  parseConfig(
    `
database: bank
shards: [${["east", "west"].slice(0, shards).map((name) => `{ name: ${name}, host: ${name}, user: 'o"k' }`)}]
auth: { method: trust }
pool: { max: 20 }
transaction: { log_directory: decisions }
`,
    "f.yaml",
    {},
  );

function judged(facts: Partial<Facts>, shards = 2): ReadonlyMap<string, Finding> {
  const config = configOf(shards);
  const findings = judgeFacts({ ...FIT, ...facts }, config.shards[0]!, config);
  return new Map(findings.map((finding) => [finding.what, finding]));
}

describe("a shard", () => {
  it("that is fit has only good findings", () => {
    for (const { verdict, advice } of judged({}).values())
      assert.deepEqual([verdict, advice], ["ok", undefined]);
  });

  const CASES: readonly (readonly [what: string, facts: Partial<Facts>, verdict: string, advice: RegExp])[] =
    [
      ["version", { version: "12.22", major: 12 }, "fail", /Upgrade/],
      ["role", { is_standby: true }, "fail", /primary's address/],
      [
        "max_prepared_transactions",
        { prepared_max: 0 },
        "fail",
        /ALTER SYSTEM SET max_prepared_transactions = 100; and restart/,
      ],
      ["max_prepared_transactions", { prepared_max: 19 }, "warn", /restart/],
      ["max_prepared_transactions", { prepared_max: 20 }, "ok", /^$/],
      [
        "rights",
        { may_identify: false },
        "fail",
        /GRANT EXECUTE ON FUNCTION pg_control_system\(\) TO "o""k";/,
      ],
      ["connections", { connections_max: 24 }, "warn", /Lower pool\.max/],
      ["encoding", { encoding: "LATIN1" }, "warn", /use UTF8/],
    ];
  for (const [what, facts, verdict, advice] of CASES) {
    it(`with ${JSON.stringify(facts)} gets "${verdict}" for ${what}`, () => {
      const finding = judged(facts).get(what)!;
      assert.equal(finding.verdict, verdict);
      assert.match(finding.advice ?? "", advice);
    });
  }

  it("that is alone needs nothing of two-phase commit, and may be a standby", () => {
    const findings = judged(
      { prepared_max: 0, may_identify: false, is_standby: true, encoding: "LATIN1" },
      1,
    );
    assert.deepEqual([...findings.keys()], ["version", "role", "connections"]);
    assert.equal(findings.get("role")?.verdict, "warn");
  });
});

describe("a shard's clock", () => {
  it("is shown with its sign, and warned of beyond half a second", () => {
    assert.deepEqual(judgeClock(-3.4), { what: "clock", verdict: "ok", says: "-3 ms" });
    assert.equal(judgeClock(500).verdict, "ok");
    assert.equal(judgeClock(501).verdict, "warn");
    assert.equal(judgeClock(-90_000).says, "-90000 ms");
  });
});

describe("prepared transactions left over", () => {
  const none = { ours: 0, untouchable: 0, others: 0, oldest_s: 0 };

  it("are a warning, of this fleet and of others", () => {
    assert.equal(judgeLeftovers(none).says, "none");
    assert.match(
      judgeLeftovers({ ...none, ours: 2, oldest_s: 61.2 }).says,
      /^2 of this fleet, 0 of others, the oldest 61 s/,
    );
    assert.match(judgeLeftovers({ ...none, ours: 1 }).advice!, /settles its own/);
    assert.match(judgeLeftovers({ ...none, others: 1 }).advice!, /their owner ends them/);
  });

  it("fail if the role of pgxa may not finish them", () => {
    const finding = judgeLeftovers({ ...none, ours: 2, untouchable: 1 });
    assert.equal(finding.verdict, "fail");
    assert.match(finding.says, /1 of this fleet belong to another role/);
  });
});

describe("a shard key", () => {
  const table = (keyType: KeyType) =>
    ({ kind: "sharded", schema: "public", name: "accounts", key: "id", keyType }) as const;
  const column = { type: "int8", typmod: -1, is_deterministic: true };

  it("has to be there, with the type that is configured", () => {
    assert.equal(judgeKey(table("int8"), column).verdict, "ok");
    assert.match(judgeKey(table("int8"), null).says, /has no column id/);
    assert.match(judgeKey(table("int4"), column).says, /id is int8, not int4/);
  });

  it("has to be stored as it was sent", () => {
    assert.equal(judgeKey(table("numeric"), { ...column, type: "numeric" }).verdict, "ok");
    assert.match(judgeKey(table("numeric"), { ...column, type: "numeric", typmod: 655366 }).says, /rounds/);
    assert.match(
      judgeKey(table("timestamptz"), { ...column, type: "timestamptz", typmod: 0 }).says,
      /rounds/,
    );
    assert.equal(judgeKey(table("varchar"), { ...column, type: "varchar", typmod: 24 }).verdict, "ok");
  });

  it("has to be equal only where its bytes are", () => {
    const says = judgeKey(table("text"), { type: "text", typmod: -1, is_deterministic: false }).says;
    assert.match(says, /nondeterministic collation/);
  });
});

describe("the servers of a shard", () => {
  const server = (isStandby: boolean): readonly Finding[] => {
    const config = configOf(1);
    const shard = { ...config.shards[0]!, hosts: [config.shards[0]!] };
    return judgeFacts({ ...FIT, is_standby: isStandby }, shard, config);
  };
  const verdictOf = (...standbys: boolean[]) =>
    judgeServers(standbys.map(server)).map(({ verdict }) => verdict);

  it("are a primary and standbys", () => {
    assert.deepEqual(verdictOf(true, false, true), []);
    assert.equal(server(true).find(({ what }) => what === "role")!.verdict, "ok");
  });

  it("are not standbys alone, and should not be two primaries", () => {
    assert.deepEqual(verdictOf(true, true), ["fail"]);
    assert.deepEqual(verdictOf(false, false), ["warn"]);
  });
});
