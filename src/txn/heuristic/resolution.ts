/**
 * Ends a transaction in doubt as an operator says, where nobody else can.
 *
 * What is refused and what is a guess is said by the ruling table. A guess is recorded first and durably
 * (heuristicRecord.ts), then the branches are ended. Interrupted in between, the record stands, and the resolver
 * ends what is left by it; so it does with branches on shards that could not be asked.
 */
import type { Gtrid, ShardId } from "../../base/brands.ts";
import type { Clock } from "../../base/environment.ts";
import { Fault } from "../../base/fault.ts";
import type { Log } from "../../observe/log.ts";
import type { Outcome } from "../decisionLog.ts";
import { gtrid, parseGid, parseGtrid } from "../gid.ts";
import { decideOn } from "../shardLog/decisionTable.ts";
import type { HeuristicRecord } from "./heuristicRecord.ts";
import { type Knowledge, RULING_TABLE, type Ruling } from "./rulingTable.ts";
import { type CaseSources, knowledgeOf, lookAt, type TransactionCase } from "./transactionCase.ts";

export interface ResolutionOptions extends CaseSources {
  readonly clock: Clock;
  readonly log: Log;
}

/** What became of one branch, in words; `isDone` if nothing is left to do there. */
export interface Ended {
  readonly shard: ShardId;
  readonly gid: string | null;
  readonly isDone: boolean;
  readonly says: string;
}

export interface Wish {
  readonly outcome: Outcome;
  /** Who wants it, and why. */
  readonly by: string;
  readonly reason: string;
}

export class Resolution {
  readonly #options: ResolutionOptions;
  /** Those that are being ended. */
  readonly #busy = new Set<string>();
  #isEndingAgain = false;

  constructor(options: ResolutionOptions) {
    this.#options = options;
  }

