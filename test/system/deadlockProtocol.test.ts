/**
 * A deadlock as the protocol tells of it: what stands where in the answers to messages that were sent ahead.
 *
 * The party that gives way speaks by hand; the other one has written more, so that it is always the same.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { DeadlockStage, LIMIT, type Party, touching, unstuck } from "./deadlockStage.ts";
import * as raw from "./rawClient.ts";
import { errorField, type Message, RawClient } from "./rawClient.ts";

let stage: DeadlockStage;
let winner: Party;
let victim: RawClient;
/** Held by the winner and wanted by the victim; and the other way round. */
let wanted: number;
let held: number;
/** Nobody else wants it; it is where `held` is. */
let third: number;

before(async () => {
  stage = await DeadlockStage.open();
});
after(() => stage?.stop());

beforeEach(async () => {
  [wanted, held, third] = [stage.account(0), stage.account(1), stage.account(1)];
  winner = await stage.party();
  await winner.begin();
  await winner.touch(wanted, stage.account(0), stage.account(0), stage.account(0), stage.account(0));
  victim = await RawClient.login(stage.stage.port);
});

const step = (sql: string): Buffer[] => [raw.parse("", sql), raw.bind(""), raw.execute()];

/** Makes the victim hold its row. */
async function hold(): Promise<void> {
  for (const sql of ["BEGIN", touching(held)]) {
    victim.send(raw.query(sql));
    await victim.until("Z");
  }
}

/** Sends `parts`, and what closes the circle once the victim waits; the answers up to `groups` ReadyForQuery. */
async function closeBy(groups: number, ...parts: readonly Buffer[]): Promise<Message[][]> {
  victim.send(...parts);
  await stage.untilWaiting(1);
  return answers(groups);
}

async function answers(groups: number): Promise<Message[][]> {
  const won = winner.wants(touching(held));
  const read = async () => {
    const messages: Message[][] = [];
    for (let i = 0; i < groups; i += 1) messages.push(await victim.until("Z"));
    return messages;
  };
  const told = await unstuck(read(), "the victim");
  assert.equal(await unstuck(won, "the winner"), null);
  return told;
}

/** What the group says: types, error codes after the E, the tag after the C, the status after the Z. */
function says(group: readonly Message[]): string {
  const words = group.map((message) => {
    const { type, body } = message;
    if (type === "E") return `E ${errorField(message, "C")}`;
    if (type === "C") return `C ${body.toString("utf8", 0, body.length - 1)}`;
    return type === "Z" ? `Z ${body.toString()}` : type;
  });
  return words.join(", ");
}

async function rollBack(): Promise<void> {
  victim.send(raw.query("ROLLBACK"));
  assert.equal(says(await victim.until("Z")), "C ROLLBACK, Z I");
  victim.close();
}

