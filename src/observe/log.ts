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
  | "config.reloaded"
  | "config.refused"
  | "config.set"
  | "tls.loaded"
  | "tls.reload_failed"
  | "client.connected"
  | "client.refused"
  | "auth.failed"
  | "auth.query_failed"
  | "auth.users_file_failed"
  | "server.connected"
  | "server.closed"
  | "server.lost"
  | "shard.state"
  | "shard.primary"
  | "shard.misfit"
  | "breaker.state"
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
  | "heuristic.decided"
  | "heuristic.confirmed"
  | "heuristic.contradicted"
  | "heuristic.review_failed"
  | "listen.lost"
  | "listen.restored"
  | "log.opened"
  | "log.tail_cut"
  | "log.damaged"
  | "log.failed"
  | "log.full"
  | "log.resumed"
  | "log.rotation_failed"
  | "log.adopted"
  | "log.adopt_failed"
  | "restart.began"
  | "restart.ignored"
  | "restart.failed"
  | "restart.taken_over"
  | "restart.successor_lost"
  | "restart.client_kept"
  | "restart.finished"
  | "lease.taken"
  | "lease.failed"
  | "lease.restored"
  | "owner.expired"
  | "worker.started"
  | "worker.ended"
  | "worker.failed";

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

export interface Log {
  debug(event: LogEvent, fields?: object): void;
  info(event: LogEvent, fields?: object): void;
  warn(event: LogEvent, fields?: object): void;
  error(event: LogEvent, fields?: object): void;
  /** From now on what is below `level` is not written. */
  setLevel(level: LogLevel): void;
}

/** A log that writes JSON lines to `destination` (default: standard error), each with what is in `base`. */
export function createLog(
  level: LogLevel,
  destination: DestinationStream = process.stderr,
  base: object | null = null,
): Log {
  const logger: Logger = pino({ level, base, timestamp: pino.stdTimeFunctions.isoTime }, destination);
  const at =
    (write: (fields: object) => void) =>
    (event: LogEvent, fields: object = {}) =>
      write({ event, ...fields });
  return {
    debug: (event, fields = {}) => {
      if (logger.isLevelEnabled("debug")) logger.debug({ event, ...fields });
    },
    info: at((fields) => logger.info(fields)),
    warn: at((fields) => logger.warn(fields)),
    error: at((fields) => logger.error(fields)),
    setLevel: (next) => {
      logger.level = next;
    },
  };
}

/** A log that writes nothing. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, setLevel() {} };
