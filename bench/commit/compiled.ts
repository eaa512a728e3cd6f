/** Programs in C that are built when they are needed, with the machine's own compiler. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { complaint } from "../complaint.ts";

const run = promisify(execFile);
const COMPILERS = ["cc", "gcc", "clang"];
const FLAGS = ["-O2", "-Wall", "-Wextra"];

/** Rejects with one line that says why it cannot be built. */
export async function compile(source: string, target: string, flags: readonly string[]): Promise<void> {
  for (const compiler of COMPILERS) {
    try {
      await run(compiler, [...FLAGS, ...flags, "-o", target, source]);
      return;
    } catch (error) {
      const { code, stderr } = error as { code?: unknown; stderr?: string };
      if (code !== "ENOENT")
        throw new Error(`${compiler}: ${complaint(compiler, stderr ?? "")}`, { cause: error });
    }
  }
  throw new Error("there is no C compiler (apt-get install gcc libc6-dev)");
}
