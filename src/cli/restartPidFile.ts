/** The file that says which process serves: written when it does, removed by it alone. */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";

/** Replaces what a process before this one wrote, in one step. */
export function writePidFile(path: string): void {
  const own = `${path}.${process.pid}`;
  writeFileSync(own, `${process.pid}\n`);
  renameSync(own, path);
}

/** Removes it unless another process has taken over. */
export function removePidFile(path: string): void {
  try {
    if (readFileSync(path, "utf8").trim() === String(process.pid)) rmSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
