// Pure.
/** The options of `metrics` beyond where it listens. */
import type { OptionSpec } from "./optionSpec.ts";

export const METRICS_OPTIONS: readonly OptionSpec[] = [
  {
    path: "metrics.pgbouncer_names",
    type: "boolean",
    default: false,
    says: "Whether /metrics also has the names of pgbouncer_exporter, for dashboards that were made for it.",
  },
];
