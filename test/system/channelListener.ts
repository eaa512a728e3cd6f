/** A client of the system tests that listens. */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";

export interface Heard {
  readonly channel: string;
  readonly payload: string;
  readonly pid: number;
}

/** A client, and what it has heard. */
export class Listener {
  readonly client: pg.Client;
  readonly heard: Heard[] = [];

  constructor(client: pg.Client) {
    this.client = client;
    client.on("notification", ({ channel, payload, processId }) =>
      this.heard.push({ channel, payload: payload ?? "", pid: processId }),
    );
  }

  get payloads(): readonly string[] {
    return this.heard.map(({ payload }) => payload);
  }

  async hears(...payloads: readonly string[]): Promise<void> {
    for (let waitedMs = 0; waitedMs < 10_000 && this.heard.length < payloads.length; waitedMs += 10)
      await delay(10);
    assert.deepEqual(this.payloads, payloads);
  }
}

/** The process id that the client was given. */
export const pidOf = (client: pg.Client): number => (client as unknown as { processID: number }).processID;
