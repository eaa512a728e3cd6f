/** Who waits for a server connection, and in which order: counted, not timed. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type pg from "pg";
import { Stage } from "./stage.ts";

const WAIT = { timeout: 60_000 };

for (const shards of [1, 2]) {
  const on = (sql: string): string => (shards === 1 ? sql : `/* pgxa: shard=east */ ${sql}`);

  describe(`queues in front of ${shards === 1 ? "one shard" : "two shards"}`, WAIT, () => {
    let stage: Stage;
    let watcher: pg.Client;
    before(async () => {
      stage = await Stage.open({
        shards,
        config: {
          pool: { max: 2, reserve: 1, reserve_timeout: "700ms", notice_after: "200ms" },
          classes: [
            { name: "reports", application_name: "report*", connections_max: 1 },
            { name: "heavy", user: "heavy", weight: 3 },
          ],
        },
      });
      watcher = await stage.shards[0]!.connect();
    });
    after(async () => {
      await watcher?.end();
      await stage?.stop();
    });

    /** Takes every connection of the shard; what it returns gives them back. */
    const takeAll = async (): Promise<() => Promise<void>> => {
      const holders = [await stage.connect(), await stage.connect()];
      for (const holder of holders) {
        await holder.query("BEGIN");
        await holder.query(on("SELECT 1"));
      }
      return async () => {
        for (const holder of holders) await holder.query("COMMIT");
        await Promise.all(holders.map((holder) => holder.end()));
      };
    };

    /** `rounds` statements of each client, of which the order in which they are served is noted. */
    const run = (clients: readonly pg.Client[], rounds: number, note: () => void): Promise<unknown> =>
      Promise.all(
        clients.map(async (client) => {
          for (let round = 0; round < rounds; round += 1) {
            await client.query(on("SELECT pg_sleep(0.002)"));
            note();
          }
        }),
      );

    const connectMany = (user: string, count: number): Promise<pg.Client[]> =>
      Promise.all(Array.from({ length: count }, () => stage.connect({ user })));

    it("a modest user is served as often as a greedy one with ten times the clients", async () => {
      const [greedy, modest] = [await connectMany("greedy", 40), await connectMany("modest", 4)];
      const served: string[] = [];
      const release = await takeAll();
      const done = [
        run(greedy, 10, () => served.push("greedy")),
        run(modest, 10, () => served.push("modest")),
      ];
      await release();
      await Promise.all(done);
      const lastOfModest = served.lastIndexOf("modest");
      const before = served.slice(0, lastOfModest).filter((user) => user === "greedy").length;
      // Each of modest's 40 statements lets one or two of greedy's by; in the order of arrival all 400 would be ahead.
      assert.ok(before <= 130, `${before} of the greedy user's before the last of the modest one's`);
    });

    it("a class of weight 3 is served three times as often", async () => {
      const [heavy, light] = [await connectMany("heavy", 30), await connectMany("light", 30)];
      const served: string[] = [];
      const release = await takeAll();
      const done = [run(heavy, 4, () => served.push("heavy")), run(light, 4, () => served.push("light"))];
      await release();
      await Promise.all(done);
      const lastOfHeavy = served.lastIndexOf("heavy");
      const before = served.slice(0, lastOfHeavy).filter((user) => user === "light").length;
      assert.ok(
        before >= 25 && before <= 60,
        `${before} of the light class before the last of the heavy one`,
      );
    });

    it("a bulkhead leaves connections to the others", async () => {
      const reports = await Promise.all([1, 2].map(() => stage.connect({ application_name: "report 1" })));
      await reports[0]!.query("BEGIN");
      await reports[0]!.query(on("SELECT 1"));
      const second = reports[1]!.query(on("SELECT 2 AS n"));
      const other = await stage.connect();
      for (let i = 0; i < 5; i += 1) await other.query(on("SELECT 3"));
      const { rows } = await watcher.query(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE '%SELECT 2 AS n%' AND pid <> pg_backend_pid()",
      );
      assert.equal(rows[0].n, 0, "it waits, although a connection is free");
      await reports[0]!.query("COMMIT");
      assert.equal((await second).rows[0].n, 2);
    });

    it("who waits for long is told so once, and gets one of the reserve", async () => {
      const release = await takeAll();
      const client = await stage.connect();
      const notices: (string | undefined)[] = [];
      client.on("notice", ({ message, code, detail }) => notices.push(`${code} ${message}: ${detail}`));
      assert.equal((await client.query(on("SELECT 4 AS n"))).rows[0].n, 4, "while all others are held");
      assert.equal(notices.length, 1);
      assert.match(
        notices[0]!,
        /^00000 waiting for a server connection: .*2 of 2 connections to .* are in use/,
      );
      await release();
    });
  });
}
