/** How a connection becomes as it was after its login, but for its prepared statements. */

import type { ServerConnection } from "./serverConnection.ts";
import { NO_SETTINGS } from "./settings.ts";

export const RESET_TIMEOUT_MS = 5_000;
const RESET =
  "CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; SELECT pg_catalog.pg_advisory_unlock_all(); " +
  "DISCARD SEQUENCES; DISCARD TEMP";

export async function resetAll(connection: ServerConnection): Promise<void> {
  connection.isUsed = false;
  connection.settings = null;
  const reply = await connection.run(RESET, RESET_TIMEOUT_MS);
  if (reply.kind === "complete") connection.settings = NO_SETTINGS;
}
