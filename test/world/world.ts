/**
 * Processes of one fleet, the shards, and everything that may happen between them, one thing at a time.
 *
 * `transitions` says what may happen next; `take` makes one of it happen, and everything that follows from it without
 * anything else being told to anybody. A world is made of nothing but what was taken: the same choices make the same world.
 *
 * What is deliberately coarse: a session opens, and a process starts, in one go; a shard that crashes is back at once.
 */
import { type Gtrid, shardId } from "../../src/base/brands.ts";
import type { CommitOutcome } from "../../src/txn/commitProtocol.ts";
import type { Transition, TransitionKind } from "./choice.ts";
import type { ProcessDisk } from "./processDisk.ts";
import { SimulatedDisk } from "./simulatedFileLog.ts";
import type { LateStatement, SimulatedLink } from "./simulatedLink.ts";
import { SimulatedPostgres } from "./simulatedPostgres.ts";
import {
  type Alterations,
  type BranchPlan,
  type ProcessOptions,
  SimulatedProcess,
} from "./simulatedProcess.ts";
import { execute, mustWait, POSTGRES_RULES, type StatementRules } from "./statements.ts";
import { transitionsOf } from "./transitions.ts";

/** How often each may happen; 0 for what is not named. */
export type Budget = Readonly<Partial<Record<TransitionKind, number>>>;

export interface WorldOptions {
  readonly shards: number;
  /** The coordinators' names. The first one commits. */
  readonly processes: readonly string[];
  readonly log: ProcessOptions["log"];
  readonly budget: Budget;
  /** Who may crash; all if it is not given. */
  readonly crashing?: readonly string[];
  readonly removesOld?: boolean;
  readonly commitAck?: ProcessOptions["commitAck"];
  /** The disk of a process; without it a simple one. */
  readonly disk?: (name: string) => ProcessDisk;
  readonly rules?: StatementRules;
  readonly alterations?: Alterations;
}

/** A transaction, and what its client knows. */
export interface WorldTransaction {
  readonly gtrid: Gtrid;
  readonly process: string;
  readonly shards: readonly number[];
  told: CommitOutcome | null;
}

export const SHARD_NAMES = ["east", "north", "west", "south"];

export class World {
  readonly options: WorldOptions;
  readonly shards: readonly SimulatedPostgres[];
  /** Null: it is dead. */
  readonly processes = new Map<string, SimulatedProcess | null>();
  readonly transactions: WorldTransaction[] = [];
  readonly late: LateStatement[] = [];
  readonly spent = new Map<TransitionKind, number>();
  /** Broken invariants of the code itself. */
  readonly broken: Error[] = [];
  /** Events that were logged by processes that are dead now. */
  readonly reports: string[] = [];
  readonly #disks = new Map<string, ProcessDisk>();
  readonly #generations = new Map<string, number>();

  constructor(options: WorldOptions) {
    this.options = options;
    this.shards = SHARD_NAMES.slice(0, options.shards).map((name) => new SimulatedPostgres(shardId(name)));
    for (const name of options.processes) {
      this.processes.set(name, null);
      this.#disks.set(name, options.disk?.(name) ?? new SimulatedDisk());
    }
  }

  get living(): readonly SimulatedProcess[] {
    return [...this.processes.values()].filter((process) => process !== null);
  }

  // --- to begin with ---

  /** Every process starts, and has looked around. */
  async start(): Promise<void> {
    for (const name of this.processes.keys()) await this.restart(name);
    await this.driveAll(() => true);
    this.#forgetThePast();
  }

  /** A client of the first process commits a transaction that wrote on these shards. */
  async commit(plan: readonly BranchPlan[], name = this.options.processes[0]!): Promise<WorldTransaction> {
    const { gtrid, outcome } = this.processes.get(name)!.begin(plan);
    const shards = plan.map(({ shard }) => shard);
    const transaction: WorldTransaction = { gtrid, process: name, shards, told: null };
    this.transactions.push(transaction);
    outcome.then((told) => {
      transaction.told = told;
    });
    await settle();
    return transaction;
  }

  // --- what may happen ---

  transitions(): readonly Transition[] {
    return transitionsOf(this);
  }

  left(kind: TransitionKind): number {
    return (this.options.budget[kind] ?? 0) - (this.spent.get(kind) ?? 0);
  }

  /** Makes it happen, and all that follows from it. */
  async take({ id, kind }: Pick<Transition, "id" | "kind">): Promise<void> {
    if (this.options.budget[kind] !== undefined) this.spent.set(kind, (this.spent.get(kind) ?? 0) + 1);
    const [, subject = "", detail = ""] = /^\S+ (\S+)(?: (\S+))?$/.exec(id) ?? [];
    await this.#perform(kind, subject, detail);
    await settle();
    this.#forgetThePast();
  }

