/**
 * One millisecond more for every flush, of everything that is started from now on: a library in C that is preloaded
 * into the shards, pgxa and the load.
 */
import { readFileSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { compile } from "./compiled.ts";

const LIBRARY = "slowFlush.so";

/** Rejects with one line where this machine cannot do it. `directory` is readable to all. */
export async function buildSlowFlush(directory: string): Promise<string> {
  if (process.platform !== "linux") throw new Error(`libraries are preloaded on Linux only`);
  const target = join(directory, LIBRARY);
  await compile(join(import.meta.dirname, "../c/slowFlush.c"), target, ["-shared", "-fPIC"]);
  await chmod(target, 0o755);
  return target;
}

/** Children inherit it. */
export function preload(library: string | null): void {
  if (library === null) delete process.env.LD_PRELOAD;
  else process.env.LD_PRELOAD = library;
}

/** Whether the process has the library: what was not loaded slows nothing down, and says nothing. */
export const hasSlowFlush = (pid: number): boolean =>
  readFileSync(`/proc/${pid}/maps`, "utf8").includes(LIBRARY);
