// Pure.
/** The options of `auth`, of `console`, and of how many connections may be on their way in. */
import { HOUR, MINUTE, MS, type OptionSpec, SECOND } from "./optionSpec.ts";

/**
 * What is asked of the shard about a user: name, secret, and when that expires. An expired password is no password;
 * that it expires while it is cached is seen by the third column.
 */
export const AUTH_QUERY =
  "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END, rolvaliduntil " +
  "FROM pg_authid WHERE rolname = $1 AND rolcanlogin";

export const AUTH_OPTIONS: readonly OptionSpec[] = [
  {
    path: "auth.method",
    type: "choice",
    default: "scram-sha-256",
    choices: ["scram-sha-256", "md5", "password", "cert", "peer", "trust", "hba"],
    isLive: true,
    says: "How clients prove who they are; hba: the rules of auth.hba_file say how. See docs/authentication.md.",
  },
  {
    path: "auth.trust_loopback",
    type: "boolean",
    default: false,
    isLive: true,
    says: "Whether clients on a loopback address need no password.",
  },
  {
    path: "auth.allow_clear_text",
    type: "boolean",
    default: false,
    isLive: true,
    says: "Whether the method password is also taken from clients on other machines whose connection is not encrypted.",
  },
  {
    path: "auth.hba_file",
    type: "text",
    isOptional: true,
    isLive: true,
    says: "A file with the syntax of PostgreSQL's pg_hba.conf, for the method hba.",
  },
  {
    path: "auth.ident_file",
    type: "text",
    isOptional: true,
    isLive: true,
    says: "A file with the syntax of PostgreSQL's pg_ident.conf, for map= in auth.hba_file.",
  },
  {
    path: "auth.users_file",
    type: "text",
    isOptional: true,
    isLive: true,
    says: "A file with the syntax of PgBouncer's userlist.txt: users that are not in `users`. It is read again when it changes.",
  },
  {
    path: "auth.query",
    type: "text",
    default: AUTH_QUERY,
    isLive: true,
    says: "What a shard is asked about a user who is in neither: $1 is the name; columns are name, secret and, if there is a third, when it expires. search_path is pg_catalog.",
  },
  {
    path: "auth.query_user",
    type: "text",
    isOptional: true,
    says: "The role that asks; without it no shard is asked.",
  },
  {
    path: "auth.query_password",
    type: "text",
    isOptional: true,
    isSecret: true,
    says: "Its password.",
  },
  {
    path: "auth.query_shard",
    type: "text",
    isOptional: true,
    says: "The shard that is asked; the first if not given.",
  },
  {
    path: "auth.query_database",
    type: "text",
    isOptional: true,
    says: "The database there; that of the shard if not given.",
  },
  {
    path: "auth.query_cache",
    type: "duration",
    unit: MS,
    default: 10 * SECOND,
    min: 0,
    max: HOUR,
    isLive: true,
    says: "How long an answer is kept: for so long an old password may still be good; 0 keeps none. A login that fails forgets it.",
  },
  {
    path: "auth.query_timeout",
    type: "duration",
    unit: MS,
    default: 5 * SECOND,
    min: 1,
    max: MINUTE,
    isLive: true,
    says: "How long asking may take, connecting and queueing included; then the login fails.",
  },
  {
    path: "auth.query_connections",
    type: "integer",
    default: 2,
    min: 1,
    max: 100,
    says: "How many connections ask at once.",
  },
  {
    path: "auth.pass_through",
    type: "boolean",
    default: false,
    says: "Whether pgxa logs in to the shard as the client's own user, with what the client has proved (its SCRAM keys, or its password); in front of one shard. Each user then has pools of its own.",
  },
  {
    path: "auth.failures_max",
    type: "integer",
    default: 100,
    min: 0,
    max: 1_000_000,
    isLive: true,
    says: "How many logins from one address (of IPv6: one /64) may fail within auth.failures_window before more are refused unheard; 0 is no limit.",
  },
  {
    path: "auth.failures_window",
    type: "duration",
    unit: MS,
    default: MINUTE,
    min: SECOND,
    max: 24 * HOUR,
    isLive: true,
    says: "The time within which they count.",
  },
  {
    path: "auth.failures_exempt_local",
    type: "boolean",
    default: false,
    isLive: true,
    says: "Whether that limit is not for loopback addresses and Unix sockets.",
  },

  {
    path: "console.admin_users",
    type: "list",
    isOptional: true,
    isLive: true,
    says: "Who may use the console (the databases pgxa and pgbouncer) and all of its commands; names with commas in between.",
  },
  {
    path: "console.stats_users",
    type: "list",
    isOptional: true,
    isLive: true,
    says: "Who may use SHOW there and nothing else.",
  },

  {
    path: "limits.handshakes_max",
    type: "integer",
    default: 2_000,
    min: 1,
    max: 100_000,
    isLive: true,
    says: "How many connections may be open that have not proved who they are. For one more the oldest of the address that has the most gives way.",
  },
  {
    path: "limits.handshakes_per_address_max",
    type: "integer",
    default: 1_000,
    min: 1,
    max: 100_000,
    isLive: true,
    says: "How many of them one address may have (of IPv6: one /64). For one more its oldest gives way.",
  },
];
