/** A shard's control session, played by a test; it notes what it was told. */
import type { BackendPid, Gtrid, ShardId } from "../../src/base/brands.ts";
import type { DecisionLog, Lookup, Participant } from "../../src/txn/decisionLog.ts";
import type { Evidence } from "../../src/txn/recovery.ts";
import type { Finish, PreparedBranch, ShardControl } from "../../src/txn/shardControl.ts";

export class FakeControl {
  readonly id: ShardId;
  server: string | null = "1/00000001";
  gids: string[] = [];
  readonly told: string[] = [];
  /** What becomes of `finish`, by gid; otherwise it is done. */
  readonly finishes = new Map<string, Finish | Error>();
  evidenceSaid: Evidence | Error = "committed";
  /** Called before each reading of what is prepared. */
  beforePrepared: () => void | Promise<void> = () => {};
  fenceFails: Error | null = null;

  constructor(id: ShardId) {
    this.id = id;
  }

  get asControl(): ShardControl {
    return this as unknown as ShardControl;
  }

  async prepared(): Promise<readonly PreparedBranch[]> {
    await this.beforePrepared();
    return this.gids.map((gid) => ({ gid, preparedAtMs: 5, ageMs: 60_000, xminAge: 1 }));
  }

  async finish(verb: "COMMIT" | "ROLLBACK", gid: string): Promise<Finish> {
    this.told.push(`${verb} ${gid}`);
    const finish = this.finishes.get(gid) ?? { kind: "done" };
    if (finish instanceof Error) throw finish;
    if (finish.kind === "done") this.gids = this.gids.filter((one) => one !== gid);
    return finish;
  }

  async evidence({ xid }: Pick<Participant, "xid" | "server">): Promise<Evidence> {
    this.told.push(`evidence ${xid}`);
    if (this.evidenceSaid instanceof Error) throw this.evidenceSaid;
    return this.evidenceSaid;
  }

  async fence(pid: BackendPid): Promise<void> {
    this.told.push(`fence ${pid}`);
    if (this.fenceFails !== null) throw this.fenceFails;
  }
}

/** A decision log in memory. */
export class FakeDecisions implements DecisionLog {
  readonly epoch = 100;
  isSound = true;
  readonly commits = new Map<Gtrid, readonly Participant[]>();
  readonly aborts = new Set<Gtrid>();
  readonly concluded: Gtrid[] = [];
  /** Called before a commit is durable. */
  beforeDurable: () => void | Promise<void> = () => {};

  async decide(gtrid: Gtrid, outcome: "commit" | "abort", participants: readonly Participant[]) {
    if (this.aborts.has(gtrid)) return "abort";
    if (this.commits.has(gtrid)) return "commit";
    if (outcome === "commit") await this.beforeDurable();
    if (outcome === "commit") this.commits.set(gtrid, participants);
    else this.aborts.add(gtrid);
    return outcome;
  }

  lookup(gtrid: Gtrid, epoch: number): Lookup {
    if (this.commits.has(gtrid)) return "commit";
    if (this.aborts.has(gtrid)) return "abort";
    return epoch < this.epoch ? "unknowable" : "absent";
  }

  unconcluded() {
    return [...this.commits].map(([gtrid, participants]) => ({ gtrid, participants }));
  }

  unconcludedParticipants(gtrid: Gtrid): readonly Participant[] | null {
    return this.commits.get(gtrid) ?? null;
  }

  conclude(gtrid: Gtrid): void {
    if (this.commits.delete(gtrid)) this.concluded.push(gtrid);
  }

  get latestEpoch(): number {
    return this.epoch;
  }

  answersFor(epoch: number): boolean {
    return epoch <= this.epoch;
  }

  async survey(): Promise<void> {}

  async close(): Promise<void> {}
}
