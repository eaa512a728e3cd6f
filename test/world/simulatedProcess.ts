/**
 * A pgxa process as far as it commits and recovers: the classes of src/txn put together as src/cli/composeCommits.ts does,
 * over simulated sessions, clock and disk.
 *
 * A crash is that nothing of it is told anything any more. A new start has a new epoch, and what disk and shards say.
 */
import type { Gtrid, ShardId } from "../../src/base/brands.ts";
import { detach } from "../../src/base/detach.ts";
import type { Environment } from "../../src/base/environment.ts";
import type { ShardConfig, TransactionConfig } from "../../src/config/config.ts";
import type { Log } from "../../src/observe/log.ts";
import { type CommitOutcome, CommitProtocol } from "../../src/txn/commitProtocol.ts";
import type { DecisionLog } from "../../src/txn/decisionLog.ts";
import type { BranchConnection } from "../../src/txn/participant.ts";
import { Resolver } from "../../src/txn/resolver.ts";
import { ShardControl } from "../../src/txn/shardControl.ts";
import { AnchoredBranches } from "../../src/txn/shardLog/anchoredBranches.ts";
import { Leases } from "../../src/txn/shardLog/leases.ts";
import { OldDecisions } from "../../src/txn/shardLog/oldDecisions.ts";
import { ShardLog } from "../../src/txn/shardLog/shardLog.ts";
import { hash } from "./fingerprint.ts";
import type { OpenedLog, ProcessDisk } from "./processDisk.ts";
import { ProcessNotes } from "./processNotes.ts";
import { SimulatedClock } from "./simulatedClock.ts";
import {
  controlSession,
  type LateStatement,
  SimulatedBranchConnection,
  SimulatedLink,
} from "./simulatedLink.ts";
import type { SimulatedBranch, SimulatedPostgres } from "./simulatedPostgres.ts";
import type { StatementRules } from "./statements.ts";

export const FLEET = "f";
export const LEASE_MS = 900;
export const SWEEP_INTERVAL_MS = 10_000;
export const OLD_INTERVAL_MS = 77_000;

export interface ProcessOptions {
  /** Its coordinator's name. */
  readonly name: string;
  readonly log: "file" | "shard";
  readonly shards: readonly SimulatedPostgres[];
  readonly disk: ProcessDisk;
  /** Greater at every start. */
  readonly generation: number;
  /** Whether it removes decisions that nobody else will remove. */
  readonly removesOld: boolean;
  readonly commitAck: TransactionConfig["commitAck"];
  readonly rules: StatementRules;
  readonly alterations: Alterations;
}

/** What a test changes to see whether it is noticed. */
export interface Alterations {
  readonly decisions?: (decisions: DecisionLog) => DecisionLog;
  readonly control?: (control: ShardControl) => void;
  readonly connection?: (connection: BranchConnection) => BranchConnection;
}

/** A branch of a transaction that is to be committed. */
export interface BranchPlan {
  readonly shard: number;
  readonly refuses: SimulatedBranch["refuses"];
}

export class SimulatedProcess {
  readonly options: ProcessOptions;
  readonly clock: SimulatedClock;
  readonly links: SimulatedLink[] = [];
  readonly notes = new ProcessNotes();
  #fileLog: OpenedLog | null = null;
  #decisions!: DecisionLog;
  #protocol!: CommitProtocol;
  #resolver!: Resolver;
  /** Transactions that were begun here. */
  readonly #begun = new Set<Gtrid>();
  /** The timers that went off; for the fingerprint. */
  #fired = 0;
  /** All that it was told since its start, in order: too fine a fingerprint, to check the other by. */
  told = 0;

  constructor(options: ProcessOptions) {
    this.options = options;
    this.clock = new SimulatedClock(options.generation * 1_000);
  }

  get name(): string {
    return this.options.name;
  }

  get resolver(): Resolver {
    return this.#resolver;
  }

  get decisions(): DecisionLog {
    return this.#decisions;
  }

  /** Resolves when it has taken its place, and begins to look what there is to do. */
  async start(): Promise<void> {
    const { name, log, removesOld } = this.options;
    const environment: Environment = {
      clock: this.clock,
      random: { bytes: (count) => new Uint8Array(count), fraction: () => 0.5 },
    };
    const controls = this.#controls("control");
    const parts = { fleet: FLEET, coordinator: name, controls, log: this.#log, clock: this.clock };
    const isRunning = (gtrid: Gtrid): boolean => this.#protocol.isRunning(gtrid);
    const leases = log === "shard" ? await this.#takeLeases() : null;
    const shardLog = leases === null ? null : new ShardLog({ ...parts, leases, previous: null });
    const decisions = shardLog ?? (await this.#openFiles());
    this.#decisions = decisions;
    this.#protocol = new CommitProtocol({
      ...parts,
      decisions,
      ...(shardLog === null ? {} : { shardLog }),
      config: this.#config,
      faultPoint: () => {},
    });
    const anchored = new AnchoredBranches({
      ...parts,
      isRunning,
      leaseMs: LEASE_MS,
      commitTimeoutMs: this.#config.commitTimeoutMs,
      epoch: () => (shardLog === null ? 0 : decisions.epoch),
      onResolved: (gtrid, shard, outcome) => this.#resolver.noteAnchored(gtrid, shard, outcome),
    });
    const intervalMs = SWEEP_INTERVAL_MS;
    this.#resolver = new Resolver({ ...parts, decisions, anchored, isRunning, environment, intervalMs });
    this.#protocol.resolver = this.#resolver;
    this.notes.watch(this.#resolver);
    leases?.start(() => this.#resolver.wakeAll());
    if (removesOld && shardLog !== null) {
      new OldDecisions({ ...parts, decisions, isRunning, environment, intervalMs: OLD_INTERVAL_MS }).start();
    }
    detach(this.#resolver.start(), "it looks on");
  }

  get #config(): TransactionConfig {
    return {
      log: this.options.log,
      logDirectory: "",
      sync: "fdatasync",
      onUnpreparable: "refuse",
      leaseMs: LEASE_MS,
      prepareTimeoutMs: 100,
      commitTimeoutMs: 100,
      commitAck: this.options.commitAck,
      resolveIntervalMs: SWEEP_INTERVAL_MS,
    };
  }

  get #log(): Log {
    return this.notes.log;
  }

  async #openFiles(): Promise<DecisionLog> {
    const { disk, alterations } = this.options;
    this.#fileLog = await disk.open(this.clock, this.#log);
    const { decisions } = this.#fileLog;
    return alterations.decisions?.(decisions) ?? decisions;
  }

