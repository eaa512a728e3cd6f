/**
 * State of one client that cannot be carried, and so keeps it on its server connection until it is gone.
 *
 * What makes such state is seen in the text; whether it is there, after errors and rollbacks, or there still, after
 * what may have ended it, only the shard knows, and is asked when the transaction has ended.
 */
import type { Clock } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { PinReason, SessionEffect } from "../routing/plan.ts";
import type { PinnedConnection } from "./session.ts";

/** How long a shard may take to say what is left, in ms. */
const LOOK_TIMEOUT_MS = 10_000;

/** Whether there is state of that kind; of the others the shard cannot tell. */
const QUESTIONS: Partial<Readonly<Record<PinReason, string>>> = {
  "temporary table":
    "EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema()) OR " +
    "EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pronamespace = pg_catalog.pg_my_temp_schema()) OR " +
    "EXISTS (SELECT FROM pg_catalog.pg_type WHERE typnamespace = pg_catalog.pg_my_temp_schema())",
  "hold cursor": "EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)",
  "advisory lock":
    "EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid() AND granted)",
};

/** Counts the pins of all clients, by reason. */
export type PinCounts = Map<string, number>;

export class Pins {
  readonly #reasons = new Set<PinReason>();
  readonly #counts: PinCounts;
  readonly #clock: Clock;
  #sinceMs = 0;
  /** Whether something of the transaction may have made or ended such state. */
  mayHaveChanged = false;

  constructor(counts: PinCounts, clock: Clock) {
    this.#clock = clock;
    this.#counts = counts;
  }

  get isPinned(): boolean {
    return this.#reasons.size > 0;
  }

  /** As it is shown of `connection`, which the client holds; nothing while there is no such state. */
  on(connection: ServerConnection | null): readonly PinnedConnection[] {
    if (connection === null || !this.isPinned) return [];
    const pinnedMs = this.#clock.monotonicMs() - this.#sinceMs;
    return [{ shard: connection.shard, pid: connection.pid, reasons: [...this.#reasons], pinnedMs }];
  }

  add(reason: PinReason): void {
    this.mayHaveChanged = true;
    if (this.#reasons.has(reason)) return;
    if (!this.isPinned) this.#sinceMs = this.#clock.monotonicMs();
    this.#reasons.add(reason);
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1);
  }

  /** What may have ended such state is about to run. */
  noteEnd(): void {
    if (this.isPinned) this.mayHaveChanged = true;
  }

  /** DISCARD ALL, DEALLOCATE ALL: no statement of PREPARE is left. */
  notePreparedGone(): void {
    this.#reasons.delete("prepare");
    this.noteEnd();
  }

  /** Asks the shard what is there; false if it did not say. In no transaction. */
  async look(connection: ServerConnection): Promise<boolean> {
    this.mayHaveChanged = false;
    const asked = [...this.#reasons].filter((reason) => QUESTIONS[reason] !== undefined);
    if (asked.length === 0) return true;
    const reply = await connection.run(
      `SELECT ${asked.map((reason) => QUESTIONS[reason]!).join(", ")}`,
      LOOK_TIMEOUT_MS,
    );
    if (reply.kind !== "complete") return false;
    asked.forEach((reason, i) => {
      if (reply.rows[0]?.[i] === "f") this.#reasons.delete(reason);
    });
    return true;
  }
}

const WHAT: Readonly<Record<PinReason, string>> = {
  "temporary table": "temporary objects",
  "hold cursor": "cursors WITH HOLD",
  "advisory lock": "advisory locks of a session",
  prepare: "PREPARE among other statements of one query",
  setting: "set_config() of a name that is computed",
  load: "LOAD",
};

/** Why a statement with `effects` must not run where pins are refused; null if it may. */
export function pinRefusal(effects: readonly SessionEffect[]): Fault | null {
  const pin = effects.find((effect) => effect.kind === "pin");
  if (pin?.kind !== "pin") return null;
  const message = `${WHAT[pin.reason]} would keep the client on its server connection, which is refused here`;
  return new Fault("session.pin_refused", { message });
}
