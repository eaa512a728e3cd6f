/**
 * Takes the connections of a `net.Server` as Node's own objects for open sockets.
 *
 * The server makes a Socket of each, which can't be asked to read into a buffer that is used again; so the object would
 * have to move to a second Socket, and the first to be thrown away, at the price of half a login. Where the server's own
 * object lets itself be asked, no first Socket is made.
 */
import type { Server, Socket } from "node:net";
import { handleOf, type StreamHandle } from "./byteStream.ts";

type OnConnection = (this: unknown, status: number, handle: StreamHandle | undefined) => void;

/** What `server`, which listens, accepts from now on goes to `take`; its own listeners hear of none but errors. */
export function takeHandles(server: Server, take: (handle: StreamHandle) => void): void {
  const listening = handleOf(server) as { onconnection?: OnConnection } | null;
  const own = listening?.onconnection;
  if (!listening || own === undefined) return; // then they come as Sockets
  listening.onconnection = function (status, handle) {
    if (status === 0 && handle !== undefined) take(handle);
    else own.call(this, status, handle);
  };
}

/** The same of one that came as a Socket, with `pauseOnConnect`; null if it has gone already. */
export function takeHandle(accepted: Socket): StreamHandle | null {
  const handle = handleOf(accepted);
  (accepted as unknown as { _handle: null })._handle = null;
  accepted.destroy(); // an empty shell now; the server stops counting it
  return handle;
}
