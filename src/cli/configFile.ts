/** The configuration file of a command with the files that it names, or what is wrong with it, said to the user. */
import { Fault } from "../base/fault.ts";
import { type LoadedConfig, loadFile } from "../config/load.ts";
import { readAuthFiles } from "../proxy/auth/authFiles.ts";
import { DISK } from "../proxy/auth/diskFiles.ts";

/** The configuration in `file`; null after its problems were printed on standard error. */
export function loadOrComplain(file: string): LoadedConfig | null {
  try {
    const loaded = loadFile(file, process.env);
    readAuthFiles(loaded.config.auth, DISK);
    return loaded;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    console.error(explain(error));
    return null;
  }
}

/** Message, detail and hint, a line each. */
export function explain({ message, detail, hint }: Fault): string {
  return [message, detail, hint].filter((line) => line !== undefined).join("\n");
}
