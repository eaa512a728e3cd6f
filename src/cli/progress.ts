/**
 * What a command tells on the way: one line for each step.
 *
 * On a terminal the line turns while the step runs and is written over; elsewhere each step is one plain line when it
 * is done, so that a log file stays readable.
 */

const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const FRAME_MS = 80;
const ERASE_LINE = "\r\u001b[2K";

export interface Step {
  /** What the step has come to, for example `4,000 of 10,000`. */
  update(note: string): void;
}

export class Progress {
  readonly #stream: NodeJS.WriteStream;

  constructor(stream: NodeJS.WriteStream = process.stdout) {
    this.#stream = stream;
  }

  /** A line that stays. */
  say(line = ""): void {
    this.#stream.write(`${line}\n`);
  }

  /** Runs `work`, showing that it runs; then says that it is done, or failed, and how long it took. */
  async step<T>(title: string, work: (step: Step) => Promise<T>): Promise<T> {
    const started = performance.now();
    const line = new TurningLine(this.#stream, title);
    try {
      const result = await work(line);
      line.end(`✓ ${title} (${seconds(performance.now() - started)})`);
      return result;
    } catch (error) {
      line.end(`✗ ${title}`);
      throw error;
    }
  }
}

class TurningLine implements Step {
  readonly #stream: NodeJS.WriteStream;
  readonly #title: string;
  readonly #timer: NodeJS.Timeout | null;
  #note = "";
  #frame = 0;

  constructor(stream: NodeJS.WriteStream, title: string) {
    this.#stream = stream;
    this.#title = title;
    this.#timer = stream.isTTY ? setInterval(() => this.#draw(), FRAME_MS) : null;
    this.#draw();
  }

  update(note: string): void {
    this.#note = note;
  }

  end(line: string): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#stream.write(this.#stream.isTTY ? `${ERASE_LINE}${line}\n` : `${line}\n`);
  }

  #draw(): void {
    if (!this.#stream.isTTY) return;
    const frame = FRAMES[this.#frame++ % FRAMES.length]!;
    this.#stream.write(`${ERASE_LINE}${frame} ${this.#title} ${this.#note}`);
  }
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
