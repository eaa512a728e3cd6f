/** What the statements of a session over several shards do to the session, beyond their own transaction. */
import { invariant } from "../base/invariant.ts";
import type { PinReason, Plan, SessionEffect, StatementPlan } from "../routing/plan.ts";
import { BindReader } from "../wire/bindReader.ts";
import { withParameters } from "./boundEffects.ts";
import type { ClientChannels } from "./clientChannels.ts";
import type { ClientParameters } from "./clientParameters.ts";
import type { ClientTransaction } from "./clientTransaction.ts";
import type { Hints } from "./hints.ts";
import { Pins, pinRefusal } from "./pins.ts";
import { PrepareObstacles } from "./prepareObstacles.ts";
import type { PinnedConnection, SessionParts } from "./session.ts";
import { beyondStandby } from "./standbyLease.ts";
import type { StatementStore } from "./statementStore.ts";

type EffectivePlan = StatementPlan | Extract<Plan, { kind: "set" }>;

/** What of the session is affected. */
export interface AffectedSession {
  readonly transaction: ClientTransaction;
  readonly statements: StatementStore;
  readonly hints: Hints;
  readonly parameters: ClientParameters;
}

export class ShardedEffects {
  /** Whether settings may have been changed since they were last asked of a shard. */
  mayHaveSet = false;
  readonly obstacles: PrepareObstacles;
  readonly #pid: number;
  readonly #session: AffectedSession;
  readonly #channels: ClientChannels;
  readonly #pins = new Map<number, Pins>();
  readonly #parts: SessionParts;

  /** `pid` is the process id that the client was given. */
  constructor(pid: number, session: AffectedSession, channels: ClientChannels, parts: SessionParts) {
    this.#pid = pid;
    this.#parts = parts;
    this.#session = session;
    this.#channels = channels;
    this.obstacles = new PrepareObstacles(session.transaction, parts);
  }

  /** A channel that `plan` on `shard` begins to listen to, and that nobody listens to for the client yet. */
  missingChannel(plan: EffectivePlan, shard: number): string | null {
    if (hasNone(plan)) return null;
    for (const effect of effectsOf(plan)) {
      if (effect.kind === "listen" && !this.#channels.isListening(shard, effect.channel)) {
        return effect.channel;
      }
    }
    return null;
  }

  /** Throws a Fault if `plan` makes state that cannot be carried, and that is refused. */
  throwIfRefused(plan: Plan): void {
    if (plan.kind !== "statement") return;
    const { transaction } = this.#session;
    if (plan.isBeyondStandby && transaction.current !== null && transaction.wantsStandby)
      throw beyondStandby();
    if (plan.effects.length === 0) return;
    const { mode, config } = this.#parts;
    const { pins } = config.pool;
    const refusal = mode === "session" || pins === "allow" ? null : pinRefusal(plan.effects);
    if (refusal !== null) throw refusal;
  }

  /** Notes the settings that parameters of the Bind in `buffer[start, end)` name. */
  noteBind(plan: Plan, buffer: Buffer, start: number, end: number): void {
    if (plan.kind !== "statement" || plan.effects.length === 0) return;
    for (const effect of withParameters(plan.effects, new BindReader(), buffer, start, end)) {
      if (effect.kind === "set") this.#session.parameters.noteName(effect.name);
    }
  }

  pins(): readonly PinnedConnection[] {
    const { held } = this.#session.transaction;
    return held.flatMap(({ shard, connection }) => this.#pins.get(shard)?.on(connection) ?? []);
  }

  #pin(shard: number, reason: PinReason): void {
    this.#session.transaction.pin(shard);
    const { pinCounts, environment } = this.#parts;
    const pins = this.#pins.get(shard) ?? new Pins(pinCounts, environment.clock);
    this.#pins.set(shard, pins);
    pins.add(reason);
  }

  /** What statements did to what others see of the session is done, or undone. */
  settle(isDone: boolean): void {
    this.#channels.settle(isDone);
    this.obstacles.settle(isDone);
  }

  /** Notes what `plan`, about to be sent to `shard`, does to session and transaction. */
  note(plan: EffectivePlan, shard: number): void {
    const { transaction } = this.#session;
    if (plan.kind === "statement" && plan.access === "write") transaction.noteWrite(shard);
    this.obstacles.note(plan, shard);
    if (hasNone(plan)) return;
    for (const effect of effectsOf(plan)) this.#noteOne(effect, shard);
  }

  #noteOne(effect: SessionEffect, shard: number): void {
    const { transaction, statements, hints } = this.#session;
    switch (effect.kind) {
      case "pin":
        return this.#pin(shard, effect.reason);
      case "schema":
        return statements.noteSchemaChange();
      case "listen":
        this.#connection(shard).listens = true;
        return this.#channels.noteListen(shard, effect.channel);
      case "unlisten":
        return this.#channels.noteUnlisten(effect.channel);
      case "notify":
        this.#connection(shard).notifier = this.#pid;
        return;
      case "deallocateAll":
        return this.#forgetStatements();
      case "discardAll":
        this.#channels.noteUnlisten(null);
        this.obstacles.forget();
        hints.clear();
        this.#forgetStatements();
        this.mayHaveSet = true;
        return;
      case "resetAll":
        hints.clear();
        this.mayHaveSet = true;
        return;
      case "setLocal":
        transaction.current?.addLocal(effect.sql);
        return;
      case "set":
        this.mayHaveSet = true;
        if (!this.#session.parameters.noteName(effect.name)) this.#pin(shard, "setting");
    }
  }

  #connection(shard: number) {
    const held = this.#session.transaction.held.find((one) => one.shard === shard);
    invariant(held !== undefined, "a statement is noted when its connection is there");
    return held.connection;
  }

  #forgetStatements(): void {
    this.#session.statements.clear();
    for (const connection of this.#session.transaction.connections) connection.statements.clear();
  }
}

const effectsOf = (plan: EffectivePlan): readonly SessionEffect[] =>
  plan.kind === "set" ? [plan.effect] : plan.effects;

/** Whether it has no effects, as is nearly always so. */
const hasNone = (plan: EffectivePlan): boolean => plan.kind === "statement" && plan.effects.length === 0;
