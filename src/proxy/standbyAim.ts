/**
 * Whether a client of several shards is to read from standbys: its statement, or its transaction on all shards alike.
 *
 * Of a transaction that is settled with its first branch: until then SET TRANSACTION may change what it is.
 */
import type { AboutStandbys } from "../routing/plan.ts";
import { type SessionWish, type StandbyLook, sessionWish } from "../routing/standbyLook.ts";
import type { ClientParameters } from "./clientParameters.ts";
import type { Hints } from "./hints.ts";

/** What is known of the client's transaction. */
interface AimedTransaction {
  readonly characteristics: string;
  readonly isImplicit: boolean;
  readonly branches: { readonly size: number };
}

export class StandbyAim {
  /** What BEGIN was hinted at. */
  hint: boolean | null = null;
  readonly #look: StandbyLook | null;
  readonly #hints: Hints;
  readonly #parameters: ClientParameters;
  #statement = false;
  #transaction = false;

  /** `look`: null where nothing is read from standbys. */
  constructor(look: StandbyLook | null, hints: Hints, parameters: ClientParameters) {
    this.#look = look;
    this.#hints = hints;
    this.#parameters = parameters;
  }

  /** A connection is asked for next for a statement like `plan`. */
  at(plan: AboutStandbys): void {
    if (this.#look === null) return;
    const { isForPrimary, standby } = plan;
    this.#statement = !isForPrimary && this.#look.wantsStatement(standby ?? null, this.#session());
  }

  /** Whether a connection that is asked for now may lead to a standby. */
  isStandby(current: AimedTransaction | null): boolean {
    if (this.#look === null) return false;
    if (current === null) return this.#statement;
    if (current.branches.size === 0) this.#transaction = this.#judge(current, this.#look);
    return this.#transaction;
  }

  #judge({ isImplicit, characteristics }: AimedTransaction, look: StandbyLook): boolean {
    return !isImplicit && look.wantsTransaction(characteristics, this.hint, this.#session());
  }

  #session(): SessionWish {
    const hint = this.#hints.get("pgxa.standby");
    return { ...sessionWish(this.#parameters.settings), standby: hint === null ? null : hint.amount === 1 };
  }
}
