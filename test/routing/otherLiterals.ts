/** Statements with other literals than they had, and whether a router that has planned the first plans the others right. */
import assert from "node:assert/strict";
import { Fault } from "../../src/base/fault.ts";
import type { Plan } from "../../src/routing/plan.ts";
import type { Router } from "../../src/routing/router.ts";
import { PART, StatementScan } from "../../src/routing/statementScan.ts";

const STRINGS = [
  "'x'",
  "''",
  "'now'",
  "'42'",
  "' 7 '",
  "'it''s'",
  "'2024-01-01'",
  "'2024-01-01 10:00:00+01'",
  "'/* pgxa: shard=east */'",
  "'Zoë'",
  "'-- '",
  "'accounts_id_seq'",
  "'search_path'",
  "'((('",
  "'for update'",
  "'1.50'",
];
const INTEGERS = ["1", "2", "3", "0", "5", "17", "40000", "2147483647", "007"];
const BIG = ["2147483648", "9223372036854775807", "9223372036854775808", "99999999999999999999999999999999"];
const FRACTIONS = ["1.5", "1.50", ".5", "7.", "1e5", "1.5e-3"];
const COMMENTS = ["/* a */", "/* traceparent='00-4bf' */", "/**/"];
const POOLS: Readonly<Record<number, readonly string[]>> = {
  [PART.integer]: INTEGERS,
  [PART.bigInteger]: BIG,
  [PART.fraction]: FRACTIONS,
  [PART.string]: STRINGS,
  [PART.escapeString]: [...STRINGS, "'a\\'b'", "'\\n'", "'\\u0034'"],
  [PART.comment]: COMMENTS,
};

/** `count` statements like `text` with other literals of the same kinds; none if it has none, or cannot be scanned. */
export function withOtherLiterals(text: string, count: number): readonly string[] {
  const scan = new StatementScan();
  if (!scan.scan(text) || scan.count === 0) return [];
  return Array.from({ length: count }, (_, n) => {
    let made = "";
    let from = 0;
    for (let i = 0; i < scan.count; i += 1) {
      const pool = text.startsWith("--", scan.starts[i]) ? ["-- other"] : POOLS[scan.kinds[i]!]!;
      // All alike at first, so that keys are of one shard, then each another.
      const at = n < count / 2 ? n : n * 7 + i * 3;
      made += text.slice(from, scan.starts[i]) + pool[at % pool.length]!;
      from = scan.ends[i]!;
    }
    return made + text.slice(from);
  });
}

/** A plan without what an error is besides what is told of it. */
function told(plan: Plan): unknown {
  if (plan.kind !== "refused") return plan;
  const { fault, hinted } = plan;
  assert.ok(fault instanceof Fault);
  const { id, message, detail, hint, position } = fault;
  return { kind: "refused", id, message, detail, hint, position, hinted };
}

/** Behind a comment that may hold a hint, a text is planned from scratch and for itself. */
function plannedAlone(fresh: Router, text: string): unknown {
  const plan = told(fresh.plan(`${text}\n/* pgxa */`)) as Record<string, unknown>;
  // These look at the words of a text, and then at those within strings, too.
  return withoutWords(plan);
}

function withoutWords(plan: unknown): unknown {
  const { isForPrimary, isBeyondStandby, hinted, position, ...rest } = plan as Record<string, unknown>;
  return hinted ? { ...rest, hinted: withoutWords(hinted) } : rest;
}

/**
 * Asserts that `router` gives for `text` what routers that have seen nothing before give for it. Returns whether it
 * knew the plan from another text.
 */
export function assertSamePlan(router: Router, newRouter: () => Router, text: string): boolean {
  const before = router.planCache.normalisedHits;
  const plan = told(router.plan(text));
  assert.deepStrictEqual(plan, told(newRouter().plan(text)), text);
  assert.deepStrictEqual(withoutWords(plan), plannedAlone(newRouter(), text), text);
  return router.planCache.normalisedHits > before;
}

/** The same for `text` and `count` statements like it. Returns how many plans were known from another text. */
export function assertSamePlans(router: Router, newRouter: () => Router, text: string, count = 12): number {
  const texts = [text, ...withOtherLiterals(text, count), text];
  return texts.filter((each) => assertSamePlan(router, newRouter, each)).length;
}