  /** What is known of the transaction of that name. Rejects with a Fault if there is none to be resolved. */
  async look(name: string): Promise<TransactionCase> {
    const parts = parseGtrid(name);
    const { fleet } = this.#options;
    if (parts === null || parts.fleet !== fleet) {
      throw new Fault("resolve.no_gtrid", { detail: `Transactions of this fleet are named ${fleet}:….` });
    }
    const found = await lookAt(name as Gtrid, parts, this.#options);
    if (found.standpoints.every(({ branch }) => branch === null)) throw nothingPrepared(found);
    return found;
  }

  /** What is known of the decision about the branch of that name; rejects for none of pgxa's. */
  async known(gid: string): Promise<Knowledge> {
    const parts = parseGid(gid)!;
    return (await knowledgeOf(gtrid(parts), parts, parts.anchor, this.#options)).knowledge;
  }

  /** How `outcome` would be for it; throws a Fault where it is refused. */
  rule(found: TransactionCase, outcome: Outcome): Exclude<Ruling, `refuse${string}`> {
    const ruling = RULING_TABLE[found.occupation][found.knowledge][outcome];
    switch (ruling) {
      case "apply":
      case "heuristic":
        return ruling;
      case "refuseRunning":
        throw new Fault("resolve.running");
      case "refuseAlive":
        throw new Fault("resolve.owner_alive", {
          detail: `${capital(found.holder)}.`,
          hint: hintForAlive(found),
        });
      case "refuseFailed":
        throw new Fault("resolve.restart_first");
      case "refuseDecided":
        throw new Fault("resolve.decided", {
          message: `the transaction is decided: ${found.knowledge}`,
          detail: `${capital(found.source)}.`,
        });
      case "refuseAbsent":
        throw new Fault("resolve.decided", {
          message: "the transaction is not committed, and nobody may commit it any more",
          detail: `${capital(found.source)}, and that means abort: a part of it may be rolled back already.`,
          hint: "ROLLBACK is what is left; pgxa does that by itself.",
        });
    }
  }

  /** Does it. Rejects with a Fault if it is refused, and nothing was done then. */
  async resolve(name: string, wish: Wish): Promise<readonly Ended[]> {
    this.#busy.add(name);
    try {
      return await this.#resolve(name, wish);
    } finally {
      this.#busy.delete(name);
    }
  }

  async #resolve(name: string, wish: Wish): Promise<readonly Ended[]> {
    const found = await this.look(name);
    const ruling = this.rule(found, wish.outcome);
    if (ruling === "heuristic") await this.#record(found, wish);
    else if (found.knowledge === "absent") await this.#decideAbort(found);
    return Promise.all(found.standpoints.map((_, i) => this.#end(found, i, wish.outcome)));
  }

  /**
   * Ends what is left of transactions of which an operator has said before how they are to end; whether something was.
   * Never rejects.
   */
  async endAgain(left: ReadonlySet<Gtrid>): Promise<boolean> {
    if (this.#isEndingAgain) return false;
    this.#isEndingAgain = true;
    let hasEnded = false;
    const records = await this.#options.records.list().catch(() => []);
    for (const { gtrid: name, outcome, by, reason } of records) {
      if (!left.has(name) || this.#busy.has(name)) continue;
      // Refused if it has become known otherwise: then the review says so.
      const ended = await this.resolve(name, { outcome, by, reason }).catch(() => []);
      hasEnded ||= ended.some(({ says }) => says === "committed" || says === "rolled back");
    }
    this.#isEndingAgain = false;
    return hasEnded;
  }

  async #record({ transaction, anchor, standpoints }: TransactionCase, wish: Wish): Promise<void> {
    const { records, clock, log } = this.#options;
    const record: HeuristicRecord = {
      ...{ gtrid: transaction, anchor, ...wish },
      atMs: clock.wallMs(),
      verdict: "unproven",
    };
    const reached = standpoints.filter(({ failure }) => failure === null).map(({ control }) => control.id);
    const standing = await records.add(record, reached).catch((error: Error) => {
      throw new Fault("resolve.not_recorded", { detail: `${error.message}.`, cause: error });
    });
    if (standing.outcome !== wish.outcome) {
      throw new Fault("resolve.decided", {
        message: `the transaction is decided: ${standing.outcome}`,
        detail: `${capital(standing.by)} has said so before.`,
      });
    }
    log.warn("heuristic.decided", {
      gtrid: transaction,
      outcome: wish.outcome,
      by: wish.by,
      reason: wish.reason,
    });
  }

  /** Nothing is decided where it would be: the first writer wins, also against one who is late. */
  async #decideAbort({ transaction, anchor }: TransactionCase): Promise<void> {
    const { controls, decisions } = this.#options;
    const decider = controls.find(({ id }) => id === anchor);
    const standing =
      decider === undefined
        ? await decisions?.decide(transaction, "abort", [])
        : await decideOn(decider, transaction, "abort", []);
    if (standing === "commit") {
      throw new Fault("resolve.decided", { message: "the transaction has been committed meanwhile" });
    }
  }

  /** Never rejects. */
  async #end({ standpoints }: TransactionCase, i: number, outcome: Outcome): Promise<Ended> {
    const { control, branch, failure } = standpoints[i]!;
    const shard = control.id;
    const gid = branch?.gid ?? null;
    const ended = (isDone: boolean, says: string): Ended => ({ shard, gid, isDone, says });
    if (failure !== null) {
      return ended(false, `not asked: ${failure}; a branch found there later is ended alike`);
    }
    if (branch === null) return ended(true, "nothing is prepared");
    const verb = outcome === "commit" ? "COMMIT" : "ROLLBACK";
    try {
      const finish = await control.finish(verb, branch.gid);
      switch (finish.kind) {
        case "done":
          this.#options.log.info("resolver.resolved", { shard, gid: branch.gid, outcome });
          return ended(true, outcome === "commit" ? "committed" : "rolled back");
        case "missing":
          return ended(true, "somebody else has ended it meanwhile");
        case "busy":
          return ended(false, "somebody else is ending it");
        case "refused":
          return ended(false, `the shard refused: ${finish.reason}; ${byHand(verb, branch.gid)}`);
      }
    } catch (error) {
      return ended(false, `the shard did not answer: ${(error as Error).message}`);
    }
  }
}

const byHand = (verb: string, gid: string): string =>
  `as the role that prepared it, or a superuser, in its database: ${verb} PREPARED '${gid}'`;

function nothingPrepared({ standpoints, record }: TransactionCase): Fault {
  const asked = standpoints.filter(({ failure }) => failure === null).map(({ control }) => `"${control.id}"`);
  const silent = standpoints.filter(({ failure }) => failure !== null);
  const said = record === null ? "" : ` ${capital(record.by)} has resolved it before: ${record.outcome}.`;
  const looked = asked.length === 0 ? "No shard could be asked." : `Looked for on ${asked.join(", ")}.`;
  if (silent.length === 0) return new Fault("resolve.nothing_prepared", { detail: looked + said });
  const why = silent.map(({ control, failure }) => `"${control.id}": ${failure}`).join("; ");
  return new Fault("resolve.unreachable", { detail: `${looked} Not asked: ${why}.${said}` });
}

const hintForAlive = ({ parts, anchor }: TransactionCase): string =>
  anchor === null
    ? `It is settled by whoever answers for it. If that cannot be, stop every pgxa of coordinator "${parts.coordinator}" first.`
    : `Give RESOLVE on the console of that pgxa, or stop it first.`;

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
