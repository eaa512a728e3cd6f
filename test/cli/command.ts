/** Runs the `pgxa` command as a user does: a process of its own, with what it prints and its exit code. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import "../support/compileCache.ts";

const MAIN = resolve(import.meta.dirname, "../../src/cli/main.ts");

export class Command {
  stdout = "";
  stderr = "";
  readonly process: ChildProcess;
  readonly #exited: Promise<unknown[]>;

  constructor(args: readonly string[], variables: Readonly<Record<string, string>> = {}) {
    this.process = spawn(process.execPath, [MAIN, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...variables },
    });
    this.process.stdout!.setEncoding("utf8").on("data", (text: string) => (this.stdout += text));
    this.process.stderr!.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    this.#exited = once(this.process, "close");
  }

  /** Resolves with the exit code, or with the signal that ended it. */
  async end(): Promise<number | string> {
    const [code, signal] = await this.#exited;
    return (code ?? signal) as number | string;
  }

  /** Resolves once standard output has `pattern`; rejects if the command ends before. */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.stdout);
      if (found !== null) return found;
      const isOver = await Promise.race([
        this.#exited.then(() => true),
        once(this.process.stdout!, "data").then(() => false),
      ]);
      if (isOver) throw new Error(`it ended without ${pattern}: ${this.stdout}${this.stderr}`);
    }
  }
}

/** Runs it to its end. */
export async function run(args: readonly string[], variables: Readonly<Record<string, string>> = {}) {
  const command = new Command(args, variables);
  const code = await command.end();
  return { code, stdout: command.stdout, stderr: command.stderr };
}
