// Pure.
/** How many processes serve clients. */
import type { OptionSpec } from "./optionSpec.ts";

/** As many as there is room for in the process ids that clients are told. */
export const WORKERS_MAX = 64;

export const WORKER_OPTIONS: readonly OptionSpec[] = [
  {
    path: "workers",
    type: "integer",
    default: 1,
    min: 1,
    max: WORKERS_MAX,
    word: "auto",
    says: "How many processes serve clients, on one port and with pools, limits and console in common; auto is one for each processor. One is best for up to two processors.",
  },
];
