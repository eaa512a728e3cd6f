/** How a connection becomes as it was after its login, but for its prepared statements, and quiet. */

import type { ServerConnection } from "./serverConnection.ts";
import { NO_SETTINGS } from "./settings.ts";

const RESET_TIMEOUT_MS = 5_000;
const RESET =
  "CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; SELECT pg_catalog.pg_advisory_unlock_all(); " +
  "DISCARD SEQUENCES; DISCARD TEMP";

async function resetAll(connection: ServerConnection): Promise<void> {
  connection.isUsed = false;
  connection.settings = null;
  const reply = await connection.run(RESET, RESET_TIMEOUT_MS);
  if (reply.kind === "complete") connection.settings = NO_SETTINGS;
}

/**
 * Waits until what a client notified on a connection has arrived, as long as it is known whose it is; and takes back
 * what a client's LISTEN did, for clients have their notifications from the hub. With `mustReset` also all that a client
 * may have left without a word of it in its statements.
 */
export async function quieten(
  connection: ServerConnection,
  settleNotifications: () => Promise<void>,
  mustReset: boolean,
): Promise<void> {
  if (connection.notifier !== null) await settleNotifications();
  connection.notifier = null;
  if (connection.listens) await connection.run("UNLISTEN *", RESET_TIMEOUT_MS);
  connection.listens = false;
  connection.listening.clear();
  if (mustReset) await resetAll(connection);
}
