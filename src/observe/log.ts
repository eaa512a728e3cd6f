/**
 * Log events: one JSON object a line (pino), each with an `event` from one union.
 *
 * No SQL text, parameter or secret is ever a field. What is logged is ids, durations in ms and reasons.
 */
import { type DestinationStream, type Logger, pino } from "pino";

export type LogEvent =
  | "proxy.listening"
  | "proxy.draining"
  | "proxy.stopped"
  | "client.connected"
  | "client.refused"
  | "server.connected"
  | "server.closed"
  | "server.lost"
  | "txn.aborted"
  | "txn.unknown"
  | "branch.fenced"
  | "deadlock.broken"
  | "deadlock.lock_timeout"
  | "deadlock.probe_failed"
  | "resolver.resolved"
  | "resolver.failed"
  | "resolver.evidence_lost"
  | "resolver.in_doubt"
  | "listen.lost"
  | "listen.restored"
  | "log.opened"
  | "log.tail_cut"
  | "log.damaged"
  | "log.failed"
  | "lease.taken"
  | "lease.failed"
  | "lease.restored"
  | "owner.expired";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

export interface Log {
  debug(event: LogEvent, fields?: object): void;
  info(event: LogEvent, fields?: object): void;
  warn(event: LogEvent, fields?: object): void;
  error(event: LogEvent, fields?: object): void;
}

/** A log that writes JSON lines to `destination` (default: standard error). */
export function createLog(level: LogLevel, destination: DestinationStream = process.stderr): Log {
  const logger: Logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  const at =
    (write: (fields: object) => void) =>
    (event: LogEvent, fields: object = {}) =>
      write({ event, ...fields });
  return {
    debug: at((fields) => logger.debug(fields)),
    info: at((fields) => logger.info(fields)),
    warn: at((fields) => logger.warn(fields)),
    error: at((fields) => logger.error(fields)),
  };
}

/** A log that writes nothing. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
