/**
 * Refuses early what would make PREPARE TRANSACTION, and so the commit over several shards, impossible.
 *
 * Of one client: which of its temporary relations are on which connection, so that their use is seen in a text; and
 * before a statement goes to a shard, whether with it the transaction could be committed no more. What the texts do
 * not show, the shard refuses when it is to prepare, and everything rolls back.
 */
import { Fault } from "../base/fault.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { Plan, ShardIndex, StatementPlan } from "../routing/plan.ts";
import { type Obstacle, temporaryUse } from "../routing/prepareObstacle.ts";
import { type ObstructedBranch, unpreparable } from "../txn/obstacles.ts";
import type { Transaction } from "../txn/transaction.ts";
import { faultFields, noticeResponse } from "../wire/backendWriters.ts";
import type { ClientTransaction } from "./clientTransaction.ts";
import type { Destination } from "./destination.ts";
import type { SessionParts } from "./session.ts";

const NO_OBSTACLES: readonly Obstacle[] = [];

/** What a statement that is not committed yet does to the names of temporary relations. */
interface NameChange {
  readonly connection: ServerConnection;
  readonly plan: StatementPlan;
}

export class PrepareObstacles {
  readonly #transaction: ClientTransaction;
  readonly #parts: Pick<SessionParts, "pools" | "sharding">;
  readonly #temporaries = new WeakMap<ServerConnection, Set<string>>();
  /** Whether the client has made a temporary relation that outlived its transaction. */
  #hasTemporaries = false;
  #changes: NameChange[] = [];

  constructor(transaction: ClientTransaction, parts: Pick<SessionParts, "pools" | "sharding">) {
    this.#transaction = transaction;
    this.#parts = parts;
  }

