/** The parser: statements, errors with their place, and texts that are too much for it. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { Fault } from "../../src/base/fault.ts";
import { isParserReady, loadParser, parse } from "../../src/routing/parse.ts";
import { ParserInstances } from "../../src/routing/parserInstance.ts";
import { newRouter } from "./routingStage.ts";

before(loadParser);

const CRASHING = `SELECT 1${"+1".repeat(15_000)}`;

const faultOf = (text: string): Fault => {
  try {
    parse(text);
  } catch (error) {
    assert.ok(error instanceof Fault);
    return error;
  }
  return assert.fail(`${text.slice(0, 50)} was parsed`);
};

async function untilReady(isReady: () => boolean): Promise<void> {
  while (!isReady()) await setImmediate();
}

describe("the parser", () => {
  it("gives the statements of a text with the text of each", () => {
    const sqlOf = (text: string) => parse(text).map(({ sql }) => sql);
    assert.deepEqual(sqlOf(""), []);
    assert.deepEqual(sqlOf(" ;\n;"), []);
    assert.deepEqual(sqlOf("-- a"), []);
    assert.deepEqual(sqlOf("SELECT 1; "), ["SELECT 1"]);
    assert.deepEqual(sqlOf("/* ü */ SELECT 'ä;'; SELECT 2 -- x\n;"), ["SELECT 'ä;'", "SELECT 2"]);
    assert.deepEqual(
      parse("/*/**/--*/ DELETE FROM a").map(({ node }) => node.type),
      ["DeleteStmt"],
    );
  });

  it("says where a syntax error is, in characters", () => {
    const fault = faultOf("SELECT 'ä', 1 2 FROM");
    assert.equal(fault.sqlstate, "42601");
    assert.equal(fault.message, 'syntax error at or near "2"');
    assert.equal(fault.position, 15);
  });

  it("refuses what is nested too deeply or too long, and goes on", () => {
    assert.match(faultOf(`SELECT ${"(".repeat(10_000)}1${")".repeat(10_000)}`).message, /too complex/);
    assert.match(faultOf(`SELECT '${"x".repeat(17 * 1024 * 1024)}'`).message, /too complex/);
    assert.equal(faultOf(`SELECT ${"- ".repeat(50_000)}1`).spec.severity, "ERROR");
    assert.equal(parse(`SELECT ${"(".repeat(900)}1${")".repeat(900)}`).length, 1);
  });

  it("takes a statement of 5 MB, again and again", () => {
    const text = `INSERT INTO accounts (id, note) VALUES (1, '${"x".repeat(5_000_000)}')`;
    for (let i = 0; i < 5; i += 1) assert.equal(parse(text).length, 1);
  });

  it("outlives any number of crashes", async () => {
    for (let crash = 0; crash < 50; crash += 1) {
      await untilReady(isParserReady);
      assert.match(faultOf(CRASHING).message, /too complex/);
      await untilReady(isParserReady);
      assert.equal(parse("SELECT 1").length, 1);
    }
  });

  it("says so while it has no instance, and that answer is not kept", async () => {
    const router = newRouter();
    await untilReady(isParserReady);
    for (let i = 0; isParserReady(); i += 1) {
      assert.ok(i < 3, "one instance in use and one spare");
      faultOf(`${CRASHING} /* ${i} */`);
    }
    assert.match(faultOf("SELECT 1").hint ?? "", /again/);
    assert.equal(router.plan("SELECT 1").kind, "refused");
    await untilReady(isParserReady);
    assert.equal(router.plan("SELECT 1").kind, "statement");
  });
});

describe("parser instances", () => {
  it("are absent until loaded", async () => {
    const instances = new ParserInstances();
    assert.deepEqual(instances.parse("SELECT 1"), { kind: "absent" });
    await instances.load();
    await instances.load();
    assert.equal(instances.parse("SELECT 1").kind, "tree");
  });

  it("whose memory has grown are replaced", async () => {
    const instances = new ParserInstances();
    await instances.load();
    for (let i = 0; i < 2; i += 1) {
      for (let turn = 0; turn < 200; turn += 1) await setImmediate();
      assert.equal(instances.parse(`SELECT '${"x".repeat(15_000_000)}'`).kind, "tree");
      assert.equal(instances.parse("SELECT 1").kind, "tree");
    }
  });
});
