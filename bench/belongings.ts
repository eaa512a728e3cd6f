/**
 * Everything a run starts, so that all of it is stopped: at the end, on an error, and on Ctrl-C.
 *
 * Children get a process group of their own: a Ctrl-C of the terminal reaches the benchmark alone, which then
 * stops them in the reverse order of their starts. Should the benchmark die without that, the `exit` handler
 * still kills what is left.
 */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";

/** How long a child may take to end after SIGTERM. */
const PATIENCE_MS = 5000;
/** How much of a child's last words is kept for an error. */
const WORDS_MAX = 20_000;

export interface Child {
  readonly process: ChildProcess;
  readonly pid: number;
  /** What it wrote so far to stdout and stderr, the last part of it. */
  words(): string;
  /** Its exit code, once it has ended; null after a signal. Rejects if it could not be started. */
  ended(): Promise<number | null>;
  stop(): Promise<void>;
}

export class Belongings {
  readonly #stops: { readonly what: string; readonly stop: () => Promise<void> }[] = [];
  readonly #children = new Set<ChildProcess>();
  #stopping: Promise<void> | null = null;

  constructor() {
    process.on("exit", () => {
      for (const child of this.#children) child.kill("SIGKILL");
    });
  }

  /** Ends the process on SIGINT or SIGTERM, after everything was stopped. */
  stopOnSignals(): void {
    for (const [signal, code] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ] as const) {
      process.on(signal, () => {
        process.stderr.write(`\n${signal}: stopping what was started…\n`);
        this.stopAll().finally(() => process.exit(code));
      });
    }
  }

  /** `stop` runs at the end, before everything that was kept earlier. */
  keep(what: string, stop: () => Promise<void>): void {
    this.#stops.push({ what, stop });
  }

  /** Starts a child that is stopped with the rest, if it did not end before. */
  spawn(command: string, args: readonly string[], options: SpawnOptions = {}): Child {
    const child = spawn(command, [...args], {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
      ...options,
    });
    this.#children.add(child);
    const ending = endOf(child).finally(() => this.#children.delete(child));
    ending.catch(() => {}); // for those who don't ask; `ended()` still rejects
    const words = listen(child);
    const stop = () => terminate(child);
    this.keep(command, stop);
    return { process: child, pid: child.pid ?? 0, words, ended: () => this.#ended(ending), stop };
  }

  /** While everything is being stopped an end is no news: nobody goes on, the process is about to exit. */
  async #ended(ending: Promise<number | null>): Promise<number | null> {
    const code = await ending;
    return this.#stopping === null ? code : new Promise(() => {});
  }

  /** Stops everything, last first; later calls wait for the first. */
  stopAll(): Promise<void> {
    this.#stopping ??= this.#stopEach();
    return this.#stopping;
  }

  async #stopEach(): Promise<void> {
    for (const { what, stop } of this.#stops.splice(0).reverse()) {
      await stop().catch((error: unknown) => process.stderr.write(`could not stop ${what}: ${error}\n`));
    }
  }
}

function listen(child: ChildProcess): () => string {
  let words = "";
  const hear = (chunk: Buffer) => {
    words = (words + chunk.toString()).slice(-WORDS_MAX);
  };
  child.stdout?.on("data", hear);
  child.stderr?.on("data", hear);
  return () => words;
}

/** Resolves when the child is gone and its last words were heard. */
function endOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once("close", resolve);
    child.once("error", reject);
  });
}

async function terminate(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || hasEnded(child)) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const impatience = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
  await ended;
  clearTimeout(impatience);
}

export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
