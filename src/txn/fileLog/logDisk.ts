// Pure.
/**
 * What a decision log needs of a disk, as an interface: the real one is nodeDisk.ts, and a simulated one loses what
 * disks lose.
 *
 * What a file holds is durable once `sync` of it has resolved; that it exists, is gone or has another name, once
 * `syncDirectory` has. Before that a crash may keep any of it, or none.
 */

/** How a file is made durable; `none`: it is left to the operating system. */
export type SyncKind = "fsync" | "fdatasync" | "none";

export interface LogFile {
  /**
   * Appends a first part of `bytes`, as far as the page cache, and says how many that were: too little for a thread.
   * Throws the system's error.
   */
  write(bytes: Uint8Array): number;
  /** After an error nobody knows what is durable, not even after a later success. */
  sync(kind: SyncKind): Promise<void>;
  /** Cuts the file off; what is written next comes there. */
  truncate(bytes: number): Promise<void>;
  close(): Promise<void>;
}

export interface OwnerLock {
  release(): Promise<void>;
}

/** Every method rejects with the system's error, which has a `code`. */
export interface LogDisk {
  /** The names in it. */
  list(directory: string): Promise<readonly string[]>;
  read(path: string): Promise<Buffer>;
  /** A new file, to append to; rejects with EEXIST if there is one. */
  create(path: string): Promise<LogFile>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Makes a directory in one that exists. */
  makeDirectory(path: string): Promise<void>;
  /** Rejects if it is not empty. */
  removeDirectory(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
  /**
   * Takes a directory, which is made durably if it is missing, for this process alone. Rejects with `log.owned` if a
   * process that lives has it.
   */
  own(directory: string): Promise<OwnerLock>;
}

/** Appends all of `bytes`. */
export function writeAll(file: LogFile, bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length; ) written += file.write(bytes.subarray(written));
}
