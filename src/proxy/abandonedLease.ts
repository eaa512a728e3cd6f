/**
 * What becomes of a lease whose client is gone.
 *
 * Outside a transaction with nothing owed it goes back. In an open transaction with nothing running it is rolled
 * back and goes back. Whatever else is cancelled and closed: nobody waits for a statement whose answer nobody wants.
 */
import { detach } from "../base/detach.ts";
import { NOBODY } from "../pool/nobody.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { LeasePool } from "../pool/shardPools.ts";

const ROLLBACK_TIMEOUT_MS = 5_000;

/**
 * Returns the connection of a client in session mode once everything that belongs to a session is gone from it, or
 * closes it; `isTangled`: half a batch is on the way.
 */
export function returnSession(pool: LeasePool, lease: ServerConnection, isTangled: boolean): void {
  if (lease.state !== "leased" || isTangled || lease.replies.groups.length > 0) {
    return returnAbandoned(pool, lease, true);
  }
  lease.passTo(NOBODY);
  const isIdle = lease.replies.status === "I";
  const rolledBack = isIdle ? Promise.resolve() : lease.run("ROLLBACK", ROLLBACK_TIMEOUT_MS);
  const reset = rolledBack.then(() => lease.run("DISCARD ALL", ROLLBACK_TIMEOUT_MS)); // which must stand alone
  detach(
    reset.then((reply) => {
      if (reply.kind !== "complete" || !lease.isClean) return pool.discard(lease);
      lease.settings = "";
      lease.statements.clear();
      lease.sqlStatements.clear();
      lease.unnamedStatement = null;
      lease.listens = false;
      lease.listening.clear();
      pool.checkIn(lease);
    }),
    "one that is not clean then is closed",
  );
}

/** Returns or closes `lease`; `isTangled`: it carries state or half a batch that cannot be undone by ROLLBACK. */
export function returnAbandoned(pool: LeasePool, lease: ServerConnection, isTangled: boolean): void {
  if (lease.state !== "leased") return;
  lease.passTo(NOBODY);
  if (isTangled || lease.replies.groups.length > 0) {
    detach(
      lease.cancel().then(() => pool.discard(lease)),
      "the connection is closed whether the cancel arrives or not",
    );
    return;
  }
  if (lease.replies.status === "I") return pool.checkIn(lease);
  detach(
    lease.run("ROLLBACK", ROLLBACK_TIMEOUT_MS).then((reply) => {
      if (reply.kind === "complete" && lease.isClean) {
        lease.settings = null; // what was set inside is undone, and only the shard knows what is left
        pool.checkIn(lease);
      } else pool.discard(lease);
    }),
    "the client is gone",
  );
}
