/** An exchange under a limit: no answer is heard where too many have failed, however many exchanges had begun before. */
import { Fault } from "../../base/fault.ts";
import type { Authentication, AuthenticationStep } from "../authentication.ts";

export interface Watch {
  isHeard(): boolean;
  onFailed(): void;
}

export class WatchedAuthentication implements Authentication {
  readonly #exchange: Authentication;
  readonly #watch: Watch;

  constructor(exchange: Authentication, watch: Watch) {
    this.#exchange = exchange;
    this.#watch = watch;
  }

  begin(): AuthenticationStep {
    return this.#exchange.begin();
  }

  answer(buffer: Buffer, start: number, end: number): AuthenticationStep {
    if (!this.#watch.isHeard()) throw new Fault("login.too_many_failures");
    const step = this.#exchange.answer(buffer, start, end);
    if (step.kind === "refused") this.#watch.onFailed();
    return step;
  }
}
