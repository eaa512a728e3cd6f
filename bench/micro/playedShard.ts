/** What a shard answers to the messages of a transfer. */
import { commandComplete, dataRow, readyForQuery } from "../../src/wire/backendWriters.ts";
import { CLIENT_MESSAGE } from "../../src/wire/messageTypes.ts";
import type { PlayedStream } from "./playedStream.ts";

const EMPTY = (type: string): Buffer => Buffer.from([type.charCodeAt(0), 0, 0, 0, 4]);
const PARSE_COMPLETE = EMPTY("1");
const BIND_COMPLETE = EMPTY("2");
const CLOSE_COMPLETE = EMPTY("3");
const NO_DATA = EMPTY("n");
const COMMITTED = Buffer.concat([commandComplete("COMMIT PREPARED"), readyForQuery("I")]);
const READY = readyForQuery("T");
const READY_AGAIN = readyForQuery("I");
/** By how the statement begins, or what it is called. */
const DONE: Readonly<Record<string, Buffer>> = {
  BEGIN: commandComplete("BEGIN"),
  pgxa_xid: Buffer.concat([dataRow(["742"]), commandComplete("SELECT 1")]),
  pgxa_commit: commandComplete("INSERT 0 1"),
  PREPARE: commandComplete("PREPARE TRANSACTION"),
  COMMIT: commandComplete("COMMIT"),
};
const UPDATED = commandComplete("UPDATE 1");
/** Behind them there is no transaction any more. */
const ENDS: ReadonlySet<string> = new Set(["PREPARE", "COMMIT"]);

/** The answers to all of `bytes`; empty if none are due yet. */
export function answersOf(bytes: Uint8Array, stream: PlayedStream): Buffer {
  const buffer = bytes as Buffer;
  const answers: Buffer[] = [];
  for (let at = 0; at < buffer.length; at += 1 + buffer.readInt32BE(at + 1)) {
    switch (buffer[at]) {
      case CLIENT_MESSAGE.query:
        answers.push(COMMITTED); // COMMIT PREPARED
        break;
      case CLIENT_MESSAGE.parse:
        if (buffer[at + 5] === 0) stream.unnamed = wordAt(buffer, at + 6);
        else stream.made += 1;
        answers.push(PARSE_COMPLETE);
        break;
      case CLIENT_MESSAGE.bind:
        stream.bound = buffer[at + 6] === 0 ? stream.unnamed : wordAt(buffer, at + 6);
        answers.push(BIND_COMPLETE);
        break;
      case CLIENT_MESSAGE.describe:
        answers.push(NO_DATA);
        break;
      case CLIENT_MESSAGE.execute:
        answers.push(DONE[stream.bound] ?? UPDATED);
        break;
      case CLIENT_MESSAGE.close:
        answers.push(CLOSE_COMPLETE);
        break;
      case CLIENT_MESSAGE.sync:
        answers.push(ENDS.has(stream.bound) ? READY_AGAIN : READY);
    }
  }
  return answers.length === 1 ? answers[0]! : Buffer.concat(answers);
}

/** Up to a blank or a NUL. */
function wordAt(buffer: Buffer, start: number): string {
  let end = start;
  while (buffer[end]! > 0x20) end += 1;
  return buffer.toString("latin1", start, end);
}
