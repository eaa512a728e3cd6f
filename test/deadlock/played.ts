/** Clients, shards and a queue for connections that are played, for tests of whoever watches them. */
import type { Fault } from "../../src/base/fault.ts";
import type { ShardProbe } from "../../src/deadlock/defeats.ts";
import type { LockWait } from "../../src/deadlock/lockWait.ts";
import type { Backend, LeaseQueue, Participant } from "../../src/deadlock/participant.ts";

export const startOf = (pid: number): string => `start of ${pid}`;

/** A wait of the process `pid` for a transaction's end; exact, since always the same moment. */
export const waitOf = (pid: number, blockers: readonly number[], more: Partial<LockWait> = {}): LockWait => ({
  pid,
  backendStart: startOf(pid),
  xactStart: "begin",
  waiterPid: pid,
  mode: "ShareLock",
  waitStart: "since",
  waitedMs: 60,
  blockers,
  isExact: true,
  preparedBlockers: [],
  locktype: "transactionid",
  database: null,
  relation: null,
  page: null,
  tuple: null,
  virtualxid: null,
  transactionid: "700",
  classid: null,
  objid: null,
  objsubid: null,
  ...more,
});

/** A client whose backend on shard `s` is process `10 * client + s`. */
export class PlayedClient implements Participant {
  readonly client: number;
  moves = 0;
  isInTransaction = true;
  gtrid: string | null;
  startedAtMs = 0;
  writes = 1;
  priority = 0;
  lockTimeoutMs = 30_000;
  isProtected = false;
  backends: Backend[] = [];
  runningOn: number[] = [];
  /** What it was told and asked, in order. */
  readonly told: string[] = [];
  fault: Fault | null = null;
  /** Whether it can be doomed. */
  isWilling = true;

  constructor(client: number, ...shards: readonly number[]) {
    this.client = client;
    this.gtrid = `t${client}`;
    this.backends = shards.map((shard) => this.#backend(shard));
  }

  #backend(shard: number): Backend {
    const pid = this.pid(shard);
    return { shard, pid, backendStart: startOf(pid) };
  }

  pid(shard: number): number {
    return 10 * this.client + shard;
  }

  doom(fault: Fault, moves: number): boolean {
    if (moves !== this.moves || !this.isWilling) return false;
    this.fault = fault;
    this.told.push(`doomed ${fault.sqlstate}`);
    return true;
  }

  settleDoom(): void {
    this.told.push("settled");
  }

  cancelRunning(): void {
    this.told.push("cancel what runs");
  }
}

/** A shard that reports what it was told to. */
export class PlayedShard implements ShardProbe {
  /** What waits on it. */
  locks: LockWait[] = [];
  isDown = false;
  readonly cancelled: number[] = [];
  questions = 0;
  /** Which processes had to be exact, for each question. */
  readonly exactly: (readonly number[])[] = [];
  /** Called after each question, with how many there have been. */
  afterQuestion: (question: number) => void = () => {};
  onCancel: (wait: LockWait) => boolean | Promise<boolean> = () => true;

  async waits(exactly: readonly number[] = []): Promise<readonly LockWait[]> {
    this.questions += 1;
    this.exactly.push(exactly);
    if (this.isDown) throw new Error("down");
    const locks = this.locks.map((lock) =>
      exactly.includes(lock.waiterPid) ? { ...lock, isExact: true } : lock,
    );
    this.afterQuestion(this.questions);
    return locks;
  }

  async cancel(wait: LockWait): Promise<boolean> {
    this.cancelled.push(wait.pid);
    return this.onCancel(wait);
  }
}

/** A queue for connections. */
export class PlayedQueue implements LeaseQueue {
  waiting: { readonly owner: object; readonly pool: number; readonly sinceMs: number }[] = [];
  readonly held = new Map<number, readonly object[]>();
  readonly refused: string[] = [];
  taken = 0;

  waits() {
    return this.waiting;
  }

  holders(pool: number) {
    return this.held.get(pool) ?? [];
  }

  refuse(owner: object, fault: Fault): void {
    this.waiting = this.waiting.filter((waiting) => waiting.owner !== owner);
    this.refused.push(`${(owner as PlayedClient).client} ${fault.sqlstate}`);
  }
}
