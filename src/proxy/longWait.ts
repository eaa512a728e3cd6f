/** What a client is told that waits for a server connection for long, and who it is in the queues in front of several shards. */
import type { Asker, Share } from "../pool/share.ts";
import { noticeResponse } from "../wire/backendWriters.ts";
import type { ClientSide } from "./clientSide.ts";
import type { ClientTransaction } from "./clientTransaction.ts";

/** `detail` says what it waits for. */
export const longWaitNotice = (detail: string): Buffer =>
  noticeResponse({
    severity: "NOTICE",
    sqlstate: "00000",
    message: "waiting for a server connection",
    detail,
  });

interface QueuedSession {
  readonly client: ClientSide;
  readonly transaction: ClientTransaction;
}

/** `session` as one who waits in queues. */
export const askerOf = (session: QueuedSession, share: Share): Asker => ({
  share,
  get isGone() {
    return session.client.isOver;
  },
  get wantsStandby() {
    return session.transaction.wantsStandby;
  },
  onLongWait(detail) {
    if (session.transaction.isQueued) session.client.say(longWaitNotice(detail));
  },
});
