/**
 * The file of a Unix socket: where it is, and whether its place is free.
 *
 * A process that was killed leaves its file behind; nobody listens there, and it is replaced. One that answers belongs to
 * somebody who is alive, and is left alone; so is a file that is no socket.
 */
import { lstatSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { Fault } from "../base/fault.ts";

/** `.s.PGSQL.PORT`, where libpq looks for it. */
export const socketPath = (directory: string, port: number): string => join(directory, `.s.PGSQL.${port}`);

/** Removes the file that a dead process left at `path`; rejects with a Fault (`listen.unix_taken`) if it is not that. */
export async function clearSocketPath(path: string): Promise<void> {
  const file = lstatSync(path, { throwIfNoEntry: false });
  if (file === undefined) return;
  if (!file.isSocket()) throw taken(path, "There is a file that is no socket.");
  if (!(await isRefused(path))) throw taken(path, "Another process listens there.");
  unlinkSync(path);
}

/** Whether the system says for sure that nobody listens. */
function isRefused(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once("connect", () => {
      socket.destroy();
      resolve(false);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "ECONNREFUSED"));
  });
}

const taken = (path: string, detail: string): Fault =>
  new Fault("listen.unix_taken", { message: `cannot listen on the Unix socket ${path}`, detail });
