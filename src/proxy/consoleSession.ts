/** A session of the console: the database `pgxa`, simple queries, no shard behind it. */

import { answerConsole, type ConsoleSources } from "../admin/console.ts";
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { ByteStream } from "../pool/byteStream.ts";
import * as write from "../wire/backendWriters.ts";
import { readQuery } from "../wire/frontendReaders.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import { type ClientMessages, ClientSide, WAIT_WORK } from "./clientSide.ts";
import type { ConsoleRole } from "./gate.ts";
import { asRefusal, refusalResponse } from "./refusal.ts";
import type { PinnedConnection, Session, SessionParts } from "./session.ts";

/** What a client of the console is told at login, as far as drivers look at it. */
export const CONSOLE_GREETING: ReadonlyMap<string, string> = new Map([
  ["server_version", "18.0 (pgxa console)"],
  ["server_encoding", "UTF8"],
  ["client_encoding", "UTF8"],
  ["DateStyle", "ISO, MDY"],
  ["IntervalStyle", "postgres"],
  ["TimeZone", "UTC"],
  ["integer_datetimes", "on"],
  ["standard_conforming_strings", "on"],
  ["is_superuser", "off"],
]);

type ConsoleParts = Pick<SessionParts, "config" | "onEnd">;

export class ConsoleSession implements Session, ClientMessages {
  readonly client: ClientSide;
  readonly participant = null;
  readonly isQuiet = true;
  readonly #role: ConsoleRole;
  readonly phase = "waiting";
  readonly #parts: ConsoleParts;
  readonly #sources: ConsoleSources;
  #isSkipping = false;

  constructor(stream: ByteStream, role: ConsoleRole, parts: ConsoleParts, sources: ConsoleSources) {
    this.#role = role;
    this.#parts = parts;
    this.#sources = sources;
    this.client = new ClientSide(stream, parts.config.limits, this);
  }

  cancel(): void {}

  timeOutStatement(): void {}

  pins(): readonly PinnedConnection[] {
    return [];
  }

  terminate(fault: Fault): void {
    this.client.refuse(fault);
  }

  onMessage(type: number, buffer: Buffer, start: number, end: number): boolean {
    switch (type) {
      case CLIENT_MESSAGE.terminate:
        this.client.end();
        return true;
      case CLIENT_MESSAGE.sync:
        this.#isSkipping = false;
        this.client.say(write.readyForQuery("I"));
        return true;
      case CLIENT_MESSAGE.query:
        if (!this.#isSkipping) this.#query(readQuery(buffer, start, end));
        return true;
      default:
        if (this.#isSkipping) return true;
        this.#isSkipping = true;
        this.client.say(write.faultResponse(new Fault("console.simple_only")));
        return true;
    }
  }

  onCopyPiece(): boolean {
    return true;
  }

  onPause(): void {}

  onClientDrain(): void {}

  onClientClosed(): void {
    this.#parts.onEnd(this);
  }

  #query(text: string): void {
    if (text.trim() === "") return this.client.say(write.emptyQueryResponse(), write.readyForQuery("I"));
    this.client.wait(WAIT_WORK);
    const done = this.#answer(text).then((messages) => {
      if (!this.client.isOver) this.client.say(...messages, write.readyForQuery("I"));
      this.client.go(WAIT_WORK);
    });
    detach(done, "the client waits for it");
  }

  async #answer(text: string): Promise<readonly Buffer[]> {
    try {
      if (this.#role !== "admin" && !isShow(text)) throw new Fault("console.not_permitted");
      const { columns, rows } = await answerConsole(text, this.#sources);
      const data = rows.map((row) => write.dataRow(row));
      return [write.rowDescription(columns), ...data, write.commandComplete("SHOW")];
    } catch (error) {
      return [refusalResponse(asRefusal(error))];
    }
  }
}

/** One command that begins with SHOW; whatever else there may be is for admins. */
const isShow = (text: string): boolean => /^\s*show\s[^;]*;?\s*$/i.test(text);
