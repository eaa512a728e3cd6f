/** What a pool has to know of where its connections lead, and tells of them. */
import type { Fault } from "../../base/fault.ts";
import type { HealthConfig } from "../../config/config.ts";

export interface PoolHealth {
  readonly config: HealthConfig;
  /** Whether nothing is wrong: connections are lent without a look. */
  readonly isCalm: boolean;
  /** Why a connection would not even be tried now; null if it would. */
  readonly refusal: Fault | null;
  /** Idle connections that were last heard of before, in monotonic ms, may be dead. */
  readonly suspectedAtMs: number;
  /** Whether connections to `host` may be lent. */
  isCurrent(host: number): boolean;
  /** A connection to `host` ended unasked. */
  noteLost(host: number, reason: string): void;
  watch(listener: HealthListener): () => void;
}

/** Is told what happens to the connections it has. */
export interface HealthListener {
  /** Another server is the primary now, or one must not be used any more. */
  onRerouted?(): void;
  /** Idle connections may be dead without having said so. */
  onSuspected?(): void;
  /** Who waits for a connection is to be told so; the fault is made for each. */
  onRefusing?(fault: () => Fault): void;
  /** The server `host` has been down for too long for anybody to wait for its answers. */
  onGivenUp?(host: number, reason: string): void;
}
