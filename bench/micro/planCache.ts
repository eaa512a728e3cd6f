/**
 * What the plan of a statement costs: known by its own text, known from one with other literals, or made anew.
 *
 * Run by hand: `npx node bench/micro/planCache.ts`. Each figure is the median of several rounds, in microseconds for one
 * lookup of a text that was never looked up as that very string, as those of a client are.
 */
import { parseArgs } from "node:util";
import { shardId } from "../../src/base/brands.ts";
import type { TableConfig } from "../../src/config/config.ts";
import { loadParser } from "../../src/routing/parse.ts";
import { Router } from "../../src/routing/router.ts";

export interface LookupFigure {
  readonly statement: string;
  readonly lookup: "text" | "normalised" | "miss";
  readonly lookups: number;
  /** How many texts had to be parsed in a round. */
  readonly parses: number;
  readonly microseconds: number;
}

const SHARDS = ["north", "east", "south"].map(shardId);
const TABLES: readonly TableConfig[] = [
  { kind: "sharded", schema: "public", name: "pgbench_accounts", key: "aid", keyType: "int4" },
];
const SELECT = "SELECT abalance FROM pgbench_accounts WHERE aid = ";
/** By what they are called: the text around one key. */
const STATEMENTS: Readonly<Record<string, readonly [before: string, behind: string]>> = {
  select: [SELECT, ";"],
  "select of 20 columns": [
    `SELECT ${Array.from({ length: 20 }, (_, i) => `column_${i}`).join(", ")} FROM pgbench_accounts a WHERE a.aid = `,
    " AND a.filler = 'it is this one' AND a.changed_at > '2026-01-01 10:00:00+00' ORDER BY 1 LIMIT 10",
  ],
  "update with a comment": [
    "/* traceparent='00-4bf92f35' */ UPDATE pgbench_accounts SET abalance = 5 WHERE aid = ",
    "",
  ],
};

/** The figures of all kinds of lookups. The parser has been loaded. */
export function lookupFigures(lookups: number, rounds: number): readonly LookupFigure[] {
  return Object.entries(STATEMENTS).flatMap(([statement, [before, behind]]) => {
    const same = Array.from({ length: lookups }, () => parameterised(`${before}7${behind}`));
    const others = Array.from({ length: lookups }, (_, i) => `${before}${i}${behind}`);
    const different = others.map((text, i) => text.replace("FROM pgbench", `AS c${i} FROM pgbench`));
    const misses = different.map((text, i) => text.replace("SET abalance", `SET c${i}`));
    const measured = (lookup: LookupFigure["lookup"], texts: readonly string[]): LookupFigure => ({
      statement,
      lookup,
      lookups,
      ...measure(lookup, texts, rounds),
    });
    return [measured("text", same), measured("normalised", others), measured("miss", misses)];
  });
}

/** With parameters in place of literals: such texts are known by themselves. */
function parameterised(text: string): string {
  let parameters = 0;
  return text.replace(/\/\*.*?\*\/ |'[^']*'|\b\d+\b/g, (found) =>
    found.startsWith("/") ? "" : `$${++parameters}`,
  );
}

function measure(lookup: LookupFigure["lookup"], texts: readonly string[], rounds: number) {
  const times: number[] = [];
  let parses = 0;
  for (let round = 0; round < rounds; round += 1) {
    const router = new Router(SHARDS, TABLES, 4 * texts.length);
    // The first of each shard.
    if (lookup !== "miss") for (const text of texts.slice(0, 50)) router.plan(text);
    const before = router.planCache.misses;
    const fresh = texts.map((text) => Buffer.from(text).toString());
    const start = process.hrtime.bigint();
    for (const text of fresh) router.plan(text);
    times.push(Number(process.hrtime.bigint() - start) / 1_000 / texts.length);
    parses = router.planCache.misses - before;
  }
  return { parses, microseconds: times.sort((a, b) => a - b)[rounds >> 1]! };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { lookups: { type: "string", default: "5000" }, rounds: { type: "string", default: "9" } },
  });
  await loadParser();
  for (const figure of lookupFigures(Number(values.lookups), Number(values.rounds))) {
    const { statement, lookup, parses, microseconds } = figure;
    console.log(
      `${statement.padEnd(24)}${lookup.padEnd(12)}${microseconds.toFixed(2).padStart(8)} µs  ${parses} parses`,
    );
  }
}
