/**
 * Refusals in their place among a shard's answers.
 *
 * In front of one shard a client may send ahead as far as it likes, and may be in a transaction block, which an error
 * has to fail. So what pgxa refuses is sent as something that the shard refuses, in its turn and with all that
 * follows from it; and the client is told pgxa's reason instead of the shard's.
 */
import type { Fault } from "../base/fault.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import { errorResponse, faultFields, faultResponse } from "../wire/backendWriters.ts";
import * as send from "../wire/frontendWriters.ts";

/** No statement begins with it. */
const TOKEN = "pgxa_refused";

/** Instead of the client's Query, whose group is expected by the caller. */
export function refuseQuery(lease: ServerConnection, fault: Fault): void {
  lease.replies.expectRefusal(TOKEN, faultResponse(fault));
  lease.outbox.put(send.query(TOKEN));
}

/** By this drivers know that a statement has to be prepared anew, and do it. */
const STALE: ReadonlyMap<string, string> = new Map([["R", "RevalidateCachedQuery"]]);

/** Instead of a message of the extended protocol; the batch is skipped from here. */
export function refuseInBatch(lease: ServerConnection, fault: Fault): void {
  const rest = fault.id === "session.stale_statement" ? { rest: STALE } : {};
  lease.replies.expectRefusal(TOKEN, errorResponse({ ...faultFields(fault), ...rest }));
  lease.replies.expectParse(true, null);
  lease.unnamedStatement = null;
  lease.outbox.put(send.parse({ name: "", text: TOKEN, parameterTypes: [] }));
}
