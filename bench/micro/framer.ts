/** The framer: where messages begin and end in a chunk, from their headers alone. */
import * as write from "../../src/wire/backendWriters.ts";
import { FrameScanner } from "../../src/wire/frameScanner.ts";
import { MESSAGE_BYTES_MAX } from "../../src/wire/messageTypes.ts";
import type { Micro } from "./micro.ts";

const MESSAGES = 500;

/** DataRows with one column of so many bytes. */
const framer = (bytes: number): Micro => ({
  name: `framer-${bytes}`,
  about: `a DataRow of ${bytes} bytes found in a chunk of ${MESSAGES}`,
  setUp() {
    const chunk = Buffer.concat(Array.from({ length: MESSAGES }, () => write.dataRow(["x".repeat(bytes)])));
    const scanner = new FrameScanner("server", MESSAGE_BYTES_MAX);
    const looked = bytesLookedAt(chunk);
    let messages = 0;
    return {
      run(times) {
        for (let left = times; left > 0; left -= MESSAGES) {
          scanner.begin(chunk, 0, chunk.length);
          while (scanner.next()) messages += 1;
        }
      },
      counts: () => ({ messages, "bytes looked at": (messages / MESSAGES) * looked }),
    };
  },
});

/** How often a byte of `chunk` is read while all of its messages are found. */
function bytesLookedAt(chunk: Buffer): number {
  let count = 0;
  const watched = new Proxy(chunk, {
    get(target, name) {
      if (typeof name === "string" && /^\d+$/.test(name)) count += 1;
      return Reflect.get(target, name, target);
    },
  });
  const scanner = new FrameScanner("server", MESSAGE_BYTES_MAX);
  scanner.begin(watched, 0, chunk.length);
  while (scanner.next());
  return count;
}

export const FRAMERS: readonly Micro[] = [framer(10), framer(1_000)];
