/** A worker's part in an online restart: its own handover, with the parent in between. */
import type { Channel } from "../../fleet/channel.ts";
import type { StreamHandle } from "../../pool/byteStream.ts";
import type { Handover } from "../../proxy/handover/handover.ts";
import type { ToSuccessor } from "../../proxy/handover/messages.ts";
import {
  FOLLOW,
  LATEST_EPOCH,
  LEAVE,
  PREDECESSOR_GONE,
  PREDECESSOR_SAYS,
  STAY,
  SUCCESSOR_SAYS,
  TO_PREDECESSOR,
  TO_SUCCESSOR,
} from "./workerTopics.ts";

/** `handles`: listening sockets that came from the parent and are not accepted on yet. */
export function joinRestarts(parent: Channel, handover: Handover, handles: Map<string, StreamHandle>): void {
  parent.serve(LATEST_EPOCH, () => handover.latestEpoch());
  parent.serve(LEAVE, ({ movesClients }) => {
    const peer = {
      send: (message: ToSuccessor, handle?: object) => parent.tell(TO_SUCCESSOR, message, handle),
    };
    return handover.leave(peer, movesClients, []);
  });
  parent.serve(SUCCESSOR_SAYS, (message) => handover.onSuccessorSays(message));
  parent.serve(STAY, async () => {
    const given = new Map(handles);
    handles.clear();
    await handover.stay(given);
  });
  parent.serve(FOLLOW, () => handover.follow({ send: (message) => parent.tell(TO_PREDECESSOR, message) }));
  parent.serve(PREDECESSOR_SAYS, (message, handle) => handover.onPredecessorSays(message, handle));
  parent.serve(PREDECESSOR_GONE, () => handover.onPredecessorGone());
}
