/** A router over three shards with a table of every kind, and plans in one line. */
import assert from "node:assert/strict";
import { shardId } from "../../src/base/brands.ts";
import { Fault } from "../../src/base/fault.ts";
import type { KeyType, TableConfig } from "../../src/config/config.ts";
import { hashOfText } from "../../src/routing/keyValue.ts";
import { shardOfHash } from "../../src/routing/partitionHash.ts";
import type { KeySource, Plan, SessionEffect, Target } from "../../src/routing/plan.ts";
import { type ParameterReader, Router } from "../../src/routing/router.ts";
import { assertSamePlans } from "./otherLiterals.ts";

export const SHARDS = ["north", "east", "south"].map(shardId);

const sharded = (name: string, key: string, keyType: KeyType, schema = "public"): TableConfig => ({
  kind: "sharded",
  schema,
  name,
  key,
  keyType,
});

export const TABLES: readonly TableConfig[] = [
  sharded("accounts", "id", "int8"),
  sharded("transfers", "account_id", "int8"),
  sharded("cards", "id", "int4"),
  sharded("owners", "name", "text"),
  sharded("rates", "amount", "numeric"),
  sharded("days", "day", "date"),
  sharded("events", "at", "timestamptz"),
  sharded("twin", "id", "int8", "left"),
  sharded("twin", "id", "int8", "right"),
  { kind: "reference", schema: "public", name: "currencies" },
  { kind: "reference", schema: "public", name: "countries" },
  { kind: "single", schema: "public", name: "audit", shard: shardId("east") },
  { kind: "single", schema: "public", name: "jobs", shard: shardId("south") },
];

export const newRouter = (cacheEntriesMax?: number): Router => new Router(SHARDS, TABLES, cacheEntriesMax);

/** The shard's name for a key, by the hash; whether the hash is right is another test's matter. */
export const ownerOf = (text: string, type: KeyType = "int8"): string =>
  SHARDS[shardOfHash(hashOfText(type, text), SHARDS.length)]!;

/** Two integer keys of different shards, and one more of the first one's. */
export const [KEY, SAME, OTHER] = keysApart();

function keysApart(): readonly [string, string, string] {
  const numbers = Array.from({ length: 50 }, (_, i) => String(i + 1));
  const [key] = numbers;
  const same = numbers.find((n) => n !== key && ownerOf(n) === ownerOf(key!));
  const other = numbers.find((n) => ownerOf(n) !== ownerOf(key!));
  return [key!, same!, other!];
}

/** A plan as one line: `read east`, `write $1:int8`, `refused route.no_key`. */
export function summary(plan: Plan): string {
  switch (plan.kind) {
    case "statement": {
      const parts = [plan.access, target(plan.target), ...plan.effects.map(effect)];
      return [...parts, ...(plan.outsideBlock ? ["outside"] : [])].join(" ");
    }
    case "begin":
      return `${plan.tag}${plan.characteristics}`;
    case "commit":
    case "rollback":
      return plan.kind + (plan.chain ? " chain" : "");
    case "savepoint":
    case "release":
    case "rollbackTo":
      return `${plan.kind} ${plan.name}`;
    case "setTransaction":
      return `setTransaction${plan.characteristics}`;
    case "set":
      return `${plan.tag}: ${effect(plan.effect)}`;
    case "hintSetting":
      return `hint ${plan.name} = ${plan.value}${plan.local ? " local" : ""}`;
    case "showHintSetting":
      return `show ${plan.name}`;
    case "refused":
      return `refused ${plan.fault.id}${plan.hinted === null ? " finally" : ""}`;
    case "empty":
      return "empty";
    case "prepare":
      return `prepare ${plan.name}: ${plan.query}`;
    case "execute":
      return [`execute ${plan.name}`, ...plan.args].join(" | ");
    case "deallocate":
      return `deallocate ${plan.name ?? "all"}`;
  }
}

function target(to: Target): string {
  if (to.kind === "shard") return `=${SHARDS[to.shard]}`;
  return to.kind === "keys" ? [...new Set(to.keys.map(source))].join("+") : to.kind;
}

function source(key: KeySource): string {
  if (key.kind === "literal") return SHARDS[key.shard]!;
  return `$${key.index + 1}:${key.keyType}${key.isShared ? "*" : ""}`;
}

function effect(of: SessionEffect): string {
  switch (of.kind) {
    case "set":
      return `[set ${of.name}${of.sql === null ? "" : ` by ${of.sql}`}]`;
    case "setLocal":
      return `[local ${of.sql}]`;
    case "resetAll":
      return "[reset all]";
    case "schema":
    case "notify":
    case "temporary":
    case "unpin":
      return `[${of.kind}]`;
    case "deallocateAll":
      return "[deallocate all]";
    case "prepare":
    case "execute":
    case "deallocate":
      return `[${of.kind} ${of.name}]`;
    case "discardAll":
      return "[discard all]";
    case "listen":
    case "unlisten":
      return `[${of.kind} ${of.channel ?? "*"}]`;
    case "pin":
      return `[pin ${of.reason}]`;
  }
}

/** Bind parameters: a string is text, a Buffer binary, null is NULL. */
export const bindOf = (...values: readonly (string | Buffer | null)[]): ParameterReader => ({
  parameterCount: values.length,
  isNull: (index) => values[index] === null,
  format: (index) => (typeof values[index] === "string" ? 0 : 1),
  parameter: (index) => Buffer.from(values[index] ?? ""),
});

/** The fault of a refused plan; every refusal says why or what to do. */
export function refusalOf(plan: Plan): Fault {
  assert.equal(plan.kind, "refused");
  const { fault } = plan as Extract<Plan, { kind: "refused" }>;
  assert.ok(fault instanceof Fault);
  return fault;
}

export type Cases = readonly (readonly [statement: string, expected: string])[];

/** Every statement has the plan that is expected of it, with other literals, too; and no refusal is without a word. */
export function assertPlans(router: Router, cases: Cases): void {
  for (const [statement, expected] of cases) {
    const plan = router.plan(statement);
    assert.equal(summary(plan), expected, statement);
    assertSamePlans(router, newRouter, statement);
    if (plan.kind !== "refused" || plan.fault.id === "route.syntax_error") continue;
    const { detail, hint } = plan.fault;
    assert.ok(detail !== undefined || hint !== undefined, `${statement} is refused without a word`);
  }
}