describe("the victim's answers", () => {
  test("to simple queries sent ahead", LIMIT, async () => {
    await hold();
    const queries = [touching(wanted), "SELECT 1", "ROLLBACK", "SELECT 1"].map(raw.query);
    assert.deepEqual((await closeBy(4, ...queries)).map(says), [
      "E 40P01, Z E",
      "E 25P02, Z E",
      "C ROLLBACK, Z I",
      "T, D, C SELECT 1, Z I",
    ]);
    victim.close();
  });

  test("to a batch of statements for one shard", LIMIT, async () => {
    await hold();
    const batch = [...step(touching(wanted)), ...step(touching(wanted)), ...step("SELECT 1"), raw.sync()];
    assert.deepEqual((await closeBy(1, ...batch)).map(says), ["1, 2, E 40P01, Z E"]);
    await rollBack();
  });

  test("to a batch of statements for several shards", LIMIT, async () => {
    await hold();
    const batch = [...step(touching(third)), ...step(touching(wanted)), ...step(touching(held)), raw.sync()];
    assert.deepEqual((await closeBy(1, ...batch)).map(says), ["1, 2, C UPDATE 1, 1, 2, E 40P01, Z E"]);
    await rollBack();
  });

  test("to a whole transaction in one batch", LIMIT, async () => {
    const texts = ["BEGIN", touching(held), touching(wanted), "COMMIT"];
    const [group] = await closeBy(1, ...texts.flatMap(step), raw.sync());
    assert.equal(says(group!), "1, 2, C BEGIN, 1, 2, C UPDATE 1, 1, 2, E 40P01, Z E");
    await rollBack();
  });

  test("to a whole transaction in batches sent ahead", LIMIT, async () => {
    const texts = ["BEGIN", touching(held), touching(wanted), touching(third), "COMMIT", touching(third)];
    const groups = await closeBy(6, ...texts.flatMap((text) => [...step(text), raw.sync()]));
    assert.deepEqual(groups.map(says), [
      "1, 2, C BEGIN, Z T",
      "1, 2, C UPDATE 1, Z T",
      "1, 2, E 40P01, Z E",
      "E 25P02, Z E",
      "1, 2, C ROLLBACK, Z I",
      "1, 2, C UPDATE 1, Z I",
    ]);
    victim.close();
  });

  test("to a named statement, which stands afterwards", LIMIT, async () => {
    await hold();
    const named = [raw.parse("mine", touching(wanted)), raw.bind("mine"), raw.execute(), raw.sync()];
    assert.deepEqual((await closeBy(1, ...named)).map(says), ["1, 2, E 40P01, Z E"]);
    await rollBackAnd(async () => {
      victim.send(raw.bind("mine"), raw.execute(), raw.sync());
      assert.equal(says(await victim.until("Z")), "2, C UPDATE 1, Z I");
    });
  });

  test("to a Flush, and then to the Sync", LIMIT, async () => {
    await hold();
    victim.send(...step(touching(wanted)), raw.message("H"));
    await stage.untilWaiting(1);
    const won = winner.wants(touching(held));
    const error = (await unstuck(victim.until("E"), "the victim")).at(-1)!;
    assert.equal(errorField(error, "C"), "40P01");
    victim.send(...step("SELECT 1"), raw.sync());
    assert.equal(says(await victim.until("Z")), "Z E");
    assert.equal(await unstuck(won, "the winner"), null);
    await rollBack();
  });
});

async function rollBackAnd(work: () => Promise<void>): Promise<void> {
  victim.send(raw.query("ROLLBACK"));
  assert.equal(says(await victim.until("Z")), "C ROLLBACK, Z I");
  await work();
  victim.close();
}

describe("parties that speak alike", () => {
  test("all by Flush: the circle is seen all the same", LIMIT, async () => {
    await winner.rollback();
    const others = await RawClient.login(stage.stage.port);
    for (const [client, own] of [
      [victim, held],
      [others, wanted],
    ] as const) {
      client.send(...step("BEGIN"), ...step(touching(own)), raw.sync());
      await client.until("Z");
    }
    for (const [client, other] of [
      [victim, wanted],
      [others, held],
    ] as const)
      client.send(...step(touching(other)), raw.message("H"));
    const end = async (client: RawClient) => {
      const messages = [await client.next(), await client.next(), await client.next()];
      client.send(raw.sync());
      return says([...messages, ...(await client.until("Z"))]);
    };
    const told = await unstuck(Promise.all([end(victim), end(others)]), "a party");
    assert.deepEqual(told.sort(), ["1, 2, C UPDATE 1, Z T", "1, 2, E 40P01, Z E"]);
    for (const client of [victim, others]) client.close();
  });

  test("all in one batch without waiting for answers", LIMIT, async () => {
    await winner.rollback();
    // Many tries, since whether they meet is chance.
    for (let round = 0; round < 10; round += 1) {
      const clients = [victim, await RawClient.login(stage.stage.port)];
      const rows = [stage.account(0), stage.account(1)];
      const told = await unstuck(
        Promise.all(
          clients.map(async (client, i) => {
            const order = i === 0 ? rows : rows.toReversed();
            client.send(...["BEGIN", ...order.map(touching), "COMMIT"].flatMap(step), raw.sync());
            const group = says(await client.until("Z"));
            client.send(raw.query("ROLLBACK"));
            await client.until("Z");
            return group;
          }),
        ),
        "a party",
      );
      const through = "1, 2, C BEGIN, 1, 2, C UPDATE 1, 1, 2, C UPDATE 1, 1, 2, C COMMIT, Z I";
      assert.ok(told.includes(through), String(told));
      clients[1]!.close();
    }
    victim.close();
  });
});
