/**
 * Every error pgxa can report, with its stable id. docs/errors.md is this table (a test compares them).
 *
 * SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
import type { FaultSpec } from "./fault.ts";

const spec = (
  sqlstate: string,
  severity: FaultSpec["severity"],
  scope: FaultSpec["scope"],
  blame: FaultSpec["blame"],
  message: string,
  hint?: string,
): FaultSpec => ({ sqlstate, severity, scope, blame, message, ...(hint === undefined ? {} : { hint }) });

export const CATALOGUE = {
  // wire
  "protocol.violation": spec("08P01", "FATAL", "session", "client", "protocol violation"),
  "protocol.malformed": spec("08P01", "ERROR", "statement", "client", "invalid message format"),
  "protocol.message_too_long": spec("08P01", "FATAL", "session", "client", "message is too long"),
  "protocol.unsupported_version": spec(
    "0A000",
    "FATAL",
    "session",
    "client",
    "unsupported frontend protocol",
  ),
  "protocol.server_violation": spec("08P01", "FATAL", "shard", "server", "a shard sent an invalid message"),
  // login
  "login.timeout": spec("08P01", "FATAL", "session", "client", "startup was not completed in time"),
  "login.wrong_password": spec("28P01", "FATAL", "session", "client", "password authentication failed"),
  "login.scram_unsupported": spec(
    "0A000",
    "FATAL",
    "session",
    "client",
    "client asks for a part of SCRAM that is not supported",
  ),
  "login.no_user": spec(
    "28000",
    "FATAL",
    "session",
    "client",
    "no PostgreSQL user name specified in startup packet",
  ),
  "login.not_permitted": spec("28000", "FATAL", "session", "client", "this client may not connect"),
  "login.no_database": spec("3D000", "FATAL", "session", "client", "database does not exist"),
  "login.too_many_clients": spec(
    "53300",
    "FATAL",
    "session",
    "operator",
    "sorry, too many clients already",
    "Raise limits.clients_max in the configuration of pgxa.",
  ),
  "login.replication": spec(
    "0A000",
    "FATAL",
    "session",
    "client",
    "replication connections are not supported",
  ),
  "login.shutting_down": spec(
    "57P01",
    "FATAL",
    "session",
    "operator",
    "terminating connection due to administrator command",
  ),
  // pool
  "pool.queue_full": spec(
    "53300",
    "ERROR",
    "statement",
    "operator",
    "too many clients are queued for a server connection",
    "Raise pool.max or pool.queue_max in the configuration of pgxa, or shorten transactions.",
  ),
  "pool.checkout_timeout": spec(
    "53300",
    "ERROR",
    "statement",
    "operator",
    "no server connection became free in time",
    "Raise pool.max or pool.checkout_timeout in the configuration of pgxa, or shorten transactions.",
  ),
  "pool.connect_failed": spec("08001", "ERROR", "shard", "server", "could not connect to shard"),
  "pool.login_failed": spec("08001", "ERROR", "shard", "operator", "shard refused the login of pgxa"),
  "pool.connection_lost": spec("08006", "ERROR", "shard", "server", "connection to shard was lost"),
  // routing
  "route.unsupported": spec(
    "0A000",
    "ERROR",
    "statement",
    "client",
    "this statement cannot be routed to one shard",
  ),
  "route.no_key": spec(
    "0A000",
    "ERROR",
    "statement",
    "client",
    "the shard key of the statement is not known",
  ),
  "route.many_shards": spec("0A000", "ERROR", "statement", "client", "the statement touches several shards"),
  "route.key_update": spec(
    "0A000",
    "ERROR",
    "statement",
    "client",
    "the shard key of a row cannot be changed",
  ),
  "route.bad_key": spec("22P02", "ERROR", "statement", "client", "invalid value for the shard key"),
  "route.null_key": spec("23502", "ERROR", "statement", "client", "the shard key must not be null"),
  "route.unknown_shard": spec("22023", "ERROR", "statement", "client", "no such shard"),
  "route.unknown_table": spec(
    "0A000",
    "ERROR",
    "statement",
    "client",
    "the table is not in the routing configuration",
  ),
  "route.syntax_error": spec("42601", "ERROR", "statement", "client", "syntax error"),
  "route.unknown_setting": spec(
    "42704",
    "ERROR",
    "statement",
    "client",
    "unrecognized configuration parameter",
  ),
  // session
  "session.failed_transaction": spec(
    "25P02",
    "ERROR",
    "statement",
    "client",
    "current transaction is aborted, commands ignored until end of transaction block",
  ),
  "session.canceled": spec("57014", "ERROR", "statement", "client", "canceling statement due to user request"),
  "session.invalid_value": spec("22023", "ERROR", "statement", "client", "invalid value for parameter"),
  "session.no_statement": spec("26000", "ERROR", "statement", "client", "prepared statement does not exist"),
  "session.duplicate_statement": spec(
    "42P05",
    "ERROR",
    "statement",
    "client",
    "prepared statement already exists",
  ),
  "session.too_many_statements": spec(
    "53400",
    "ERROR",
    "statement",
    "operator",
    "too many prepared statements",
    "Close those not needed any more, or raise limits.statements_max in the configuration of pgxa.",
  ),
  "session.no_portal": spec("34000", "ERROR", "statement", "client", "portal does not exist"),
  "session.unsupported": spec("0A000", "ERROR", "statement", "client", "not supported by pgxa"),
  "session.invalid_encoding": spec(
    "22021",
    "ERROR",
    "statement",
    "client",
    'invalid byte sequence for encoding "UTF8"',
    "pgxa reads statements to route them: use client_encoding UTF8.",
  ),
  "session.no_savepoint": spec("3B001", "ERROR", "statement", "client", "savepoint does not exist"),
  "session.no_transaction": spec(
    "25P01",
    "ERROR",
    "statement",
    "client",
    "there is no transaction in progress",
  ),
  // commit
  "commit.vote_unknown": spec(
    "40000",
    "ERROR",
    "statement",
    "server",
    "the transaction was rolled back: a shard did not answer its PREPARE",
  ),
  "commit.branch_lost": spec(
    "40000",
    "ERROR",
    "statement",
    "server",
    "the transaction was rolled back: the connection to a shard was lost",
  ),
  "console.unknown_command": spec("42601", "ERROR", "statement", "client", "unknown command of the console"),
  "console.simple_only": spec(
    "0A000",
    "ERROR",
    "statement",
    "client",
    "the console takes simple queries only",
    "Send the command without parameters and unprepared, as psql does.",
  ),
  "deadlock.victim": spec("40P01", "ERROR", "statement", "client", "deadlock detected"),
  "deadlock.lock_timeout": spec(
    "55P03",
    "ERROR",
    "statement",
    "client",
    "canceling statement due to lock timeout",
    "Repeat the transaction, or set pgxa.lock_timeout higher.",
  ),
  "commit.log_failed": spec("58030", "ERROR", "process", "operator", "the decision log could not be written"),
  "commit.unknown": spec(
    "08007",
    "ERROR",
    "statement",
    "server",
    "the outcome of the transaction is unknown",
    "Ask the data itself whether the transaction was applied before you repeat it.",
  ),
  // operator
  "config.invalid": spec("F0000", "FATAL", "process", "operator", "the configuration is invalid"),
  "log.owned": spec("F0001", "FATAL", "process", "operator", "the decision log belongs to another process"),
  "log.damaged": spec("XX001", "FATAL", "process", "operator", "the decision log is damaged"),
} as const satisfies Record<string, FaultSpec>;

export type FaultId = keyof typeof CATALOGUE;
