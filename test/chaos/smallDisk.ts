/**
 * A disk that can be filled without harm: a small tmpfs, which root may mount.
 *
 * Full means that not a byte is left; what is written then fails with ENOSPC, as on any disk.
 */
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

const BALLAST = "ballast";
const BLOCK = Buffer.alloc(64 * 1024);

/** Why no disk of its own can be mounted; null if it can. */
export function whyNoDisk(): string | null {
  if (process.platform !== "linux") return "only on Linux";
  if (process.getuid?.() !== 0) return "only root may mount a small disk";
  try {
    execFileSync("unshare", ["--mount", "mount", "-t", "tmpfs", "none", "/mnt"], { stdio: "ignore" });
    return null;
  } catch {
    return "this machine lets nobody mount a small disk";
  }
}

export class SmallDisk {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /**
   * Mounts one on `directory`, which has its files and owner afterwards as before. `mounts` is a file that names what
   * is mounted, for whoever tidies up after a killed process.
   */
  static mount(directory: string, mebibytes: number, mounts: string): SmallDisk {
    const { uid, gid } = statSync(directory);
    const aside = `${directory}-aside`;
    renameSync(directory, aside);
    mkdirSync(directory);
    const options = `size=${mebibytes}m,mode=0700,uid=${uid},gid=${gid}`;
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "pgxa-chaos", directory]);
    appendFileSync(mounts, `${directory}\n`);
    execFileSync("cp", ["-a", `${aside}/.`, directory]);
    rmSync(aside, { recursive: true });
    return new SmallDisk(directory);
  }

  /** Takes all the space there is. */
  fill(): void {
    const file = openSync(join(this.directory, BALLAST), "a");
    try {
      for (let size = BLOCK.length; size > 0; ) {
        try {
          writeSync(file, BLOCK, 0, size);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
          size = size === 1 ? 0 : Math.ceil(size / 2);
        }
      }
    } finally {
      closeSync(file);
    }
  }

  free(): void {
    rmSync(join(this.directory, BALLAST), { force: true });
  }

  /** Its files stay if `keepIn` is given. */
  unmount(keepIn?: string): void {
    this.free();
    if (keepIn !== undefined) cpSync(this.directory, keepIn, { recursive: true });
    execFileSync("umount", ["-l", this.directory]);
  }
}
