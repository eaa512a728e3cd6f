/** Where a shard's primary is: what everybody asks who opens a session there for pgxa's own use. */
import type { Endpoint, ShardConfig } from "../../config/config.ts";

export interface ShardRoute {
  /** Where the primary is, as far as is known. */
  readonly endpoint: Endpoint;
  /** Whether it has stopped answering, so that asking it would only take time. */
  readonly isSilent: boolean;
  /** A session there got no answer in time; the monitor looks at once. */
  noteSilence(timeoutMs: number): void;
}

/** Of a shard that nobody watches. */
export const fixedRoute = (endpoint: Endpoint): ShardRoute => ({
  endpoint,
  isSilent: false,
  noteSilence: () => {},
});

/** `shard` at its primary. */
export function atPrimary(shard: ShardConfig, { endpoint }: ShardRoute): ShardConfig {
  const { host, port } = endpoint;
  return { ...shard, host, port };
}
