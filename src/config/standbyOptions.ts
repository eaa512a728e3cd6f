// Pure.
/** The options of `standbys`. */
import { HOUR, MS, type OptionSpec, SECOND } from "./optionSpec.ts";

export const STANDBY_OPTIONS: readonly OptionSpec[] = [
  {
    path: "standbys.reads",
    type: "choice",
    default: "off",
    choices: ["off", "hinted", "read_only"],
    says: "What a shard's standbys may answer: nothing; what is hinted, by /* pgxa: standby */ or SET pgxa.standby = on; or READ ONLY transactions, too.",
  },
  {
    path: "standbys.lag_max",
    type: "duration",
    unit: MS,
    default: SECOND,
    min: 1,
    max: 24 * HOUR,
    says: "How far a standby may have been behind when it was last asked (health.interval); one that is further behind, or not known to be closer, is not used.",
  },
  {
    path: "standbys.fallback",
    type: "choice",
    default: "primary",
    choices: ["primary", "refuse"],
    says: "What happens where no standby may be used: the primary answers, or the statement is refused with 57P03.",
  },
  {
    path: "standbys.pool_max",
    type: "integer",
    isOptional: true,
    min: 1,
    max: 10_000,
    says: "How many server connections there may be to each standby for each database; by default as many as to the primary.",
  },
];
