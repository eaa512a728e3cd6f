// Pure.
/** The part of the catalogue about operators who say how a transaction in doubt is to end. */
import type { FaultSpec } from "./fault.ts";
import { spec } from "./faultSpec.ts";

const refused = (sqlstate: string, message: string, hint?: string): FaultSpec =>
  spec(sqlstate, "ERROR", "statement", "operator", message, hint);

export const RESOLVE_FAULTS = {
  "resolve.no_gtrid": refused(
    "22023",
    "this is not the name of a transaction of this fleet",
    "SHOW IN_DOUBT has the names; put quotes around one on the console.",
  ),
  "resolve.nothing_prepared": refused(
    "42704",
    "nothing of this transaction is prepared",
    "There is nothing to resolve. SHOW HEURISTICS has what was resolved by operators.",
  ),
  "resolve.unreachable": refused(
    "08001",
    "nothing of this transaction was found, and not every shard could be asked",
    "Try again when the shards answer.",
  ),
  "resolve.running": refused(
    "55006",
    "pgxa is committing this transaction now",
    "It ends by itself. SHOW IN_DOUBT tells if it does not.",
  ),
  "resolve.owner_alive": refused("55006", "somebody who is alive has this transaction in hand"),
  "resolve.decided": refused(
    "55000",
    "the transaction is decided otherwise",
    "A decision that stands cannot be overruled; pgxa applies it as soon as the shards let it.",
  ),
  "resolve.restart_first": refused(
    "55000",
    "the next start of pgxa will know what was decided",
    "Mend the disk of transaction.log_directory and start pgxa again.",
  ),
  "resolve.not_recorded": refused("58030", "the outcome could not be recorded, and nothing was done"),
  "resolve.not_possible": refused(
    "0A000",
    "there is nothing to resolve in front of one shard",
    "Transactions over several shards are what can be in doubt.",
  ),
} as const satisfies Record<string, FaultSpec>;