  async #perform(kind: TransitionKind, subject: string, detail: string): Promise<void> {
    switch (kind) {
      case "execute":
        return this.#link(subject).link.execute();
      case "duplicate":
        return this.#link(subject).link.duplicate();
      case "hear": {
        const { process, link } = this.#link(subject);
        return process.hear(link);
      }
      case "loss": {
        const { process, link } = this.#link(subject);
        return this.#addLate([process.lose(link)]);
      }
      case "late":
        return this.executeLate(this.late.find(({ name }) => name === subject)!);
      case "vanish":
        return this.dropLate(this.late.find(({ name }) => name === subject)!);
      case "sync":
        return this.processes.get(subject)!.sync();
      case "timer":
      case "sweep":
      case "renewal":
      case "oldLook":
      case "slowLook":
        return this.processes.get(subject)!.fire(detail);
      case "restart":
        return this.restart(subject);
      case "crash":
        return this.#crash(subject, detail === "kept");
      case "shardCrash":
        return this.#shard(subject).crash();
      case "failover":
        return this.#shard(subject).failOver(() => detail === "losing");
      case "expiry":
        return this.#shard(subject).age(({ coordinator }) => coordinator === detail);
      case "rest":
        return;
    }
  }

  // --- processes ---

  /** It has a new epoch, and begins to look what there is to do. */
  async restart(name: string): Promise<void> {
    const { shards } = this;
    const { log, removesOld = false, commitAck = "applied" } = this.options;
    const { rules = POSTGRES_RULES, alterations = {} } = this.options;
    const generation = (this.#generations.get(name) ?? 0) + 1;
    this.#generations.set(name, generation);
    const disk = this.#disks.get(name)!;
    const process = new SimulatedProcess({
      ...{ name, log, shards, disk, generation, removesOld, commitAck, rules, alterations },
    });
    this.processes.set(name, process);
    const starting = process.start();
    // Nobody else cares in which order it takes its place; and its leases are renewed once.
    await settle();
    await this.driveAll((link) => process.links.includes(link) && link.name.includes("/keeper@"));
    await starting;
  }

  #crash(name: string, isWrittenKept: boolean): void {
    const process = this.processes.get(name)!;
    for (const { event, fields } of process.notes.said)
      if (event === "resolver.evidence_lost") this.reports.push(String(fields["gid"]));
    for (const late of this.late) if (late.name.startsWith(`${name}/`)) late.isOwned = false;
    this.#addLate(process.die(isWrittenKept));
    this.processes.set(name, null);
  }

  #forgetThePast(): void {
    for (const process of this.living) if (process.isQuiet) process.forgetThePast();
  }

  // --- messages ---

  /** Statements and answers go through, in turn, while there are any on links that are meant. */
  async driveAll(isMeant: (link: SimulatedLink) => boolean): Promise<void> {
    for (let hasMoved = true; hasMoved; ) {
      hasMoved = false;
      for (const process of this.living) {
        for (const link of [...process.links].filter(isMeant)) {
          while (link.canExecute) link.execute();
          if (!link.canBeHeard) continue;
          process.hear(link);
          hasMoved = true;
        }
        if (process.isWaitingForDisk) process.sync();
      }
      if (hasMoved) await settle();
    }
  }

  executeLate(late: LateStatement): void {
    const { shard, backend, sql, values } = late;
    const answer = backend.isAlive ? execute(shard, backend, sql, values, this.options.rules) : undefined;
    if (answer === null) return; // halfway
    this.dropLate(late);
  }

  dropLate(late: LateStatement): void {
    this.late.splice(this.late.indexOf(late), 1);
    late.shard.end(late.backend);
  }

  canExecuteLate({ shard, backend, sql, values }: LateStatement): boolean {
    return backend.isAlive && !mustWait(shard, backend, sql, values);
  }

  #addLate(late: readonly (LateStatement | null)[]): void {
    for (const one of late) {
      if (one === null) continue;
      const others = this.late.filter(({ name }) => name.startsWith(one.name)).length;
      this.late.push(others === 0 ? one : { ...one, name: `${one.name}${others}` });
    }
  }

  #link(name: string): { readonly process: SimulatedProcess; readonly link: SimulatedLink } {
    for (const process of this.living) {
      const link = process.links.find((one) => one.name === name);
      if (link !== undefined) return { process, link };
    }
    throw new Error(`there is no link ${name}`);
  }

  #shard(name: string): SimulatedPostgres {
    return this.shards.find(({ id }) => id === name)!;
  }

  /** All that can matter for what comes, as text. */
  fingerprint(): string {
    const processes = [...this.processes.values()].map((process) => process?.fingerprint() ?? "dead");
    const shards = this.shards.map((shard) => shard.fingerprint());
    const late = this.late.map(
      ({ name, backend, sql }) => `${name},${backend.isHalfway},${backend.isAlive},${sql}`,
    );
    const told = this.transactions.map((one) => `${one.told?.kind}`);
    const disks = [...this.#disks.values()].map((disk) => disk.fingerprint());
    return [processes, disks, shards, late.sort(), told, [...this.spent].sort(), this.reports].join("\n");
  }
}

/** All promises that can go on have gone on. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
