/** The end of a transaction that pgxa began for one statement on several shards. */
import { refusalOf } from "./localStatements.ts";
import { refusalResponse } from "./refusal.ts";
import type { ShardedSession } from "./shardedSession.ts";

/** Commits it if it is sound; tells the client if it could not be committed. */
export async function endImplicit(session: ShardedSession): Promise<void> {
  const { transaction } = session;
  if (transaction.current?.status !== "T") return transaction.rollback();
  session.isCommitting = true;
  const outcome = await transaction.commit();
  session.isCommitting = false;
  const refusal = refusalOf(outcome);
  if (refusal !== null) session.client.say(refusalResponse(refusal));
  session.parts.faultPoint("client.before-told", 0);
}
