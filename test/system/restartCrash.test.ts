/**
 * Either process of an online restart is killed at every step of it, and at every moment of a commit that the other one
 * is not part of. Each time both shards must agree in the end, what was acknowledged must be there, and whoever connects
 * must be served by the process that is left.
 *
 * The usual run takes the moments of a commit around the decision, and those of a handover with one log; with
 * PGXA_EVERY_MOMENT set, all of them.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type pg from "pg";
import {
  FAULT_POINTS,
  type FaultPoint,
  HANDOVER_POINTS,
  type HandoverPoint,
} from "../../src/base/faultPoint.ts";
import { isAlive, signalProcess } from "../../src/cli/osProcess.ts";
import { RestartStage } from "./restartStage.ts";

const TIMEOUT = { timeout: 120_000 };
const CLIENTS = 4;
const TAKES_ALL = process.env["PGXA_EVERY_MOMENT"] !== undefined;

interface Kind {
  readonly name: string;
  /** Points that no commit with this decision log passes. */
  readonly without: string;
  readonly firstDecided: FaultPoint;
  /** Where a process's death may lose the decision, and need not. */
  readonly undecided: FaultPoint;
  readonly transaction: object;
  /** Of the moments of a handover, which do not depend on the log, those of the usual run. */
  takes(point: HandoverPoint): boolean;
}

const KINDS: readonly Kind[] = [
  {
    name: "in files",
    without: "anchor.",
    firstDecided: "decision.after-sync",
    undecided: "decision.before-sync",
    transaction: {},
    takes: () => true,
  },
  {
    name: "on shards",
    without: "decision.",
    firstDecided: "anchor.acknowledged",
    undecided: "anchor.after-send",
    transaction: { log: "shard", log_directory: undefined },
    takes: (point) => point === "client.after-go" || point === "arrival.accepting",
  },
];

for (const { name, without, firstDecided, undecided, transaction, takes } of KINDS) {
  describe(`a process of an online restart is killed, with decisions ${name}`, () => {
    let stage: RestartStage;
    let transfers = 0;

    before(async () => {
      const settings = { max_prepared_transactions: "60" };
      stage = await RestartStage.open({ accounts: 20, settings, config: { transaction } });
    }, TIMEOUT);
    after(() => stage?.stop(), TIMEOUT);
    beforeEach(() => stage.start(), TIMEOUT);
    afterEach(() => stage.stopPgxa(), TIMEOUT);

    /** A transfer over both shards, up to its COMMIT. */
    async function begin(client: pg.Client): Promise<number> {
      const id = ++transfers;
      await client.query("BEGIN");
      for (const [i, ids] of stage.stage.accounts.entries()) {
        const account = ids[id % ids.length]!;
        const change = i === 0 ? -1 : 1;
        await client.query("UPDATE accounts SET balance = balance + $2 WHERE id = $1", [account, change]);
        await client.query("INSERT INTO transfers (account_id, id, amount) VALUES ($1, $2, $3)", [
          account,
          id,
          change,
        ]);
      }
      return id;
    }

    /** On how many shards the transfer is. */
    async function copies(id: number): Promise<number> {
      return (await stage.stage.onShards("SELECT FROM transfers WHERE id = $1", [id])).flat().length;
    }

    /** Which transfers each shard has. */
    async function everywhere(): Promise<number[][]> {
      const rows = await stage.stage.onShards<{ id: string }>("SELECT id FROM transfers ORDER BY id");
      return rows.map((found) => found.map(({ id }) => Number(id)));
    }

    async function checkThatWorkGoesOn(): Promise<void> {
      let client: pg.Client | null = null;
      // A process that finds its successor dead opens the port again; that takes a moment.
      await stage.until(async () => {
        client = await stage.connect().catch(() => null);
        return client !== null;
      }, "somebody listens");
      const id = await begin(client!);
      await client!.query("COMMIT");
      await client!.end();
      assert.equal(await copies(id), 2);
    }

    for (const point of HANDOVER_POINTS.filter((one) => TAKES_ALL || takes(one))) {
      test(`at ${point}`, TIMEOUT, async () => {
        const committed: number[] = [];
        let isOver = false;
        const work = async (client: pg.Client): Promise<void> => {
          try {
            while (!isOver) {
              const id = await begin(client);
              await client.query("COMMIT");
              committed.push(id);
            }
            await client.end();
          } catch {
            // its process was killed
          }
        };
        const clients = await Promise.all(Array.from({ length: CLIENTS }, () => stage.connect()));
        const idle = await stage.connect();
        // In a transaction it stays with the old process, which would else be gone when the last client has left it.
        const staying = await stage.connect();
        await staying.query("BEGIN");
        await staying.query("/* pgxa: shard=east */ SELECT 1");
        const working = clients.map(work);
        stage.die(point);
        signalProcess(stage.pid, "SIGUSR2");
        await stage.until(() => stage.hasDied, "it died");
        await checkThatWorkGoesOn();
        isOver = true;
        await staying.end();
        await Promise.all(working);
        await stage.settled();
        const [east, west] = await everywhere();
        assert.deepEqual(east, west, "both shards agree");
        assert.deepEqual(
          committed.filter((id) => !east!.includes(id)),
          [],
          "what was acknowledged is there",
        );
        assert.equal(await stage.surplus(), 0);
        // Whoever has the client's connection serves it, unless it died with its process.
        const answer = await idle.query("/* pgxa: shard=east */ SELECT 1 AS one").catch(() => null);
        if (answer !== null) assert.deepEqual(answer.rows, [{ one: 1 }]);
        await idle.end().catch(() => {});
      });
    }

    for (const [role, victim] of [
      ["old", 0],
      ["new", 1],
    ] as const) {
      const around = ["prepare.after-send", undecided, firstDecided, "commit-prepared.after-send"];
      const points = FAULT_POINTS.filter((one) => !one.startsWith(without));
      for (const point of points.filter((one) => TAKES_ALL || around.includes(one))) {
        test(`the ${role} one, at ${point} of a commit`, TIMEOUT, async () => {
          const staying = await stage.connect();
          const first = await begin(staying);
          await stage.restart();
          await stage.until(() => stage.count("restart.taken_over") === 1, "the old one accepts no more");
          const coming = await stage.connect();
          const second = await begin(coming);
          const [doomed, spared] = victim === 0 ? [staying, coming] : [coming, staying];
          const [lost, kept] = victim === 0 ? [first, second] : [second, first];
          stage.die(point, stage.pids[victim]!);
          const isTold = await doomed.query("COMMIT").then(
            () => true,
            () => false,
          );
          await stage.until(() => stage.hasDied && !isAlive(stage.pids[victim]!), "it is gone");
          const deadAt = performance.now();
          await stage.settled();
          assert.ok(performance.now() - deadAt < 5_000, "the other one settles it soon");
          const count = await copies(lost);
          assert.ok(
            count === 2 || (count === 0 && !isTold),
            "both shards agree, and what was acknowledged is there",
          );
          if (point !== undecided) {
            const isDecided = FAULT_POINTS.indexOf(point) >= FAULT_POINTS.indexOf(firstDecided);
            assert.equal(count === 2, isDecided, "the decision stands");
          }
          await spared.query("COMMIT");
          assert.equal(await copies(kept), 2);
          await checkThatWorkGoesOn();
          await stage.settled();
          assert.equal(await stage.surplus(), 0);
          await spared.end();
        });
      }
    }
  });
}
