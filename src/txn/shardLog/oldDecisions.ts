/**
 * Removes decisions that their owners will not remove: of processes that are gone, and of batches that a shard's crash
 * took back.
 *
 * A commit goes when every participant is proven to have applied it, after its owner's epoch is fenced; one that is not
 * proven stays, and is told loudly. An abort goes when no transaction is open any more that could run into it.
 *
 * Interrupted anywhere, the next look does the same again.
 */
import type { Gtrid } from "../../base/brands.ts";
import { detach } from "../../base/detach.ts";
import type { Environment, Timer } from "../../base/environment.ts";
import type { Log } from "../../observe/log.ts";
import { sqlstateOf } from "../controlSession.ts";
import type { Decision, DecisionLog, Participant } from "../decisionLog.ts";
import { gidPrefix, parseGtrid } from "../gid.ts";
import { EVIDENCE_TABLE, type Settlement } from "../recovery.ts";
import type { ShardControl } from "../shardControl.ts";
import { readOldCommits } from "./decisionTable.ts";
import { CONCLUDE, FENCE_OWNER, FORGET_ABORTS, FORGET_OWNERS } from "./schema.ts";

export interface OldDecisionsOptions {
  readonly fleet: string;
  readonly coordinator: string;
  readonly controls: readonly ShardControl[];
  readonly decisions: DecisionLog;
  isRunning(transaction: Gtrid): boolean;
  readonly environment: Environment;
  readonly log: Log;
  readonly intervalMs: number;
}

const COMMIT_AGE_SECONDS = 5;
/** Half of the time that an abort is kept at least. */
const ABORT_AGE_SECONDS = 300;
const COMMITS_MAX = 1_000;

export class OldDecisions {
  readonly #options: OldDecisionsOptions;
  readonly #timers = new Map<ShardControl, Timer>();
  readonly #reported = new Set<Gtrid>();
  #isStopped = false;

  constructor(options: OldDecisionsOptions) {
    this.#options = options;
  }

  start(): void {
    for (const control of this.#options.controls) this.#schedule(control);
  }

  stop(): void {
    this.#isStopped = true;
    for (const timer of this.#timers.values()) timer.cancel();
  }

  /** Several processes do this, so not in step. */
  #schedule(control: ShardControl): void {
    if (this.#isStopped) return;
    const { environment, intervalMs } = this.#options;
    const delayMs = intervalMs * (0.5 + environment.random.fraction());
    const run = (): void => {
      const looking = this.look(control).then(
        () => this.#schedule(control),
        (error: unknown) => {
          if (sqlstateOf(error) !== null && !this.#isStopped) {
            const reason = (error as Error).message;
            this.#options.log.warn("resolver.failed", { shard: control.id, reason });
          }
          this.#schedule(control);
        },
      );
      detach(looking, "it looks again whatever came of it");
    };
    this.#timers.set(control, environment.clock.after(delayMs, run));
  }

  /** Removes what can be removed on one shard; rejects when it cannot be asked. */
  async look(control: ShardControl): Promise<void> {
    const prefix = `${this.#options.fleet}:`;
    const old = await readOldCommits(control, prefix, COMMIT_AGE_SECONDS, COMMITS_MAX);
    const ownerless = old.filter((decision) => !this.#isOurs(decision));
    const applied: Decision[] = [];
    const prepared = new Map<ShardControl, Promise<ReadonlySet<string>>>();
    for (const decision of ownerless) {
      if (await this.#isApplied(decision, prepared)) applied.push(decision);
    }
    const fenced = new Map<string, Promise<boolean>>();
    const concluded: Gtrid[] = [];
    for (const { gtrid } of applied) if (await this.#isFenced(gtrid, control, fenced)) concluded.push(gtrid);
    if (concluded.length > 0) await control.ask(CONCLUDE, [concluded]);
    await control.ask(FORGET_ABORTS, [prefix, ABORT_AGE_SECONDS]);
    await control.ask(FORGET_OWNERS, [this.#options.fleet]);
  }

  /** What this process is at, or will conclude. */
  #isOurs({ gtrid }: Decision): boolean {
    const { isRunning, decisions } = this.#options;
    return isRunning(gtrid) || decisions.unconcludedParticipants(gtrid) !== null;
  }

  async #isApplied(
    { gtrid, participants }: Decision,
    prepared: Map<ShardControl, Promise<ReadonlySet<string>>>,
  ): Promise<boolean> {
    for (const participant of participants) {
      const settlement = await this.#settlementOf(participant, prepared).catch((): Settlement => "wait");
      if (settlement === "lost") this.#report(gtrid, participant);
      if (settlement !== "done") return false;
    }
    return true;
  }

  /** What is still prepared is the resolver's. */
  async #settlementOf(
    participant: Participant,
    prepared: Map<ShardControl, Promise<ReadonlySet<string>>>,
  ): Promise<Settlement> {
    const { controls, fleet } = this.#options;
    const control = controls.find(({ id }) => id === participant.shard);
    if (control === undefined) return "wait";
    let gids = prepared.get(control);
    if (gids === undefined) {
      gids = control.prepared(gidPrefix(fleet)).then((branches) => new Set(branches.map(({ gid }) => gid)));
      prepared.set(control, gids);
    }
    if ((await gids).has(participant.gid)) return "wait";
    return EVIDENCE_TABLE[await control.evidence(participant)];
  }

  /** Whether the owner cannot mistake a row that is missing for one that never was. */
  #isFenced(gtrid: Gtrid, control: ShardControl, fenced: Map<string, Promise<boolean>>): Promise<boolean> {
    const { fleet, coordinator, decisions } = this.#options;
    const parts = parseGtrid(gtrid);
    if (parts === null) return Promise.resolve(false);
    const { epoch } = parts;
    // Our own, which we do not have in mind: it is settled and told.
    if (parts.coordinator === coordinator && epoch === decisions.epoch) return Promise.resolve(true);
    const owner = `${parts.coordinator}:${epoch}`;
    let answer = fenced.get(owner);
    if (answer === undefined) {
      answer = control.ask(FENCE_OWNER, [fleet, parts.coordinator, epoch]).then((rows) => rows.length > 0);
      fenced.set(owner, answer);
    }
    return answer;
  }

  /** Atomicity may be broken: said loudly, once, and never counted as done. */
  #report(gtrid: Gtrid, { shard, gid }: Participant): void {
    if (this.#reported.has(gtrid)) return;
    this.#reported.add(gtrid);
    this.#options.log.error("resolver.evidence_lost", { shard, gid });
  }
}
