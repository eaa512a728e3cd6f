/**
 * What the tests of giant messages stand on: pgxa in a process of its own with a low holding limit, messages that are
 * made as they leave, so that neither side of the tests holds them, and an eye on pgxa's memory while they pass.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { errorField, int16, int32, type Message, query, type RawClient, text, typesOf } from "./rawClient.ts";
import { MB, Rig } from "./tortureRig.ts";

export const WAIT = { timeout: 120_000 };
export const POOL_MAX = 2;
/** The holding limit of these tests. */
const HELD_MAX = 2 * MB;
/** What a message may cost pgxa while it passes: some buffers. */
const PASSING_BYTES_MAX = 4 * MB;
/** Of all messages, what the length field says. */
export const LENGTH_MAX = 2 ** 30 - 2;

export const openRig = (): Promise<Rig> =>
  Rig.open({ poolMax: POOL_MAX, config: { limits: { message_held_max: `${HELD_MAX}` } } });

export const find = (messages: readonly Message[], type: string): Message => {
  const found = messages.find((one) => one.type === type);
  assert.ok(found, `a message of type ${type} in ${typesOf(messages)}`);
  return found;
};
export const rowText = (messages: readonly Message[]): string =>
  find(messages, "D").body.subarray(6).toString();
export const sqlstate = (messages: readonly Message[]): string | undefined =>
  errorField(find(messages, "E"), "C");

const FILL = Buffer.alloc(MB, "x");

/** Writes `bytes` of filling; no more than the socket takes. */
export async function fill(client: RawClient, bytes: number, filling = FILL): Promise<void> {
  for (let left = bytes; left > 0 && !client.socket.destroyed; left -= filling.length) {
    if (!client.socket.write(filling.subarray(0, left))) {
      await Promise.race([once(client.socket, "drain"), once(client.socket, "close")]);
    }
  }
}

export interface Giant {
  readonly type: string;
  readonly head: Buffer;
  readonly fillBytes: number;
  readonly tail: Buffer;
}

/** The first `cutBytes` of the filling, or all of the message. */
export async function sendGiant(
  client: RawClient,
  { type, head, fillBytes, tail }: Giant,
  cutBytes?: number,
) {
  const length = 4 + head.length + fillBytes + tail.length;
  client.send(Buffer.concat([Buffer.from(type), int32(length), head]));
  await fill(client, cutBytes ?? fillBytes);
  if (cutBytes === undefined) client.send(tail);
}

export const giantQuery = (sql: string, fillBytes: number, behind: string): Giant => ({
  type: "Q",
  head: Buffer.from(sql),
  fillBytes,
  tail: text(behind),
});

/** Binds one parameter. */
export const giantBind = (statement: string, fillBytes: number, format = 0): Giant => ({
  type: "B",
  head: Buffer.concat([text(""), text(statement), int16(1), int16(format), int16(1), int32(fillBytes)]),
  fillBytes,
  tail: int16(0),
});

export const giantParse = (name: string, sql: string, fillBytes: number, behind: string): Giant => ({
  type: "P",
  head: Buffer.concat([text(name), Buffer.from(sql)]),
  fillBytes,
  tail: Buffer.concat([text(behind), int16(0)]),
});

/** Runs `use` with a client; then nothing may be held. */
export async function withClient(rig: Rig, use: (client: RawClient) => Promise<void>): Promise<void> {
  const client = await rig.login();
  try {
    await use(client);
  } finally {
    client.close();
  }
  await rig.assertIdle();
}

/** Runs `use`, and asks again and again what memory is in use: never `PASSING_BYTES_MAX` more than before. */
export async function bounded(rig: Rig, use: () => Promise<void>): Promise<void> {
  const { used } = await rig.memory();
  let isOver = false;
  let most = 0;
  const asking = (async () => {
    while (!isOver) {
      most = Math.max(most, (await rig.memory()).used - used);
      await delay(50);
    }
  })();
  await use().finally(() => {
    isOver = true;
  });
  await asking;
  assert.ok(most < PASSING_BYTES_MAX, `${(most / MB).toFixed(1)} MB more`);
}

/** The process id of the backend that serves `client` now. */
export async function backendOf(client: RawClient): Promise<string> {
  client.send(query("SELECT pid FROM pg_stat_activity WHERE pid = pg_backend_pid() + 0"));
  return rowText(await client.until("Z"));
}
