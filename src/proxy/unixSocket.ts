/**
 * The file of a Unix socket: where it is, whether its place is free, and whose it is.
 *
 * A process that was killed leaves its file behind; nobody listens there, and it is replaced. One that answers belongs to
 * somebody who is alive, and is left alone; so is a file that is no socket.
 *
 * The socket is bound under a name of the process's own, and renamed when it is ready: so it never has another mode than it
 * should, and the system library, which deletes the name it has bound when the socket is closed, does not find it. For
 * after an online restart the file is another process's.
 */
import { chmodSync, lstatSync, renameSync, rmSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { Fault } from "../base/fault.ts";

/** `.s.PGSQL.PORT`, where libpq looks for it. */
export const socketPath = (directory: string, port: number): string => join(directory, `.s.PGSQL.${port}`);

/** Somebody's own file, known by its inode: a later one at the same place is somebody else's. */
export interface SocketFile {
  readonly path: string;
  readonly inode: number;
}

/**
 * Puts the file of a new socket at `path`; `listen` binds it to the path it is given, which is not longer. Rejects with a
 * Fault (`listen.unix_taken`) if the place is not free, or with the system's error.
 */
export async function bindSocketFile(
  path: string,
  mode: number,
  listen: (own: string) => Promise<void>,
): Promise<SocketFile> {
  await clearSocketPath(path);
  const port = path.slice(path.lastIndexOf(".") + 1);
  const own = join(dirname(path), `.s.${process.pid.toString(36)}.${port}`);
  rmSync(own, { force: true });
  await listen(own);
  chmodSync(own, mode);
  renameSync(own, path);
  return { path, inode: lstatSync(path).ino };
}

/** The file at `path` is this process's from now on, and gets `mode`. Throws the system's error if it is not there. */
export function adoptSocketFile(path: string, mode: number): SocketFile {
  chmodSync(path, mode);
  return { path, inode: lstatSync(path).ino };
}

export const isInPlace = ({ path, inode }: SocketFile): boolean =>
  lstatSync(path, { throwIfNoEntry: false })?.ino === inode;

/** Removes the file, if it is still there and the same. */
export function removeSocketFile(file: SocketFile): void {
  if (isInPlace(file)) rmSync(file.path, { force: true });
}

/** Removes the file that a dead process left at `path`; rejects with a Fault (`listen.unix_taken`) if it is not that. */
async function clearSocketPath(path: string): Promise<void> {
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
