/** What the statements of a session over several shards do to the session, beyond their own transaction. */
import { invariant } from "../base/invariant.ts";
import type { Plan, SessionEffect, StatementPlan } from "../routing/plan.ts";
import type { ClientChannels } from "./clientChannels.ts";
import type { ClientTransaction } from "./clientTransaction.ts";
import type { Hints } from "./hints.ts";
import type { StatementStore } from "./statementStore.ts";

type EffectivePlan = StatementPlan | Extract<Plan, { kind: "set" }>;

export interface EffectsParts {
  /** The process id that the client was given. */
  readonly pid: number;
  readonly transaction: ClientTransaction;
  readonly statements: StatementStore;
  readonly hints: Hints;
  readonly channels: ClientChannels;
}

export class ShardedEffects {
  /** Whether settings may have been changed since they were last asked of a shard. */
  mayHaveSet = false;
  readonly #parts: EffectsParts;

  constructor(parts: EffectsParts) {
    this.#parts = parts;
  }

  /** A channel that `plan` on `shard` begins to listen to, and that nobody listens to for the client yet. */
  missingChannel(plan: EffectivePlan, shard: number): string | null {
    for (const effect of effectsOf(plan)) {
      if (effect.kind === "listen" && !this.#parts.channels.isListening(shard, effect.channel)) {
        return effect.channel;
      }
    }
    return null;
  }

  /** Notes what `plan`, about to be sent to `shard`, does to session and transaction. */
  note(plan: EffectivePlan, shard: number): void {
    const { transaction } = this.#parts;
    if (plan.kind === "set" || plan.access === "write") transaction.noteWrite(shard);
    for (const effect of effectsOf(plan)) this.#noteOne(effect, shard);
  }

  #noteOne(effect: SessionEffect, shard: number): void {
    const { transaction, statements, channels, pid } = this.#parts;
    switch (effect.kind) {
      case "pin":
        return transaction.pin(shard);
      case "schema":
        return statements.noteSchemaChange();
      case "listen":
        this.#connection(shard).listens = true;
        return;
      case "unlisten":
        return channels.unlisten(effect.channel);
      case "notify":
        this.#connection(shard).notifier = pid;
        return;
      case "deallocateAll":
        return this.#forgetStatements();
      case "discardAll":
        channels.unlisten(null);
        this.#parts.hints.clear();
        this.#forgetStatements();
        this.mayHaveSet = true;
        return;
      case "resetAll":
        this.#parts.hints.clear();
        this.mayHaveSet = true;
        return;
      case "setLocal":
        transaction.current?.addLocal(effect.sql);
        return;
      case "set":
        this.mayHaveSet = true;
    }
  }

  #connection(shard: number) {
    const held = this.#parts.transaction.held.find((one) => one.shard === shard);
    invariant(held !== undefined, "a statement is noted when its connection is there");
    return held.connection;
  }

  #forgetStatements(): void {
    this.#parts.statements.clear();
    for (const connection of this.#parts.transaction.connections) connection.statements.clear();
  }
}

const effectsOf = (plan: EffectivePlan): readonly SessionEffect[] =>
  plan.kind === "set" ? [plan.effect] : plan.effects;
