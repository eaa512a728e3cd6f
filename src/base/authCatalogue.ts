/** The part of the catalogue about logins that are refused; each ends the session. */
import type { FaultSpec } from "./fault.ts";
import { spec } from "./faultSpec.ts";

const refused = (sqlstate: string, blame: FaultSpec["blame"], message: string, hint?: string): FaultSpec =>
  spec(sqlstate, "FATAL", "session", blame, message, hint);

export const AUTH_FAULTS = {
  "login.invalid_name": refused("22021", "client", "the name of the user or database is not valid UTF-8"),
  "login.no_rule": refused(
    "28000",
    "client",
    "no pg_hba.conf entry",
    "auth.hba_file in the configuration of pgxa has the rules.",
  ),
  "login.rejected": refused("28000", "client", "pg_hba.conf rejects connection"),
  "login.wrong_peer": refused("28000", "client", "Peer authentication failed"),
  "login.clear_text": refused(
    "28000",
    "client",
    "the password would travel in clear text over the network",
    "Connect with TLS, or set auth.allow_clear_text in the configuration of pgxa.",
  ),
  "login.too_many_failures": refused(
    "28000",
    "client",
    "too many failed logins from this address",
    "Try again later; auth.failures_max and auth.failures_window in the configuration of pgxa say when.",
  ),
  "login.lookup_failed": refused(
    "57P03",
    "server",
    "the users cannot be looked up now",
    "The shard that auth.query asks does not answer as it should; the log of pgxa says why.",
  ),
  "login.gave_way": refused(
    "53300",
    "client",
    "too many connections have not logged in yet",
    "Log in at once after connecting, or raise limits.handshakes_max and limits.handshakes_per_address_max in the configuration of pgxa.",
  ),
  "login.no_console": refused(
    "28000",
    "client",
    "this user may not use the console",
    "List the user in console.admin_users or console.stats_users in the configuration of pgxa.",
  ),
} as const satisfies Record<string, FaultSpec>;
