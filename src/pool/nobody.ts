/** The holder of connections with which pgxa itself has something to do. */
import type { LeaseHolder } from "./serverConnection.ts";

/** Holds a lease on no client's behalf; what the shard says is dropped. */
export const NOBODY: LeaseHolder = {
  relay: () => true,
  outlives: () => null,
  onClientGroup() {},
  onParameter() {},
  onNotification: () => null,
  onStatement() {},
  onCopyIn() {},
  onShape() {},
  onServerDrain() {},
  onLost() {},
};
