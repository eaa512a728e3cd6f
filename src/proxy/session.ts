/** What every kind of client session is made of, and what the listener asks of it. */
import type { Environment } from "../base/environment.ts";
import type { Fault } from "../base/fault.ts";
import type { FaultPointListener } from "../base/faultPoint.ts";
import type { Config, PoolMode } from "../config/config.ts";
import type { DeadlockDetector } from "../deadlock/detector.ts";
import type { Participant } from "../deadlock/participant.ts";
import type { Log } from "../observe/log.ts";
import type { UserTraffic } from "../observe/traffic.ts";
import type { Admission } from "../pool/admission.ts";
import type { ByteStream } from "../pool/byteStream.ts";
import type { NotificationHub } from "../pool/notificationHub.ts";
import type { LeasePool } from "../pool/shardPools.ts";
import type { Share } from "../pool/share.ts";
import type { PinReason } from "../routing/plan.ts";
import type { Router } from "../routing/router.ts";
import type { SessionLook } from "../routing/sessionLook.ts";
import type { StandbyLook } from "../routing/standbyLook.ts";
import type { CommitProtocol } from "../txn/commitProtocol.ts";
import type { Phase } from "./activity.ts";
import type { SignalKind } from "./backendSignals.ts";
import type { ClientParameters } from "./clientParameters.ts";
import type { ClientSide } from "./clientSide.ts";
import type { PinCounts } from "./pins.ts";
import type { Rest } from "./rest.ts";
import type { StatementNames } from "./statementNames.ts";

/** What several shards need besides. */
export interface Sharding {
  readonly router: Router;
  readonly commits: CommitProtocol;
  readonly admission: Admission;
  readonly detector: DeadlockDetector;
  /** Has the configuration that is in force now. */
  readonly live: { readonly config: Config };
}

/** The long-lived parts that sessions share. */
export interface SessionParts {
  readonly config: Config;
  /** How long its client keeps a server connection. */
  readonly mode: PoolMode;
  readonly environment: Environment;
  readonly log: Log;
  /** In the order of `config.shards`. */
  readonly pools: readonly LeasePool[];
  /** In the same order: who listens to channels for the clients. */
  readonly hubs: readonly NotificationHub[];
  /** Who waits for sessions to come to rest. */
  readonly rest: Rest;
  readonly statementNames: StatementNames;
  /** How often clients were pinned, by reason. */
  readonly pinCounts: PinCounts;
  /** Where the clients of this user in this database are counted. */
  readonly traffic: UserTraffic;
  readonly look: SessionLook;
  /** Says what may be read from a standby; null: nothing may. */
  readonly standbys: StandbyLook | null;
  /** Null with one shard. */
  readonly sharding: Sharding | null;
  readonly faultPoint: FaultPointListener;
  /** Cancels what runs for the client of that process id, or ends it; false if there is no such client, here or elsewhere. */
  signal(kind: SignalKind, pid: number): boolean | Promise<boolean>;
  onEnd(session: Session): void;
}

/** A client that has just come in. */
export interface Entrant {
  /** The process id that it was given. */
  readonly pid: number;
  readonly stream: ByteStream;
  readonly parameters: ClientParameters;
  readonly share: Share;
}

/** A server connection that a client keeps for state that cannot be carried. */
export interface PinnedConnection {
  readonly shard: string;
  readonly pid: number;
  readonly reasons: readonly PinReason[];
  readonly pinnedMs: number;
}

export interface Session {
  readonly client: ClientSide;
  /** Whether the client is in no transaction, and no answer is under way. */
  readonly isQuiet: boolean;
  pins(): readonly PinnedConnection[];
  /** Cancels what runs for the client, on every shard it runs on. */
  cancel(): void;
  /** What the deadlock detector sees of it; null where that has nothing to find. */
  readonly participant: Participant | null;
  readonly phase: Phase;
  /** Cancels what runs for the client, for its time is up. */
  timeOutStatement(): void;
  /** Ends the session with a FATAL error. */
  terminate(fault: Fault): void;
}
