/**
 * Two clients that share server connections: each has the state it made, and none has the other's.
 *
 * Every kind of session state (leakKinds.ts) meets every other, in both orders. Where neither keeps its connection there
 * is one for both; else there are two, and whoever comes later gets what was left of them.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Asker, type Kind, type Who } from "./leakKind.ts";
import { KINDS, LEAK_SCHEMA } from "./leakKinds.ts";
import { RawClient } from "./rawClient.ts";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 60_000 };

async function open(poolMax: number, checkoutTimeout = "15s"): Promise<Stage> {
  const pool = { max: poolMax, checkout_timeout: checkoutTimeout };
  const stage = await Stage.open({ shards: 1, accounts: 1, settings: { TimeZone: "GMT" }, config: { pool } });
  await stage.onShards(LEAK_SCHEMA);
  return stage;
}

async function come(stage: Stage, kind: Kind | null, who: Who): Promise<Asker> {
  return new Asker(await RawClient.login(stage.port, kind?.startup?.(who) ?? {}));
}

/** Goes away, and waits until pgxa has noticed. */
async function go(client: Asker): Promise<void> {
  client.raw.send(Buffer.from("X\0\0\0\x04"));
  await client.raw.untilClosed();
}

/** What was seen that should not have been. */
class Findings {
  readonly all: string[] = [];
  readonly #pair: string;

  constructor(one: Kind, other: Kind) {
    this.#pair = `${one.name} / ${other.name}`;
  }

  check(what: string, seen: string, expected: string): void {
    if (seen !== expected)
      this.all.push(`${this.#pair}: ${what} sees ${seen || "nothing"}, not ${expected || "nothing"}`);
  }
}

/** While a client has `one`, others come one by one and make each of `others`; then it goes. */
async function meet(stage: Stage, one: Kind, others: readonly Kind[]): Promise<readonly string[]> {
  const findings: string[] = [];
  const a = await come(stage, one, "a");
  let own = await one.make(a, "a");
  for (const other of others) {
    findings.push(...(await meetOne(stage, { a, one, own }, other)));
    if (one.isBrief) own = await one.make(a, "a"); // what others looked at took its place
  }
  await go(a);
  const c = await come(stage, null, "a");
  const last = new Findings(one, one);
  last.check("c of a", await c.look(one), one.none);
  await go(c);
  return [...findings, ...last.all];
}

interface First {
  readonly a: Asker;
  readonly one: Kind;
  readonly own: string;
}

/** Another client makes `other`, looks, and goes. */
async function meetOne(stage: Stage, { a, one, own }: First, other: Kind): Promise<readonly string[]> {
  const findings = new Findings(one, other);
  const isShared = one.slot === other.slot;
  const b = await come(stage, other, "b");
  const ofB = await other.make(b, "b");
  findings.check("a", await a.look(one, true), own);
  findings.check("b", await b.look(other, true), ofB);
  if (!isShared) {
    findings.check("a of b", await a.look(other), other.none);
    findings.check("b of a", await b.look(one), one.none);
  }
  if (!one.isBrief) findings.check("a again", await a.look(one, true), own);
  if (!other.isBrief) findings.check("b again", await b.look(other, true), ofB);
  await go(b);
  const c = await come(stage, null, "b");
  findings.check("c of b", await c.look(other), other.none);
  if (!isShared) findings.check("c of a", await c.look(one), one.none);
  await go(c);
  return findings.all;
}

describe("two clients over few connections", () => {
  const stages: Stage[] = [];
  before(async () => {
    stages.push(...(await Promise.all([open(1), open(2)])));
  });
  after(() => Promise.all(stages.map((stage) => stage.stop())));

  const stageFor = (...kinds: readonly Kind[]): Stage => stages[kinds.some(({ holds }) => holds) ? 1 : 0]!;

  for (const one of KINDS) {
    test(`${one.name} is its client's alone, whatever another has`, WAIT, async () => {
      const findings: string[] = [];
      for (const stage of stages) {
        const others = KINDS.filter((other) => stageFor(one, other) === stage);
        if (others.length > 0) findings.push(...(await meet(stage, one, others)));
      }
      assert.deepEqual(findings, []);
    });
  }
});

describe("who keeps the only connection", () => {
  let stage: Stage;
  before(async () => {
    stage = await open(1, "500ms");
  });
  after(() => stage?.stop());

  for (const kind of KINDS.filter(({ holds }) => holds)) {
    test(`as by ${kind.name}, lets others in when it goes, without it`, WAIT, async () => {
      const holder = await come(stage, kind, "a");
      await kind.make(holder, "a");
      const other = await come(stage, null, "b");
      assert.equal(await other.ask("SELECT 1"), "!53300");
      await go(holder);
      assert.equal(await other.look(kind), kind.none);
      await go(other);
    });
  }
});
