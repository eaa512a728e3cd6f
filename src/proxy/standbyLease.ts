/** What holds for a lease that leads to a standby. */
import { Fault } from "../base/fault.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { SessionEffect } from "../routing/plan.ts";
import { isBeyondStandby } from "../routing/standbyLook.ts";
import { endsCopy } from "../wire/messageTypes.ts";

/** Whether a message of `type` waits for what is owed: where it goes is known when a transaction on a standby has ended. */
export const waitsForStandby = (lease: ServerConnection, isBatchOpen: boolean, type: number): boolean =>
  lease.isStandby && lease.replies.groups.length > 0 && !isBatchOpen && !endsCopy(type);

/** Why a statement with `effects` must not be sent to `lease`; null where that leads to the primary. */
export function refusalOnStandby(
  lease: ServerConnection,
  text: string,
  effects: readonly SessionEffect[],
): Fault | null {
  return lease.isStandby && isBeyondStandby(text, effects) ? beyondStandby() : null;
}

export const beyondStandby = (): Fault =>
  new Fault("session.on_standby", {
    detail:
      "The transaction reads from a standby, where advisory locks and what a session keeps are of no use.",
  });
