/** A detector over shards, clients and a queue that are played, and whose clock the test turns. */
import assert from "node:assert/strict";
import { shardId } from "../../src/base/brands.ts";
import type { DeadlockConfig } from "../../src/config/config.ts";
import { DeadlockDetector } from "../../src/deadlock/detector.ts";
import type { LockWait } from "../../src/deadlock/lockWait.ts";
import type { Log } from "../../src/observe/log.ts";
import { Metrics } from "../../src/observe/metrics.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";
import { PlayedClient, PlayedQueue, PlayedShard, waitOf } from "./played.ts";

const CONFIG: DeadlockConfig = { probeAfterMs: 50, victim: "least_work", lockTimeoutMs: 30_000 };

/** Three played shards, a queue, and a detector over them. */
export class DetectorStage {
  readonly environment = new ManualEnvironment();
  readonly shards = [new PlayedShard(), new PlayedShard(), new PlayedShard()] as const;
  readonly queue = new PlayedQueue();
  readonly metrics = new Metrics();
  readonly inDoubt: string[] = [];
  readonly events: string[] = [];
  clients: PlayedClient[] = [];
  readonly detector: DeadlockDetector;

  constructor(config: Partial<DeadlockConfig> = {}) {
    const note = (event: string) => void this.events.push(event);
    const log: Log = { debug: note, info: note, warn: note, error: note, setLevel() {} };
    this.detector = new DeadlockDetector({
      config: { ...CONFIG, ...config },
      clock: this.environment.clock,
      log,
      metrics: this.metrics,
      shards: ["east", "north", "west"].map(shardId),
      probes: this.shards,
      queue: this.queue,
      participants: () => this.clients,
      onInDoubt: (shard) => this.inDoubt.push(shard),
      peers: null,
    });
  }

  /** A client that holds something on all shards, and is watched while it runs on one of `runningOn`. */
  client(client: number, ...runningOn: readonly number[]): PlayedClient {
    const played = new PlayedClient(client, 0, 1, 2);
    played.runningOn = [...runningOn];
    this.clients.push(played);
    if (runningOn.length > 0) this.detector.watch.begin(played);
    return played;
  }

  /** `waiter` waits on `shard` for `holders`. */
  wait(shard: number, waiter: PlayedClient, holders: readonly PlayedClient[], more: Partial<LockWait> = {}) {
    const blockers = holders.map((holder) => holder.pid(shard));
    this.shards[shard]!.locks.push(waitOf(waiter.pid(shard), blockers, more));
  }

  /** `waiter` waits for a connection to `shard`, and `holders` have them all. */
  queueUp(shard: number, waiter: PlayedClient, holders: readonly PlayedClient[]): void {
    this.queue.waiting.push({ owner: waiter, pool: shard, sinceMs: 0 });
    this.queue.held.set(shard, holders);
    this.detector.watch.begin(waiter);
  }

  /** Two that wait for each other on two shards. */
  pair(): readonly [PlayedClient, PlayedClient] {
    const [one, two] = [this.client(1, 0), this.client(2, 1)];
    this.wait(0, one, [two]);
    this.wait(1, two, [one]);
    return [one, two];
  }

  pass(ms: number): Promise<void> {
    return this.environment.pass(ms);
  }

  get questions(): number {
    return this.shards.reduce((sum, { questions }) => sum + questions, 0);
  }

  get victims(): number[] {
    return this.detector.history.records.map(({ victim }) => victim!);
  }

  assertNobody(): void {
    assert.deepEqual(this.victims, []);
    for (const { client, told } of this.clients) assert.deepEqual(told, [], `client ${client}`);
    for (const shard of this.shards) assert.deepEqual(shard.cancelled, []);
    assert.deepEqual(this.queue.refused, []);
  }
}
