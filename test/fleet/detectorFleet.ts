/** Several workers' detectors over the same played shards, connected by their parent, and a clock that the test turns. */
import { shardId } from "../../src/base/brands.ts";
import { DeadlockDetector } from "../../src/deadlock/detector.ts";
import type { LockWait } from "../../src/deadlock/lockWait.ts";
import { DeadlockDesk } from "../../src/fleet/deadlockDesk.ts";
import { DeadlockPeers } from "../../src/fleet/deadlockPeers.ts";
import type { Log } from "../../src/observe/log.ts";
import { Metrics } from "../../src/observe/metrics.ts";
import { PlayedClient, PlayedQueue, PlayedShard, waitOf } from "../deadlock/played.ts";
import { ManualEnvironment } from "../txn/manualEnvironment.ts";
import { PlayedCrew, type PlayedWorker } from "./playedCrew.ts";

export class FleetWorker {
  readonly queue = new PlayedQueue();
  readonly metrics = new Metrics();
  readonly events: string[] = [];
  readonly clients: PlayedClient[] = [];
  readonly detector: DeadlockDetector;
  readonly process: PlayedWorker;

  constructor(
    process: PlayedWorker,
    shards: readonly PlayedShard[],
    { clock }: ManualEnvironment,
    poolMax: number,
  ) {
    const note = (event: string) => void this.events.push(event);
    const log: Log = { debug: note, info: note, warn: note, error: note, setLevel() {} };
    const peers = new DeadlockPeers(process.membership, clock, () => ({ max: poolMax, least: 0 }));
    this.process = process;
    this.detector = new DeadlockDetector({
      config: { probeAfterMs: 50, victim: "least_work", lockTimeoutMs: 30_000 },
      clock,
      log,
      metrics: this.metrics,
      shards: ["east", "north", "west"].map(shardId),
      probes: shards,
      queue: this.queue,
      participants: () => this.clients,
      onInDoubt() {},
      peers,
    });
    peers.serve(this.detector);
  }

  /** A client here that holds something on all shards, and is watched while it runs on one of `runningOn`. */
  client(client: number, ...runningOn: readonly number[]): PlayedClient {
    const played = new PlayedClient(client, 0, 1, 2);
    played.runningOn = [...runningOn];
    this.clients.push(played);
    if (runningOn.length > 0) this.detector.watch.begin(played);
    return played;
  }

  /** `waiter` waits for a connection to `shard`. */
  queueUp(shard: number, waiter: PlayedClient): void {
    this.queue.waiting.push({ owner: waiter, pool: shard, sinceMs: 0 });
    this.detector.watch.begin(waiter);
  }

  get victims(): number[] {
    return this.detector.history.records.map(({ victim }) => victim!);
  }
}

export class DetectorFleet {
  readonly environment = new ManualEnvironment();
  readonly shards = [new PlayedShard(), new PlayedShard(), new PlayedShard()] as const;
  readonly workers: readonly FleetWorker[];
  readonly crew: PlayedCrew;
  readonly desk: DeadlockDesk;

  constructor(size = 2, poolMax = 1) {
    this.crew = new PlayedCrew(size);
    this.desk = new DeadlockDesk(this.crew.crew, this.environment.clock);
    this.workers = this.crew.workers.map(
      (worker) => new FleetWorker(worker, this.shards, this.environment, poolMax),
    );
  }

  /** `waiter` waits on `shard` for `holders`. */
  wait(shard: number, waiter: PlayedClient, holders: readonly PlayedClient[], more: Partial<LockWait> = {}) {
    const blockers = holders.map((holder) => holder.pid(shard));
    this.shards[shard]!.locks.push(waitOf(waiter.pid(shard), blockers, more));
  }

  /** One in each of two workers, who wait for each other on two shards. */
  pair(first = 0, second = 1): readonly [PlayedClient, PlayedClient] {
    const one = this.workers[first]!.client(1, 0);
    const two = this.workers[second]!.client(2, 1);
    this.wait(0, one, [two]);
    this.wait(1, two, [one]);
    return [one, two];
  }

  pass(ms: number): Promise<void> {
    return this.environment.pass(ms);
  }

  /** By worker. */
  get victims(): number[][] {
    return this.workers.map(({ victims }) => victims);
  }

  /** What the workers asked and told their parent, of `topic`. */
  said(topic: string): number {
    return this.crew.workers.flatMap(({ topics }) => topics.filter((one) => one === topic)).length;
  }
}
