/**
 * CancelRequest: a connection of its own that names a backend and its secret, and is closed by the server.
 *
 * It goes the way of the connection whose statement it ends: encrypted if that is, since who reads the secret can cancel.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */
import type { BackendPid } from "../base/brands.ts";
import type { Clock } from "../base/environment.ts";
import type { ShardConfig } from "../config/config.ts";
import { cancelRequest } from "../wire/frontendWriters.ts";
import { openLink } from "./shardLink.ts";

export interface CancelTarget {
  readonly shard: ShardConfig;
  readonly isEncrypted: boolean;
  readonly pid: BackendPid;
  readonly secret: Buffer;
}

const BUFFER_BYTES = 512;

/**
 * Sends the request and resolves when the server has closed the connection, which it does after it has signalled
 * the backend, or when `timeoutMs` is up. Never rejects: a cancel is a wish.
 */
export function sendCancelRequest(
  { shard, isEncrypted, pid, secret }: CancelTarget,
  clock: Clock,
  timeoutMs: number,
): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      timer.cancel();
      stream.destroy();
      resolve();
    };
    const timer = clock.after(timeoutMs, over);
    const owner = { onChunk() {}, onDrain() {}, onClosed: over };
    const stream = openLink(shard, isEncrypted ? "tls" : "plain", owner, BUFFER_BYTES, {
      onOpen: () => void stream.write(cancelRequest(pid, secret)),
      onFailed: over,
    });
  });
}
