/**
 * The wish to stop, as the system sends it: SIGINT, SIGTERM, or SIGHUP when the terminal closes.
 *
 * The first one counts. The others are swallowed while things come to their end: a Ctrl-C under npm arrives twice,
 * from the terminal and from npm. A signal to npm alone may not arrive at all, for the shell between npm and this
 * process need not pass it on; then the shell ends, and that is taken for the signal.
 */

const PARENT_POLL_MS = 500;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Thrown between the steps of a start that is not wanted any more. */
export class StopRequested extends Error {
  override readonly name = "StopRequested";
}

export class StopRequest {
  /** Resolves when stopping is asked for. */
  readonly requested: Promise<void>;
  readonly #controller = new AbortController();
  #onRequested = () => {};
  #parentPoll: NodeJS.Timeout | undefined;

  constructor() {
    this.requested = new Promise((resolve) => this.signal.addEventListener("abort", () => resolve()));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get isRequested(): boolean {
    return this.signal.aborted;
  }

  /** From now on signals mean this; `onRequested` is told of the first. */
  listen(onRequested: () => void): void {
    this.#onRequested = onRequested;
    for (const signal of SIGNALS) process.on(signal, this.request);
    if (process.env.npm_lifecycle_event !== undefined) this.#watchParent(process.ppid);
  }

  /** Asks for it; what a signal does. */
  readonly request = (): void => {
    if (this.isRequested) return;
    this.#onRequested();
    this.#controller.abort(new StopRequested());
  };

  throwIfRequested(): void {
    this.signal.throwIfAborted();
  }

  /** Signals mean what they meant before. */
  dispose(): void {
    for (const signal of SIGNALS) process.off(signal, this.request);
    clearInterval(this.#parentPoll);
  }

  #watchParent(parent: number): void {
    this.#parentPoll = setInterval(() => {
      if (process.ppid !== parent) this.request();
    }, PARENT_POLL_MS).unref();
  }
}
