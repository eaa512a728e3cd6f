/** The states of a server connection: the table is complete, and there is no way back from closed. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SERVER_TABLE, type ServerEvent, type ServerState, serverStep } from "../../src/pool/serverState.ts";

const STATES = Object.keys(SERVER_TABLE) as ServerState[];
const EVENTS = Object.keys(SERVER_TABLE.idle) as ServerEvent[];

describe("a server connection", () => {
  it("has a cell for every event in every state", () => {
    for (const state of STATES) assert.deepEqual(Object.keys(SERVER_TABLE[state]), EVENTS);
  });

  it("is lent only when idle, and returned only when leased", () => {
    for (const state of STATES) {
      if (state === "idle") assert.equal(serverStep(state, "checkedOut"), "leased");
      else assert.throws(() => serverStep(state, "checkedOut"), state);
      if (state === "leased") assert.equal(serverStep(state, "checkedIn"), "idle");
    }
  });

  it("never comes back from closed", () => {
    for (const event of EVENTS) {
      const cell = SERVER_TABLE.closed[event];
      assert.ok(cell === "ignored" || cell === "illegal", event);
    }
  });

  it("is lost from wherever it is", () => {
    for (const state of STATES) assert.equal(serverStep(state, "lost"), "closed");
  });
});
