/** The disk of this machine, as decision logs use it. */
import { fdatasync, ftruncate, writeSync } from "node:fs";
import { type FileHandle, mkdir, open, readdir, readFile, rename, rmdir, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import type { LogDisk, LogFile, SyncKind } from "./logDisk.ts";
import { takeOwnership } from "./ownerLock.ts";

export const NODE_DISK: LogDisk = {
  list: (directory) => readdir(directory),
  read: (path) => readFile(path),
  async create(path) {
    return new NodeFile(await open(path, "ax", 0o600));
  },
  rename,
  remove: unlink,
  makeDirectory: (path) => mkdir(path, { mode: 0o700 }),
  removeDirectory: (path) => rmdir(path),
  syncDirectory,
  async own(directory) {
    await makeDurably(directory);
    return takeOwnership(directory);
  },
};

class NodeFile implements LogFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  write(bytes: Uint8Array): number {
    return writeSync(this.#handle.fd, bytes);
  }

  sync(kind: SyncKind): Promise<void> {
    if (kind === "fdatasync") return dataSynced(this.#handle.fd);
    return kind === "fsync" ? this.#handle.sync() : Promise.resolve();
  }

  truncate(bytes: number): Promise<void> {
    return promisify(ftruncate)(this.#handle.fd, bytes);
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** As the handle's own `datasync`, for a few microseconds less: every decision waits for it. */
const dataSynced = (fd: number): Promise<void> =>
  new Promise((resolve, reject) => {
    fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
  });

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A directory is found after a crash only if those above it that are new are durable too. */
async function makeDurably(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = directory; ; made = dirname(made)) {
    await syncDirectory(dirname(made));
    if (made === first) return;
  }
}
