// Pure.
/** The part of a transaction that runs on one shard. It holds one lease for as long as the transaction lasts. */
import type { BranchConnection } from "./participant.ts";

export interface Branch<Connection extends BranchConnection = BranchConnection> {
  readonly shard: number;
  readonly connection: Connection;
  /** Whether anything but proven reads was sent to it. */
  sawWrites: boolean;
  /** The place of its last write among all writes of the transaction, from 1; absent if there was none. */
  lastWrite?: number;
}
