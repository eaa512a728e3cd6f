// Pure.
/** The options of `restart`, the online one, and the pid file that goes with it. */
import { HOUR, MINUTE, MS, type OptionSpec, SECOND } from "./optionSpec.ts";

export const RESTART_OPTIONS: readonly OptionSpec[] = [
  {
    path: "pid_file",
    type: "text",
    isOptional: true,
    says: "A file that pgxa writes its process id to; after an online restart it has the new process's.",
  },
  {
    path: "restart.start_timeout",
    type: "duration",
    unit: MS,
    default: 30 * SECOND,
    min: 100,
    max: 10 * MINUTE,
    says: "How long a new process may take, in an online restart, until it can serve clients; after that the old one goes on.",
  },
  {
    path: "restart.timeout",
    type: "duration",
    unit: MS,
    default: HOUR,
    min: 100,
    max: 7 * 24 * HOUR,
    says: "How long the old process of an online restart stays for clients that cannot be handed over; after that they are ended with 57P01 as soon as they are in no transaction.",
  },
];
