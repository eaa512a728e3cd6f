/**
 * CancelRequest: a connection of its own that names a backend and its secret, and is closed by the server.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */
import { connect } from "node:net";
import type { BackendPid } from "../base/brands.ts";
import { cancelRequest } from "../wire/frontendWriters.ts";

/**
 * Sends the request and resolves when the server has closed the connection, which it does after it has signalled
 * the backend, or when `timeoutMs` is up. Never rejects: a cancel is a wish.
 */
export function sendCancelRequest(
  host: string,
  port: number,
  pid: BackendPid,
  secret: Buffer,
  timeoutMs: number,
): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.setTimeout(timeoutMs, () => socket.destroy());
    socket.on("connect", () => socket.end(cancelRequest(pid, secret)));
    socket.on("data", () => {});
    socket.on("error", () => {});
    socket.on("close", () => resolve());
  });
}
