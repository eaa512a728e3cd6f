/**
 * A session of the console: the databases `pgxa` and `pgbouncer`, with no shard behind it.
 *
 * It speaks both protocols, and says to be in the transaction block that drivers begin by themselves; nothing depends on
 * it.
 */
import { type ConsoleCommand, type ConsoleUser, understand } from "../admin/console.ts";
import type { Row } from "../admin/consoleTable.ts";
import { readStatements, type Statement } from "../admin/consoleText.ts";
import type { Sources } from "../admin/views.ts";
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { ByteStream } from "../pool/byteStream.ts";
import * as write from "../wire/backendWriters.ts";
import { readQuery } from "../wire/frontendReaders.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";
import { type ClientMessages, ClientSide, WAIT_WORK } from "./clientSide.ts";
import { ConsoleStatements } from "./consoleStatements.ts";
import { asRefusal, refusalResponse } from "./refusal.ts";
import type { PinnedConnection, Session, SessionParts } from "./session.ts";

type ConsoleParts = Pick<SessionParts, "config" | "traffic" | "environment" | "onEnd">;

export class ConsoleSession implements Session, ClientMessages {
  readonly client: ClientSide;
  readonly participant = null;
  readonly isQuiet = true;
  readonly phase = "waiting";
  readonly #parts: ConsoleParts;
  readonly #user: ConsoleUser;
  readonly #sources: Sources;
  readonly #statements: ConsoleStatements;
  #status: write.TransactionStatus = "I";
  #isSkipping = false;
  /** Ends the wait for the command that runs. */
  #stopWaiting: ((fault: Fault) => void) | null = null;

  constructor(stream: ByteStream, user: ConsoleUser, parts: ConsoleParts, sources: Sources) {
    this.#parts = parts;
    this.#user = user;
    this.#sources = sources;
    this.#statements = new ConsoleStatements({
      understand: (statement) => this.#understand(statement),
      run: (command) => this.#run(command),
      max: parts.config.limits.statementsMax,
    });
    this.client = new ClientSide(stream, parts, this);
  }

  get statementCount(): number {
    return this.#statements.size;
  }

  /** What goes with the client when it is handed over to another process; null in a transaction block. */
  get belongings(): ConsoleStatements | null {
    return this.#status === "I" && !this.#isSkipping ? this.#statements : null;
  }

  /** Lets the client go on; what it asked for goes on, too, as a PAUSE does that others may wait for. */
  cancel(): void {
    this.#stopWaiting?.(new Fault("session.canceled"));
  }

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
        this.client.end(true);
        return true;
      case CLIENT_MESSAGE.sync:
        this.#isSkipping = false;
        if (this.#status === "I") this.#statements.clearPortals();
        this.client.say(write.readyForQuery(this.#status));
        return true;
      case CLIENT_MESSAGE.copyDone:
      case CLIENT_MESSAGE.copyFail:
        return true;
      case CLIENT_MESSAGE.password:
        throw new Fault("protocol.violation", { message: "unexpected password message" });
      case CLIENT_MESSAGE.query:
        if (!this.#isSkipping) this.#work(() => this.#query(readQuery(buffer, start, end)), true);
        return true;
      default:
        if (this.#isSkipping) return true;
        this.#work(
          () => this.#statements.answer(type, buffer, start, end),
          type === CLIENT_MESSAGE.functionCall,
        );
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

  /** Answers while the client waits; `endsGroup`: with ReadyForQuery, and else an error ends the batch. */
  #work(answer: () => Promise<readonly Buffer[]>, endsGroup: boolean): void {
    this.client.wait(WAIT_WORK);
    const answering = async (): Promise<readonly Buffer[]> => {
      try {
        return await answer();
      } catch (error) {
        if (!endsGroup) this.#isSkipping = true;
        return [this.#refused(error)];
      }
    };
    const done = answering().then((messages) => {
      const ready = endsGroup ? [write.readyForQuery(this.#status)] : [];
      if (!this.client.isOver) this.client.say(...messages, ...ready);
      this.client.go(WAIT_WORK);
    });
    detach(done, "the client waits for it");
  }

  /** What comes before an error is told, too. */
  async #query(text: string): Promise<readonly Buffer[]> {
    const statements = readStatements(text);
    if (statements.length === 0) return [write.emptyQueryResponse()];
    const messages: Buffer[] = [];
    try {
      for (const statement of statements) {
        const command = this.#understand(statement);
        const rows = await this.#run(command);
        if (command.columns !== null) messages.push(write.rowDescription(command.columns));
        for (const row of rows) messages.push(write.dataRow(row));
        messages.push(write.commandComplete(command.tag));
      }
    } catch (error) {
      messages.push(this.#refused(error));
    }
    return messages;
  }

  #understand(statement: Statement): ConsoleCommand {
    return understand(statement, this.#user, this.#sources);
  }

  async #run(command: ConsoleCommand): Promise<readonly Row[]> {
    if (this.#status === "E" && command.block !== "end") throw new Fault("session.failed_transaction");
    const cancelled = new Promise<never>((_, reject) => {
      this.#stopWaiting = reject;
    });
    const rows = await Promise.race([command.run(), cancelled]);
    this.#stopWaiting = null;
    if (command.block === "begin") this.#status = "T";
    else if (command.block === "end") this.#status = "I";
    return rows;
  }

  #refused(error: unknown): Buffer {
    const refusal = asRefusal(error);
    if (this.#status === "T") this.#status = "E";
    return refusalResponse(refusal);
  }
}
