/** The log: JSON lines, and a level that changes while it is written. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createLog } from "../../src/observe/log.ts";

describe("the log", () => {
  it("writes one JSON object a line, with its event", () => {
    const lines: string[] = [];
    createLog("info", { write: (line) => void lines.push(line) }).info("server.closed", {
      shard: "east",
      pid: 7,
    });
    assert.equal(lines.length, 1);
    assert.equal(lines[0]!.indexOf("\n"), lines[0]!.length - 1);
    const { level, time, ...rest } = JSON.parse(lines[0]!);
    assert.deepEqual(rest, { event: "server.closed", shard: "east", pid: 7 });
    assert.equal(typeof level, "number");
    assert.ok(!Number.isNaN(Date.parse(time)));
  });

  it("changes its level live", () => {
    const events: string[] = [];
    const log = createLog("warn", { write: (line) => void events.push(JSON.parse(line).event) });
    log.info("client.connected");
    log.setLevel("debug");
    log.debug("client.connected");
    log.setLevel("silent");
    log.error("log.failed");
    assert.deepEqual(events, ["client.connected"]);
  });
});
