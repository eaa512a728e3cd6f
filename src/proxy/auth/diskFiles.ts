/** Files of rules and users as they lie on the disk. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { Files } from "./ruleFile.ts";

export const DISK: Files = {
  read: (path) => orNull(() => readFileSync(path, "utf8")),
  list: (path) => orNull(() => readdirSync(path)),
  resolve: (from, path) => resolve(dirname(from), path),
};

/** Something that is another after each change of a file; null if it is not there. */
export const versionOf = (path: string): string | null =>
  orNull(() => {
    const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return [ino, size, mtimeNs, ctimeNs].join(" ");
  });

/** What cannot be read is told by whoever needs it, with the place where it is named. */
function orNull<Result>(read: () => Result): Result | null {
  try {
    return read();
  } catch {
    return null;
  }
}