  async #takeLeases(): Promise<Leases> {
    return Leases.take({
      fleet: FLEET,
      coordinator: this.name,
      keepers: this.#controls("keeper"),
      clock: this.clock,
      log: this.#log,
      leaseMs: LEASE_MS,
      epochAfter: this.clock.wallMs(),
    });
  }

  #controls(kind: "control" | "keeper"): readonly ShardControl[] {
    const { shards, rules, alterations } = this.options;
    return shards.map((shard) => {
      const link = new SimulatedLink(`${this.name}/${kind}@${shard.id}`, shard, rules, null);
      this.links.push(link);
      const parts = { session: controlSession(link), clock: this.clock };
      const control = new ShardControl(shardConfig(shard.id), undefined, undefined, parts);
      alterations.control?.(control);
      return control;
    });
  }

  /** Begins a transaction on some shards, all of which it writes on, and commits it; resolves with what a client is told. */
  begin(plan: readonly BranchPlan[]): { readonly gtrid: Gtrid; readonly outcome: Promise<CommitOutcome> } {
    const { shards, rules, alterations } = this.options;
    const gtrid = this.#protocol.newGtrid();
    this.#begun.add(gtrid);
    const branches = plan.map(({ shard: index, refuses }, i) => {
      const shard = shards[index]!;
      const backend = shard.connect();
      shard.begin(backend, gtrid, refuses);
      const link = new SimulatedLink(`${this.name}/${gtrid}@${shard.id}`, shard, rules, backend);
      this.links.push(link);
      const connection = new SimulatedBranchConnection(link);
      return {
        connection: alterations.connection?.(connection) ?? connection,
        sawOnlyReads: false,
        lastWrite: i + 1,
      };
    });
    return { gtrid, outcome: this.#protocol.commit(branches, gtrid) };
  }

  // --- what can happen to it ---

  get isWaitingForDisk(): boolean {
    return this.#fileLog?.isWaiting ?? false;
  }

  sync(): void {
    this.clock.origin = "disk";
    this.told = hash("disk", this.told);
    this.#fileLog!.sync();
  }

  fire(timer: string): void {
    this.#fired = hash(`${timer}|${this.#stamp}`, this.#fired);
    this.told = hash(timer, this.told);
    this.clock.fire(timer);
  }

  hear(link: SimulatedLink): void {
    this.clock.origin = link.name;
    link.hear(this.#stamp);
    this.told = hash(`${link.name} ${link.history}`, this.told);
  }

  lose(link: SimulatedLink): LateStatement | null {
    this.clock.origin = link.name;
    this.told = hash(`${link.name} lost`, this.told);
    return link.lose(this.#stamp);
  }

  /** It is gone; what it had sent may still arrive. */
  die(isWrittenKept: boolean): readonly LateStatement[] {
    this.options.disk.crash(isWrittenKept);
    this.clock.timers.clear();
    return this.links.map((link) => link.abandon()).filter((late) => late !== null);
  }

  /** Whether nothing is under way in it. */
  get isQuiet(): boolean {
    const isBusy = this.links.some((link) => !link.isIdle) || this.isWaitingForDisk;
    return !isBusy && this.#running.length === 0;
  }

  get #running(): readonly Gtrid[] {
    return [...this.#begun].filter((gtrid) => this.#protocol.isRunning(gtrid));
  }

  /** What its parts share, as text: together with what each was told, its state. */
  get #stamp(): string {
    const { epoch } = this.#decisions ?? { epoch: 0 };
    const unconcluded = this.#decisions?.unconcluded().map(({ gtrid }) => gtrid) ?? [];
    const files = this.#fileLog?.fingerprint() ?? "";
    const running = this.#protocol === undefined ? [] : this.#running;
    return `${running}|${epoch}|${unconcluded}|${files}|${this.notes.fingerprint()}`;
  }

  /** What is past matters no more once nothing is under way. */
  forgetThePast(): void {
    this.#fired = 0;
    for (const link of this.links) link.history = 0;
    this.notes.forgetWakes();
    for (let i = this.links.length - 1; i >= 0; i -= 1) {
      const link = this.links[i]!;
      if (link.isKept) continue;
      link.close();
      this.links.splice(i, 1);
    }
  }

  /** All that can matter for what comes, as text. */
  fingerprint(): string {
    const links = this.links.map((link) => link.fingerprint());
    return `${this.options.generation}|${this.#fired}|${this.#stamp}|${this.clock.fingerprint()}|${links}`;
  }
}

const shardConfig = (id: ShardId): ShardConfig => ({
  id,
  host: "simulated",
  port: 1,
  database: "d",
  user: "pgxa",
  password: undefined,
});
