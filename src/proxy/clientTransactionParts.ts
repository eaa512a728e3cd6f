/** What a client's transactions are made of. */
import type { Clock } from "../base/environment.ts";
import type { Admission } from "../pool/admission.ts";
import type { LeaseHolder, ServerConnection } from "../pool/serverConnection.ts";
import type { LeasePool } from "../pool/shardPools.ts";
import type { Asker } from "../pool/share.ts";
import type { Branch } from "../txn/branch.ts";
import type { CommitBranch, CommitProtocol } from "../txn/commitProtocol.ts";
import type { NotedObstacles } from "../txn/obstacles.ts";
import type { ClientParameters } from "./clientParameters.ts";
import type { Refusal } from "./refusal.ts";
import type { StandbyAim } from "./standbyAim.ts";

export interface ClientTransactionParts {
  readonly admission: Admission;
  readonly pools: readonly LeasePool[];
  /** Whether connections stay with the client until it disconnects. */
  readonly isSessionMode: boolean;
  readonly commits: CommitProtocol;
  readonly parameters: ClientParameters;
  readonly aim: StandbyAim;
  /** Told of everything that the held connections say. */
  readonly holder: LeaseHolder;
  readonly clock: Clock;
  /** Who the client is to those who look at waits for connections. */
  readonly owner: object;
  /** Who it is in the queues. */
  readonly asker: Asker;
  /** Called with each connection that is newly held. */
  onLease(connection: ServerConnection): void;
  /** What a shard's refusal of something pgxa asked means for the client. */
  translate(refusal: Refusal): Refusal;
  onCommitted(): void;
  /** Its commit over several shards is decided. */
  onDecided(): void;
}

/** A branch as the commit protocol sees it; `obstacles` are those of its transaction. */
export const toCommit = (
  { shard, connection, sawWrites, lastWrite = 0 }: Branch<ServerConnection>,
  obstacles: NotedObstacles | null,
): CommitBranch => ({
  connection,
  sawOnlyReads: !sawWrites || connection.isStandby,
  lastWrite,
  isObstructed: obstacles !== null && obstacles.on(shard) !== null,
});
