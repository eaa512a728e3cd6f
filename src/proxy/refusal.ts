/** Why a client does not get what it asked for: an error of pgxa's own, or a shard's. */
import type { ShardId } from "../base/brands.ts";
import { Fault } from "../base/fault.ts";
import { ShardError } from "../pool/shardError.ts";
import { errorResponse, faultFields, readyForQuery } from "../wire/backendWriters.ts";
import type { ErrorFields } from "../wire/errorFields.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import type { ClientSide } from "./clientSide.ts";

export type Refusal = Fault | ShardError;

export const refusalFields = (refusal: Refusal): ErrorFields =>
  refusal instanceof Fault ? faultFields(refusal) : refusal.fields;

export const refusalResponse = (refusal: Refusal): Buffer => errorResponse(refusalFields(refusal));

/** Returns `error` if it is for the client, and throws it on if it is a defect. */
export function asRefusal(error: unknown): Refusal {
  if (error instanceof Fault || error instanceof ShardError) return error;
  throw error;
}

/** `error` for a client whose session goes on although the connection ended. */
export const asError = (error: ErrorFields): ErrorFields => ({
  ...error,
  severity: "ERROR",
  rest: new Map([...(error.rest ?? [])].filter(([code]) => code !== "S")),
});

/** The connection to `shard` broke under a statement; `hint` says what the client is to do. */
export const connectionLost = (shard: ShardId, reason: string, hint: string): Fault =>
  new Fault("pool.connection_lost", {
    message: `the connection to shard "${shard}" was lost`,
    detail: `${reason}. A statement that was running may or may not have been applied.`,
    hint,
  });

/**
 * Answers a client's message for which there is no connection; returns whether what follows is passed over until Sync.
 * `status`: what ReadyForQuery says.
 */
export function sayRefused(
  client: Pick<ClientSide, "say">,
  type: number,
  refusal: Refusal,
  status: "I" | "E",
): boolean {
  const ready = readyForQuery(status);
  if (type === CLIENT_MESSAGE.sync) client.say(ready);
  else if (type === CLIENT_MESSAGE.query || type === CLIENT_MESSAGE.functionCall)
    client.say(refusalResponse(refusal), ready);
  else {
    client.say(refusalResponse(refusal));
    return true;
  }
  return false;
}
