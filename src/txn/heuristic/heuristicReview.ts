/**
 * Compares heuristic outcomes with what becomes known later: an anchor that is back, a log that was restored.
 *
 * One that turns out wrong has torn a transaction. That is reported loudly, stays to be seen, and is never taken back:
 * what to do about the data only its owners know.
 */
import { detach } from "../../base/detach.ts";
import type { Clock, Timer } from "../../base/environment.ts";
import type { Log } from "../../observe/log.ts";
import type { DecisionLog } from "../decisionLog.ts";
import { parseGtrid } from "../gid.ts";
import type { ShardControl } from "../shardControl.ts";
import { decideOn, readDecisions } from "../shardLog/decisionTable.ts";
import type { HeuristicRecord, HeuristicRecords } from "./heuristicRecord.ts";
import { VERDICT_TABLE, type Verdict } from "./rulingTable.ts";

export interface HeuristicReviewOptions {
  readonly coordinator: string;
  readonly controls: readonly ShardControl[];
  readonly decisions: DecisionLog | null;
  readonly records: HeuristicRecords;
  readonly clock: Clock;
  readonly log: Log;
  readonly everyMs: number;
}

type Standing = "commit" | "abort" | "absent" | "unknowable";

export class HeuristicReview {
  readonly #options: HeuristicReviewOptions;
  #timer: Timer | null = null;
  #running: Promise<void> = Promise.resolve();
  #isStopped = false;
  #hasFailed = false;
  /** How many there are, by what is known of them, as of the last look. */
  counts: Readonly<Record<Verdict, number>> = { unproven: 0, confirmed: 0, contradicted: 0, hazard: 0 };
  /** The same by transaction. */
  verdicts: Readonly<Record<string, Verdict>> = {};

  constructor(options: HeuristicReviewOptions) {
    this.#options = options;
  }

  /** Begins to look, now and ever again. */
  start(): void {
    this.#running = this.look();
    const next = this.#running.then(() => {
      if (this.#isStopped) return;
      this.#timer = this.#options.clock.after(this.#options.everyMs, () => this.start());
    });
    detach(next, "it looks until it is stopped");
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#running;
  }

  /** One look; never rejects. */
  async look(): Promise<void> {
    try {
      const counts = { unproven: 0, confirmed: 0, contradicted: 0, hazard: 0 };
      const verdicts: Record<string, Verdict> = {};
      for (const record of await this.#options.records.list()) {
        const verdict = await this.#review(record);
        counts[verdict] += 1;
        verdicts[record.gtrid] = verdict;
      }
      this.counts = counts;
      this.verdicts = verdicts;
      this.#hasFailed = false;
    } catch (error) {
      const reason = (error as Error).message;
      if (!this.#hasFailed && !this.#isStopped) this.#options.log.warn("heuristic.review_failed", { reason });
      this.#hasFailed = true;
    }
  }

  async #review(record: HeuristicRecord): Promise<Verdict> {
    if (record.verdict !== "unproven") return record.verdict;
    const { records, log } = this.#options;
    const { gtrid, outcome, by } = record;
    const standing = await this.#standing(record);
    const verdict = VERDICT_TABLE[outcome][standing];
    if (verdict === "unproven") return verdict;
    const fields = { gtrid, outcome, by, decision: standing };
    if (verdict === "confirmed") log.info("heuristic.confirmed", fields);
    else log.error("heuristic.contradicted", { ...fields, verdict });
    await records.note(record, verdict); // after it was said: said twice is better than never
    return verdict;
  }

  async #standing({ gtrid, outcome, anchor }: HeuristicRecord): Promise<Standing> {
    const { controls, decisions, coordinator } = this.#options;
    if (anchor !== null) {
      const decider = controls.find(({ id }) => id === anchor);
      if (decider === undefined) return "unknowable";
      try {
        // An abort is written where the decision belongs, so that whoever still wants to commit is too late.
        if (outcome === "abort") return await decideOn(decider, gtrid, "abort", []);
        return (await readDecisions(decider, [gtrid])).get(gtrid) ?? "absent";
      } catch {
        return "unknowable"; // it cannot be asked now
      }
    }
    const parts = parseGtrid(gtrid);
    if (parts?.coordinator !== coordinator || !decisions?.answersFor(parts.epoch)) return "unknowable";
    return decisions.lookup(gtrid, parts.epoch);
  }
}
