/**
 * Where a statement goes, now: the plan says what the text alone can say; hints, parameters and the branches that
 * are open say the rest.
 */
import { Fault } from "../base/fault.ts";
import type { Plan, ShardIndex, Target } from "../routing/plan.ts";
import type { ParameterReader, Router } from "../routing/router.ts";
import type { ClientTransaction } from "./clientTransaction.ts";
import type { Hints } from "./hints.ts";

export type Destination = ShardIndex | "all";
export type RoutedPlan = Extract<Plan, { kind: "statement" } | { kind: "set" }>;

const NO_PARAMETERS: ParameterReader = {
  parameterCount: 0,
  isNull: () => true,
  format: () => 0,
  parameter: () => Buffer.alloc(0),
};
/** The sequences, advisory locks and catalog that clients see are those of the first shard. */
const DEFAULT_SHARD: ShardIndex = 0;
/** Longer texts are looked up each time. */
const REMEMBERED_CHARACTERS_MAX = 16_384;
/** As long as what opens and ends a transaction usually is. */
const SHORT_CHARACTERS_MAX = 16;
const AT_PRIMARY = { isForPrimary: true } as const;

/** Whether a parameter of type text decides where the statement goes. */
export function hasTextKey(plan: Plan): boolean {
  if (plan.kind !== "statement" || plan.target.kind !== "keys") return false;
  return plan.target.keys.some(
    (key) => key.kind === "parameter" && (key.keyType === "text" || key.keyType === "varchar"),
  );
}

/** Whether `bind` lacks a parameter that decides where the statement goes. */
function lacksKey(plan: RoutedPlan, { parameterCount }: ParameterReader): boolean {
  if (plan.kind !== "statement" || plan.target.kind !== "keys") return false;
  return plan.target.keys.some((key) => key.kind === "parameter" && key.index >= parameterCount);
}

export class DestinationFinder {
  readonly #router: Router;
  readonly #hints: Hints;
  readonly #transaction: ClientTransaction;
  /** The shard used last: where a statement goes that any shard can answer. */
  #last: ShardIndex;
  /** The text that was planned last and its plan: a prepared statement is asked for with Parse, Bind and Describe. */
  #text = "";
  #plan: Plan = { kind: "empty" };
  /** The two short texts that were planned last, as BEGIN and COMMIT are, and their plans. */
  #short = "";
  #shortPlan: Plan = { kind: "empty" };
  #shortBefore = "";
  #shortPlanBefore: Plan = { kind: "empty" };

  constructor(router: Router, hints: Hints, transaction: ClientTransaction, first: ShardIndex) {
    this.#router = router;
    this.#hints = hints;
    this.#transaction = transaction;
    this.#last = first;
  }

  /** The plan of a statement under the hints in force; throws a Fault for one that is refused. */
  plan(text: string): Exclude<Plan, { kind: "refused" }> {
    if (text === this.#text) return this.#allowed(this.#plan);
    const plan = this.#router.plan(text);
    if (plan.kind !== "refused" && text.length <= REMEMBERED_CHARACTERS_MAX) {
      this.#text = text;
      this.#plan = plan;
    }
    return this.#allowed(plan);
  }

  /** The same of a text that is likely to have literals; throws a Fault. */
  planWithLiterals(text: string): Exclude<Plan, { kind: "refused" }> {
    if (text.length > SHORT_CHARACTERS_MAX) return this.#allowed(this.#router.planWithLiterals(text));
    if (text === this.#short) return this.#allowed(this.#shortPlan);
    if (text === this.#shortBefore) return this.#allowed(this.#shortPlanBefore);
    const plan = this.#router.planWithLiterals(text);
    if (plan.kind !== "refused") {
      this.#shortBefore = this.#short;
      this.#shortPlanBefore = this.#shortPlan;
      this.#short = text;
      this.#shortPlan = plan;
    }
    return this.#allowed(plan);
  }

  #allowed(plan: Plan): Exclude<Plan, { kind: "refused" }> {
    if (plan.kind !== "refused") return plan;
    if (plan.hinted === null || this.#hints.shard === null) throw plan.fault;
    return plan.hinted;
  }

  /** The destination of a statement without parameters; throws a Fault. */
  ofText(plan: RoutedPlan): Destination {
    return this.#of(plan, NO_PARAMETERS, []);
  }

  /** The destination of a statement with the parameters of a Bind; throws a Fault. */
  ofBind(plan: RoutedPlan, bind: ParameterReader, parameterTypes: readonly number[]): Destination {
    // That a parameter is missing, any shard says.
    this.#aim(plan);
    return lacksKey(plan, bind) ? this.any() : this.#of(plan, bind, parameterTypes);
  }

  /** A shard that can say what a statement means, for which no parameters are known yet. */
  forDescribe(plan: RoutedPlan): ShardIndex {
    this.#aim(plan);
    return this.ordered(plan) ?? this.any();
  }

  /** Where the text itself, or a setting, sends the statement; null if neither does. */
  ordered(plan: RoutedPlan): ShardIndex | null {
    if (plan.kind === "statement" && plan.target.kind === "shard") return plan.target.shard;
    return this.#hints.shard;
  }

  /** A shard for what any shard can do: one with an open branch, or the one used last. */
  any(): ShardIndex {
    return this.#transaction.openShards[0] ?? this.#transaction.reachable(this.#last);
  }

  #of(plan: RoutedPlan, bind: ParameterReader, parameterTypes: readonly number[]): Destination {
    this.#aim(plan);
    if (plan.kind === "set") return this.any();
    const destination = this.#resolve(plan.target, bind, parameterTypes);
    if (destination !== "all") this.#last = destination;
    return destination;
  }

  #aim(plan: RoutedPlan): void {
    this.#transaction.aim.at(plan.kind === "set" ? AT_PRIMARY : plan);
  }

  #resolve(target: Target, bind: ParameterReader, parameterTypes: readonly number[]): Destination {
    if (target.kind === "shard") return target.shard;
    const hinted = this.#hints.shard;
    if (hinted !== null) return hinted;
    switch (target.kind) {
      case "any":
        return this.any();
      case "default":
        return DEFAULT_SHARD;
      case "all":
        return "all";
      case "keys": {
        const shard = this.#router.resolveKeys(target.keys, bind, parameterTypes);
        if (shard instanceof Fault) throw shard;
        return shard;
      }
    }
  }
}
