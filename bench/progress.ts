/**
 * What a run tells on the way, on stderr, so that stdout holds the results alone: on a terminal one line that is
 * written over, elsewhere a line for each round.
 */

export class Progress {
  readonly #stream: NodeJS.WriteStream;
  /** What is still to run, in seconds. */
  #remainingSeconds = 0;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
  }

  /** A line that stays. */
  say(line: string): void {
    this.#stream.write(this.#stream.isTTY ? `\r\u001b[2K${line}\n` : `${line}\n`);
  }

  /** What runs now; on a terminal the next one takes its place. */
  now(what: string): void {
    const line = `${what} · ${remaining(this.#remainingSeconds)} left`;
    this.#stream.write(this.#stream.isTTY ? `\r\u001b[2K${line}` : `${line}\n`);
  }

  /** From here on the run will take `seconds`. */
  expect(seconds: number): void {
    this.#remainingSeconds = seconds;
  }

  /** `seconds` of what was expected are done. */
  spent(seconds: number): void {
    this.#remainingSeconds = Math.max(0, this.#remainingSeconds - seconds);
  }

  /** Clears the line that is written over. */
  end(): void {
    if (this.#stream.isTTY) this.#stream.write("\r\u001b[2K");
  }
}

/** `about 4 min 10 s`, in steps of 5 s. */
export function remaining(seconds: number): string {
  const rounded = Math.ceil(seconds / 5) * 5;
  const minutes = Math.floor(rounded / 60);
  return `about ${minutes > 0 ? `${minutes} min ` : ""}${rounded % 60} s`;
}
