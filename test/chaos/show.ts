/** What a run tells on the way, on stderr: on a terminal a line that is written over, elsewhere one for each phase. */
import type { Progress } from "./run.ts";
import { count } from "./summary.ts";

const EVERY_MS = 500;

export class Show {
  readonly #stream: NodeJS.WriteStream;
  readonly #label: string;
  #latest: Progress | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(label: string, stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
    this.#label = label;
    if (!stream.isTTY) return;
    this.#timer = setInterval(() => this.#draw(), EVERY_MS);
  }

  tell(progress: Progress): void {
    this.#latest = progress;
    if (this.#stream.isTTY) this.#draw();
    else if (progress.resolvedMs !== null) this.#stream.write(`${this.#line(progress)}\n`);
  }

  end(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#stream.isTTY) this.#stream.write("\r\u001b[2K");
  }

  #draw(): void {
    if (this.#latest === null) return;
    const line = this.#line(this.#latest).slice(0, this.#stream.columns - 1); // one that is wrapped stays
    this.#stream.write(`\r\u001b[2K${line}`);
  }

  #line({ ledger, phases, phase, resolvedMs }: Progress): string {
    const { committed, aborted, unknown } = ledger.total;
    const transfers = `${count(ledger.size)} transfers: ${count(committed)} committed, ${count(aborted)} aborted, ${count(unknown)} unknown`;
    const ending = resolvedMs === null ? "" : ` ✓ resolved after ${(resolvedMs / 1000).toFixed(1)} s`;
    return `${this.#label} · ${phases} phases checked · ${phase}${ending} · ${transfers}`;
  }
}
