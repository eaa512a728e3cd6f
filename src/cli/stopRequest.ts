/**
 * The wish to stop, as the system sends it: SIGINT, SIGTERM, or SIGHUP when the terminal closes.
 *
 * The first one counts. The others are swallowed while things come to their end: a Ctrl-C under npm arrives twice,
 * from the terminal and from npm.
 */

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
  }
}
