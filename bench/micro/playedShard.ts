/** What a shard answers to the messages of a transfer. */
import { commandComplete, dataRow, readyForQuery, rowDescription } from "../../src/wire/backendWriters.ts";
import { CLIENT_MESSAGE } from "../../src/wire/messageTypes.ts";
import type { PlayedStream } from "./playedStream.ts";

const TEXT_OID = 25;
const EMPTY = (type: string): Buffer => Buffer.from([type.charCodeAt(0), 0, 0, 0, 4]);
const PARSE_COMPLETE = EMPTY("1");
const BIND_COMPLETE = EMPTY("2");
const CLOSE_COMPLETE = EMPTY("3");
const NO_DATA = EMPTY("n");
const ONE_ROW: readonly Buffer[] = [
  rowDescription([{ name: "x", typeOid: TEXT_OID }]),
  dataRow(["742"]),
  commandComplete("SELECT 1"),
];
const PREPARED = Buffer.concat([...ONE_ROW, commandComplete("PREPARE TRANSACTION"), readyForQuery("I")]);
const ANCHORED = Buffer.concat([...ONE_ROW, commandComplete("COMMIT"), readyForQuery("I")]);
const COMMITTED = Buffer.concat([commandComplete("COMMIT PREPARED"), readyForQuery("I")]);
const BEGUN = commandComplete("BEGIN");
const UPDATED = commandComplete("UPDATE 1");
const READY = readyForQuery("T");

/** The answers to all of `bytes`; empty if none are due yet. */
export function answersOf(bytes: Uint8Array, stream: PlayedStream): Buffer {
  const buffer = bytes as Buffer;
  const answers: Buffer[] = [];
  for (let at = 0; at < buffer.length; at += 1 + buffer.readInt32BE(at + 1)) {
    switch (buffer[at]) {
      case CLIENT_MESSAGE.query:
        answers.push(answerOf(buffer, at));
        break;
      case CLIENT_MESSAGE.parse:
        stream.unnamed = buffer[at + 6] === 0x42 ? "BEGIN" : "UPDATE";
        answers.push(PARSE_COMPLETE);
        break;
      case CLIENT_MESSAGE.bind:
        if (buffer[at + 6] !== 0) stream.unnamed = "UPDATE";
        answers.push(BIND_COMPLETE);
        break;
      case CLIENT_MESSAGE.describe:
        answers.push(NO_DATA);
        break;
      case CLIENT_MESSAGE.execute:
        answers.push(stream.unnamed === "BEGIN" ? BEGUN : UPDATED);
        break;
      case CLIENT_MESSAGE.close:
        answers.push(CLOSE_COMPLETE);
        break;
      case CLIENT_MESSAGE.sync:
        answers.push(READY);
    }
  }
  return answers.length === 1 ? answers[0]! : Buffer.concat(answers);
}

function answerOf(buffer: Buffer, at: number): Buffer {
  const text = buffer.toString("latin1", at + 5, at + 20);
  if (text.startsWith("COMMIT PREPARED")) return COMMITTED;
  return buffer.toString("latin1", at + 5, at + 80).includes("PREPARE TRANSACTION") ? PREPARED : ANCHORED;
}
