// Pure.
/** The options of `shutdown`. */
import { HOUR, MS, type OptionSpec, SECOND } from "./optionSpec.ts";

export const SHUTDOWN_OPTIONS: readonly OptionSpec[] = [
  {
    path: "shutdown.delay",
    type: "duration",
    unit: MS,
    default: 0,
    min: 0,
    max: HOUR,
    isLive: true,
    says: "How long pgxa goes on as before after SIGTERM, while /ready already says no, so that load balancers notice before anybody is turned away.",
  },
  {
    path: "shutdown.timeout",
    type: "duration",
    unit: MS,
    default: 25 * SECOND,
    min: 0,
    max: 24 * HOUR,
    isLive: true,
    says: "How long transactions may take to end after SIGTERM; clients that are in none are told 57P01 at once, and the others when theirs is over or this time is.",
  },
];
