/** The part of the catalogue about what operators ask for, and what it means for clients. */
import type { FaultSpec } from "./fault.ts";
import { spec } from "./faultSpec.ts";

const refused = (sqlstate: string, message: string, hint?: string): FaultSpec =>
  spec(sqlstate, "ERROR", "statement", "operator", message, hint);

export const OPERATION_FAULTS = {
  "login.database_disabled": spec(
    "55000",
    "FATAL",
    "session",
    "operator",
    "database is not currently accepting connections",
    "An operator has disabled it; ENABLE on the console of pgxa lets clients in again.",
  ),
  "fleet.gone": spec(
    "57P01",
    "ERROR",
    "statement",
    "proxy",
    "another process of pgxa that this needs is gone",
    "Try again: pgxa starts it anew.",
  ),
  "fleet.half_done": spec(
    "58000",
    "ERROR",
    "statement",
    "operator",
    "not all workers have done it",
    "Mend what the DETAIL says, and give the command again: where it was done it does no harm.",
  ),
  "console.unknown_command": spec("42601", "ERROR", "statement", "client", "unknown command of the console"),
  "console.not_permitted": spec(
    "42501",
    "ERROR",
    "statement",
    "client",
    "this user may only look",
    "Log in as a user who may administer pgxa.",
  ),
  "console.unknown_option": spec(
    "42704",
    "ERROR",
    "statement",
    "client",
    "unrecognized configuration parameter",
    "SHOW CONFIG has the options.",
  ),
  "console.not_live": spec(
    "55P02",
    "ERROR",
    "statement",
    "client",
    "parameter cannot be changed without restarting pgxa",
    "SHOW CONFIG says which options are changeable.",
  ),
  "console.no_operations": spec("0A000", "ERROR", "statement", "operator", "this is not possible here"),
  "console.parameters": spec(
    "08P01",
    "ERROR",
    "statement",
    "client",
    "commands of the console take no parameters",
    "Write the values into the command.",
  ),
  "login.nothing_to_pass": spec(
    "28000",
    "FATAL",
    "session",
    "operator",
    "this login leaves nothing to log in to the shard with",
    "With auth.pass_through clients log in by scram-sha-256 or password.",
  ),
  "console.no_database": refused("3D000", "there is no such database", "SHOW DATABASES has their names."),
  "console.no_client": refused("42704", "there is no such client", "SHOW CLIENTS has their ids."),
  "console.not_paused": refused("55000", "this database is not paused"),
  "console.no_suspend": refused(
    "0A000",
    "pgxa does not suspend traffic within a transaction",
    "PAUSE waits for transactions to end; SIGUSR2 restarts pgxa without dropping clients.",
  ),
  "console.no_file": refused("55000", "pgxa runs without a configuration file"),
  "console.resumed": refused("55000", "RESUME came before the last transaction had ended"),
};
