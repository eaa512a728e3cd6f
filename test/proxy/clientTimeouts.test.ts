/** When clients are looked at, and what is made of it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseConfig } from "../../src/config/load.ts";
import { Activity, ActivityWatch } from "../../src/proxy/activity.ts";
import { ClientTimeouts, timeoutsOf } from "../../src/proxy/clientTimeouts.ts";
import type { Session } from "../../src/proxy/session.ts";

const configured = (sections: string) =>
  parseConfig(
    `database: bank\nshards: [{ name: east, host: h, user: u }]\nauth: { method: trust }\n${sections}`,
    "pgxa.yaml",
    {},
  );

/** A clock that fires its one timer when a test says so, on time or late. */
class HandClock {
  nowMs = 0;
  #due: { readonly atMs: number; readonly callback: () => void } | null = null;
  wallMs = (): number => this.nowMs;
  monotonicMs = (): number => this.nowMs;

  after(delayMs: number, callback: () => void) {
    this.#due = { atMs: this.nowMs + delayMs, callback };
    return { cancel: () => (this.#due = null) };
  }

  /** Fires the next timer `lateMs` after its time; false if there is none. */
  fire(lateMs = 0): boolean {
    const due = this.#due;
    if (due === null) return false;
    this.#due = null;
    this.nowMs = due.atMs + lateMs;
    due.callback();
    return true;
  }
}

function stage(sections: string) {
  const clock = new HandClock();
  const activity = new Activity();
  const ended: string[] = [];
  const session = {
    client: { isOver: false, activity },
    phase: "idle",
    terminate: ({ id }: { readonly id: string }) => ended.push(id),
  } as unknown as Session;
  const client = { session, watch: new ActivityWatch(), user: "app", database: "bank" };
  const timeouts = new ClientTimeouts(() => [client], configured(sections), clock);
  return { clock, activity, ended, timeouts };
}

describe("timeouts of clients", () => {
  it("need no timer while there are none, and one once there are", () => {
    const { clock, timeouts, ended } = stage("");
    assert.equal(clock.fire(), false);
    timeouts.reconfigure(configured("timeouts: { client_idle: 100ms }"));
    for (let i = 0; i < 12; i += 1) assert.ok(clock.fire());
    assert.equal(ended[0], "session.idle_timeout");
    timeouts.close();
    assert.equal(clock.fire(), false);
  });

  it("wait for what lies unread after a pause of the process", () => {
    const { clock, activity, ended } = stage("timeouts: { client_idle: 100ms }");
    clock.fire();
    clock.fire(5_000); // the client has sent something meanwhile, which is read behind the timers
    assert.deepEqual(ended, []);
    activity.reads += 1;
    clock.fire();
    assert.deepEqual(ended, []);
    for (let i = 0; i < 10; i += 1) clock.fire();
    assert.equal(ended[0], "session.idle_timeout");
  });

  it("strike even if the process is always late", () => {
    const { clock, ended } = stage("timeouts: { client_idle: 100ms }");
    for (let i = 0; i < 5; i += 1) clock.fire(1_000);
    assert.equal(ended[0], "session.idle_timeout");
  });

  it("are the user's before the database's before those of all", () => {
    const config = configured(`
timeouts: { client_idle: 1s, statement: 1s, transaction: 1s }
databases: [{ name: bank, statement_timeout: 2s, transaction_timeout: 2s }, { name: "*", client_idle_timeout: 4s }]
users: [{ name: app, transaction_timeout: 0 }]`);
    assert.deepEqual(timeoutsOf(config, "app", "bank"), {
      clientIdleMs: 1_000,
      idleInTransactionMs: 0,
      transactionMs: 0,
      statementMs: 2_000,
    });
    assert.equal(timeoutsOf(config, "other", "any").clientIdleMs, 4_000);
  });
});
