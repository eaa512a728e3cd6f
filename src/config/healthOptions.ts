// Pure.
/** The options of `health`, and what says on which hosts a shard may be. */
import { HOUR, MINUTE, MS, type OptionSpec, SECOND } from "./optionSpec.ts";

export const HOSTS_OPTION: OptionSpec = {
  path: "shards[].hosts",
  type: "text",
  isOptional: true,
  says: "Instead of host: all servers of the shard, as host or host:port, with commas between them. One of them is the primary, and pgxa finds out which.",
};

export const HEALTH_OPTIONS: readonly OptionSpec[] = [
  {
    path: "health.interval",
    isLive: true,
    type: "duration",
    unit: MS,
    default: 2 * SECOND,
    min: 100,
    max: HOUR,
    says: "How often each server of a shard is asked how it is; more often while something is wrong with it.",
  },
  {
    path: "health.timeout",
    isLive: true,
    type: "duration",
    unit: MS,
    default: 2 * SECOND,
    min: 10,
    max: MINUTE,
    says: "How long a server may take to answer that, or the check of an idle connection.",
  },
  {
    path: "health.failures",
    isLive: true,
    type: "integer",
    default: 3,
    min: 1,
    max: 100,
    says: "After how many failures in a row a server counts as down, and connecting to a shard is not tried at once any more.",
  },
  {
    path: "health.backoff_min",
    isLive: true,
    type: "duration",
    unit: MS,
    default: 100,
    min: 1,
    max: MINUTE,
    says: "The shortest pause before a server that is suspect or down is tried again.",
  },
  {
    path: "health.backoff_max",
    isLive: true,
    type: "duration",
    unit: MS,
    default: SECOND,
    min: 1,
    max: HOUR,
    says: "The longest.",
  },
  {
    path: "health.give_up",
    isLive: true,
    type: "duration",
    unit: MS,
    default: 10 * SECOND,
    min: 0,
    max: HOUR,
    says: "How long a server may be down before the connections that clients still hold to it are given up, and their transactions fail with 08006.",
  },
  {
    path: "pool.check_after",
    type: "duration",
    unit: MS,
    default: 30 * SECOND,
    min: 0,
    max: 24 * HOUR,
    isLive: true,
    says: "A server connection that was idle for longer is checked by an empty query before it is lent.",
  },
];
