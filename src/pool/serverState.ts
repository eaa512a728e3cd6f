// Pure.
/**
 * The states of a server connection, and the only ways between them.
 *
 *     connecting -> authenticating -> idle <-> leased
 *          \______________\____________\________\____-> closed
 *
 * `idle`: logged in, outside a transaction, owing no reply; the only state from which a lease may be given.
 * `leased`: lent to one client. Whatever goes wrong, a connection never comes back from `closed`.
 * The state names are the metric labels and the `SHOW` column.
 */
import { legal } from "../base/invariant.ts";

export type ServerState = "connecting" | "authenticating" | "idle" | "leased" | "closed";

export type ServerEvent =
  /** The TCP connection stands. */
  | "connected"
  /** ReadyForQuery after login. */
  | "loggedIn"
  | "checkedOut"
  /** Returned clean: outside a transaction, owing nothing. */
  | "checkedIn"
  /** The stream ended, or pgxa gave the connection up. */
  | "lost";

type Cell = ServerState | "ignored" | "illegal";

export const SERVER_TABLE: Readonly<Record<ServerState, Readonly<Record<ServerEvent, Cell>>>> = {
  connecting: {
    connected: "authenticating",
    loggedIn: "illegal",
    checkedOut: "illegal",
    checkedIn: "illegal",
    lost: "closed",
  },
  authenticating: {
    connected: "illegal",
    loggedIn: "idle",
    checkedOut: "illegal",
    checkedIn: "illegal",
    lost: "closed",
  },
  idle: {
    connected: "illegal",
    loggedIn: "illegal",
    checkedOut: "leased",
    checkedIn: "illegal",
    lost: "closed",
  },
  leased: {
    connected: "illegal",
    loggedIn: "illegal",
    checkedOut: "illegal",
    checkedIn: "idle",
    lost: "closed",
  },
  closed: {
    connected: "ignored",
    loggedIn: "ignored",
    checkedOut: "illegal",
    checkedIn: "ignored",
    lost: "ignored",
  },
};

/** The state after `event`; throws on an event that must not happen there. */
export function serverStep(state: ServerState, event: ServerEvent): ServerState {
  const cell = legal(SERVER_TABLE[state][event], "server connection", event, state);
  return cell === "ignored" ? state : cell;
}
