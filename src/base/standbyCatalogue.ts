/** The part of the catalogue about reads from standbys. */
import { spec } from "./faultSpec.ts";

export const STANDBY_FAULTS = {
  "pool.no_standby": spec(
    "57P03",
    "ERROR",
    "shard",
    "server",
    "no standby of the shard may be read from now",
    "SET pgxa.standby = off has the primary answer; so does standbys.fallback: primary in the configuration of pgxa.",
  ),
  "session.on_standby": spec(
    "25006",
    "ERROR",
    "statement",
    "client",
    "this cannot be done on a standby",
    "Begin the transaction READ WRITE, or SET pgxa.standby = off before it.",
  ),
};