  /**
   * Throws a Fault if with `plan`, run on `destination`, the transaction could be committed no more; returns what the
   * client is warned of where that is not refused, null if there is nothing.
   */
  check(plan: Plan, destination: Destination): Buffer | null {
    const { current } = this.#transaction;
    if (plan.kind !== "statement" || current === null) return null;
    if (plan.obstacles === undefined && current.obstacles === null && !this.#hasTemporaries) return null;
    if (this.#transaction.wantsStandby) return null;
    const fault = this.#problem(plan, destination, current);
    if (fault === null) return null;
    if (this.#transactionConfig.onUnpreparable === "refuse") throw fault;
    return noticeResponse({ ...faultFields(fault), severity: "WARNING", sqlstate: "01000" });
  }

  /** The same before `shard` (null: not known) only parses `plan`, for queries to which that is enough. */
  checkParse(plan: Plan, shard: ShardIndex | null): void {
    if (plan.kind !== "statement" || shard === null || this.#transaction.current === null) return;
    if (plan.obstacles === undefined && !this.#hasTemporaries) return;
    if (this.#byParse(plan, shard).length === 0) return;
    this.check(plan, shard);
    this.#noteObstacles(this.#byParse(plan, shard), shard);
  }

  /** Notes `plan`, which is about to be sent to `shard`. */
  note(plan: Plan, shard: ShardIndex): void {
    if (plan.kind !== "statement") return;
    const { obstacles, closes, makes, drops } = plan;
    if (!this.#hasTemporaries && obstacles === undefined && closes === undefined) return;
    for (const cursor of closes ?? []) this.#transaction.current?.obstacles?.close(shard, cursor);
    this.#noteObstacles(this.#obstaclesOf(plan, shard), shard);
    if (makes === undefined && (drops === undefined || !this.#hasTemporaries)) return;
    const connection = this.#connection(shard);
    if (connection !== null) this.#changes.push({ connection, plan });
  }

  /** What was noted is done for good, or undone. */
  settle(isDone: boolean): void {
    if (this.#changes.length === 0) return;
    for (const { connection, plan } of this.#changes.splice(0)) if (isDone) this.#apply(connection, plan);
  }

  /** DISCARD ALL. */
  forget(): void {
    for (const { connection } of this.#transaction.held) this.#temporaries.delete(connection);
  }

  #apply(connection: ServerConnection, { drops, makes }: StatementPlan): void {
    const names = this.#temporaries.get(connection) ?? new Set();
    this.#temporaries.set(connection, names);
    for (const name of drops ?? []) {
      if (name === null) names.clear();
      else names.delete(name);
    }
    for (const name of makes ?? []) names.add(name);
    if (names.size > 0) this.#hasTemporaries = true;
  }

  get #transactionConfig() {
    return this.#parts.sharding!.live.config.transaction;
  }

  #connection(shard: ShardIndex): ServerConnection | null {
    return this.#transaction.held.find((one) => one.shard === shard)?.connection ?? null;
  }

  #noteObstacles(obstacles: readonly Obstacle[], shard: ShardIndex): void {
    for (const obstacle of obstacles) this.#transaction.current?.noteObstacle(shard, obstacle);
  }

  #byParse(plan: StatementPlan, shard: ShardIndex): readonly Obstacle[] {
    return this.#obstaclesOf(plan, shard).filter(({ isByParse }) => isByParse);
  }

  /** Those of the text, and those of the names in it that are temporary relations on `shard`. */
  #obstaclesOf(
    { obstacles = NO_OBSTACLES, relations }: StatementPlan,
    shard: ShardIndex,
  ): readonly Obstacle[] {
    if (!this.#hasTemporaries || relations === undefined) return obstacles;
    const connection = this.#connection(shard);
    const names = connection === null ? undefined : this.#temporaries.get(connection);
    const used = relations.find((name) => names?.has(name));
    return used === undefined ? obstacles : [...obstacles, temporaryUse(used)];
  }

  #problem(
    plan: StatementPlan,
    destination: Destination,
    current: Transaction<ServerConnection>,
  ): Fault | null {
    const spared = this.#transactionConfig.log === "shard" ? 1 : 0;
    const before: ObstructedBranch[] = [];
    const after: ObstructedBranch[] = [];
    const already: string[] = [];
    const writers: string[] = [];
    let added: Obstacle | null = null;
    for (const [shard, { shard: place }] of this.#parts.pools.entries()) {
      const isThere = destination === "all" || destination === shard;
      const noted = current.obstacles?.on(shard) ?? null;
      const isWriter = current.branches.get(shard)?.sawWrites === true;
      const own = isThere ? (this.#obstaclesOf(plan, shard)[0] ?? null) : null;
      before.push({ isWriter, isObstructed: noted !== null });
      after.push({
        isWriter: isWriter || (isThere && plan.access === "write"),
        isObstructed: noted !== null || own !== null,
      });
      added ??= own;
      if (noted !== null) already.push(`${noted.done} on shard "${place.id}"`);
      else if (isWriter && !isThere) writers.push(`"${place.id}"`);
    }
    if (unpreparable(after, spared) <= unpreparable(before, spared)) return null;
    const where =
      destination === "all" ? "every shard" : `shard "${this.#parts.pools[destination]!.shard.id}"`;
    return problem({ already, writers, added: `${added?.done ?? "written"} on ${where}`, spared });
  }
}

interface Problem {
  /** What the transaction has done. */
  readonly already: readonly string[];
  /** The shards on which it has written. */
  readonly writers: readonly string[];
  /** What it does now. */
  readonly added: string;
  readonly spared: 0 | 1;
}

function problem({ already, writers, added, spared }: Problem): Fault {
  const written = writers.length === 0 ? [] : [`written on shard ${writers.join(", ")}`];
  const before = [...already, ...written].join(", and ");
  return new Fault("commit.unpreparable", {
    detail:
      `The transaction has ${before}; with this statement it would also have ${added}. ` +
      `A commit on several shards prepares each of them${spared === 1 ? " but one" : ""} (PREPARE TRANSACTION), and PostgreSQL ` +
      "does not prepare what has used temporary objects, cursors WITH HOLD, LISTEN, NOTIFY or exported snapshots.",
    hint:
      "Do one of the two in a transaction of its own" +
      (spared === 1 ? "." : ", or set transaction.log to shard, with which one shard is not prepared."),
  });
}
