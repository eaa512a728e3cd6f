/**
 * The end of a statement that took too long: a cancel request to its shard, whose answer is told as what it is.
 *
 * Nothing else is sent until the request has been taken, so that it does not hit what comes next.
 */
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import { faultResponse } from "../wire/backendWriters.ts";
import type { ErrorFields } from "../wire/errorFields.ts";
import { type ClientSide, WAIT_CANCEL } from "./clientSide.ts";

const QUERY_CANCELED = "57014";

/** Cancels what runs on `connections` for `client`. */
export function cancelForTime(client: ClientSide, connections: readonly ServerConnection[]): void {
  if (connections.length === 0) return;
  for (const { replies } of connections) replies.replaceError = asTimeout;
  client.wait(WAIT_CANCEL);
  const asked = Promise.all(connections.map((connection) => connection.cancel()));
  detach(
    asked.then(() => client.go(WAIT_CANCEL)),
    "a cancel is a wish",
  );
}

const asTimeout = ({ sqlstate }: ErrorFields): Buffer | null =>
  sqlstate === QUERY_CANCELED ? faultResponse(new Fault("session.statement_timeout")) : null;
