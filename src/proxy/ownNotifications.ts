/** What a server connection has to do so that LISTEN and NOTIFY on it come out as on a session of the client's own. */
import { detach } from "../base/detach.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import { quoteName } from "../txn/transaction.ts";
import type { ClientChannels } from "./clientChannels.ts";

const LISTEN_TIMEOUT_MS = 10_000;

/** How the transaction ends decides over what is listened to. */
export function watchEnd(lease: ServerConnection): void {
  if (lease.replies.watchesEnd) return;
  lease.replies.watchesEnd = true;
  lease.replies.transactionEnd = "";
}

/** What the client notifies comes back to it in its place if its connection listens, too. */
export function hearOwn(lease: ServerConnection, channels: ClientChannels): void {
  if (lease.replies.isBatchOpen || lease.replies.status === "E") return;
  for (const channel of channels.channelsOf(0)) {
    if (lease.listening.has(channel)) continue;
    watchEnd(lease);
    lease.listens = true;
    lease.listening.add(channel);
    lease.unnamedStatement = null;
    const listening = lease.run(`LISTEN ${quoteName(channel)}`, LISTEN_TIMEOUT_MS);
    detach(listening, "without it the hub tells, a little later");
  }
}
