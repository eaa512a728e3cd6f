/**
 * Who is at the other end of a Unix socket, as the kernel knows it (`SO_PEERCRED`).
 *
 * Node has no call for it. A child that lives for some milliseconds inherits the socket and asks: Node itself, through its
 * experimental FFI, or perl or python3, whichever the machine has. Linux only; elsewhere, and where none of the three
 * works, nobody is known, and nobody is let in by it.
 *
 * Invariants: no more than `ASKING_MAX` children at a time; a socket's number is looked up when the child is made and not
 * before, since numbers are used again.
 */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";

const ASKING_MAX = 4;
const TIMEOUT_MS = 5_000;

/** SOL_SOCKET is 1, SO_PEERCRED 17; the answer is three 32-bit numbers: process, user, group. */
const BY_NODE = `
  const { functions } = require("node:ffi").dlopen(null, {
    getsockopt: { arguments: ["i32", "i32", "i32", "buffer", "buffer"], return: "i32" },
  });
  const [answer, length] = [Buffer.alloc(12), Buffer.alloc(4)];
  new Int32Array(length.buffer, length.byteOffset, 1)[0] = 12;
  if (functions.getsockopt(3, 1, 17, answer, length) !== 0) process.exit(1);
  process.stdout.write(String(new Uint32Array(answer.buffer, answer.byteOffset, 3)[1]));`;
const BY_PERL = `
  open(my $socket, "+<&=", 3) or exit 1;
  my $answer = getsockopt($socket, 1, 17) or exit 1;
  print((unpack("I3", $answer))[1]);`;
const BY_PYTHON = `
import socket, struct
answer = socket.socket(fileno=3).getsockopt(1, 17, 12)
print(struct.unpack("3I", answer)[1], end="")`;

interface Way {
  readonly command: string;
  readonly args: readonly string[];
}

const WAYS: readonly Way[] = [
  { command: process.execPath, args: ["--no-warnings", "--experimental-ffi", "-e", BY_NODE] },
  { command: "perl", args: ["-e", BY_PERL] },
  { command: "python3", args: ["-c", BY_PYTHON] },
];

export class PeerUsers {
  /** The ways that have not failed yet; the first is taken. */
  readonly #ways: Way[];
  readonly #waiting: (() => void)[] = [];
  #asking = 0;

  /** `ways`: a test may know others. */
  constructor(ways: readonly Way[] = process.platform === "linux" ? WAYS : []) {
    this.#ways = [...ways];
  }

  /** The name of the user at the other end; null if it cannot be known. `descriptor`: null when the stream is gone. */
  async nameOf(descriptor: () => number | null): Promise<string | null> {
    if (this.#asking >= ASKING_MAX) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#asking += 1;
    try {
      const id = await this.#idOf(descriptor);
      return id === null ? null : await userName(id);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#asking -= 1;
      else next();
    }
  }

  async #idOf(descriptor: () => number | null): Promise<number | null> {
    for (const way of [...this.#ways]) {
      const number = descriptor();
      if (number === null) return null;
      const answer = await output(way.command, way.args, [number]);
      if (answer !== null && /^\d{1,10}$/.test(answer)) return Number(answer);
      // A stream that is gone meanwhile is no fault of the way it was asked.
      const at = descriptor() === null ? -1 : this.#ways.indexOf(way);
      if (at >= 0 && this.#ways.length > 1) this.#ways.splice(at, 1);
    }
    return null;
  }
}

/** Names come from the machine's own users first, then from wherever else the system has them (LDAP, for example). */
async function userName(id: number): Promise<string | null> {
  const local = nameIn(await readFile("/etc/passwd", "utf8").catch(() => ""), id);
  return local ?? nameIn((await output("getent", ["passwd", String(id)], [])) ?? "", id);
}

/** In lines of `name:password:id:…`. */
function nameIn(lines: string, id: number): string | null {
  const fields = lines.split("\n").map((line) => line.split(":"));
  return fields.find((line) => line[2] === String(id))?.[0] || null;
}

/** What the command writes; null if there is no such command, or it fails. */
function output(
  command: string,
  args: readonly string[],
  descriptors: readonly number[],
): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "ignore", ...descriptors],
      env: { PATH: process.env.PATH }, // and no secrets that stand in others
      timeout: TIMEOUT_MS,
      killSignal: "SIGKILL",
    });
    const said = text(child.stdout!);
    said.catch(() => {}); // told by the exit code
    child.on("error", () => resolve(null));
    child.on("close", (code) => (code === 0 ? said.then(resolve, () => resolve(null)) : resolve(null)));
  });
}
