/** The part of the catalogue about reads from standbys. */
import type { FaultSpec } from "./fault.ts";

export const STANDBY_FAULTS = {
  "pool.no_standby": {
    sqlstate: "57P03",
    severity: "ERROR",
    scope: "shard",
    blame: "server",
    message: "no standby of the shard may be read from now",
    hint: "SET pgxa.standby = off has the primary answer; so does standbys.fallback: primary in the configuration of pgxa.",
  },
  "session.on_standby": {
    sqlstate: "25006",
    severity: "ERROR",
    scope: "statement",
    blame: "client",
    message: "this cannot be done on a standby",
    hint: "Begin the transaction READ WRITE, or SET pgxa.standby = off before it.",
  },
} as const satisfies Readonly<Record<string, FaultSpec>>;
