/**
 * The extended protocol of the console: statements and portals, of commands without parameters.
 *
 * The console answers one message at a time; who calls waits for the promise before it presents the next one.
 */
import { binaryCell } from "../admin/binaryCells.ts";
import type { ConsoleCommand } from "../admin/console.ts";
import type { Row } from "../admin/consoleTable.ts";
import { readStatements, type Statement } from "../admin/consoleText.ts";
import { Fault } from "../base/fault.ts";
import * as write from "../wire/backendWriters.ts";
import * as read from "../wire/frontendReaders.ts";
import { CLIENT_MESSAGE } from "../wire/messageTypes.ts";

type Understand = (statement: Statement) => ConsoleCommand;

/** Null: the empty query. */
interface Prepared {
  readonly command: ConsoleCommand | null;
  readonly text: string;
}

interface Portal extends Prepared {
  readonly formats: readonly number[];
  rows: readonly Row[] | null;
  /** How many of them were sent. */
  sent: number;
}

/** How a command is run: the session knows whether it may. */
export type Run = (command: ConsoleCommand) => Promise<readonly Row[]>;

export class ConsoleStatements {
  readonly #understand: Understand;
  readonly #run: Run;
  readonly #max: number;
  readonly #statements = new Map<string, Prepared>();
  readonly #portals = new Map<string, Portal>();

  /** At most `max` statements, and as many portals, are kept. */
  constructor(options: { readonly understand: Understand; readonly run: Run; readonly max: number }) {
    this.#understand = options.understand;
    this.#run = options.run;
    this.#max = options.max;
  }

  get size(): number {
    return this.#statements.size;
  }

  /** The statements there are, as name and text. */
  get state(): readonly (readonly [name: string, text: string])[] {
    return [...this.#statements].map(([name, { text }]) => [name, text] as const);
  }

  /** Prepares what a client had prepared in another process; throws a Fault for what this one does not understand. */
  restore(state: readonly (readonly [name: string, text: string])[]): void {
    for (const [name, text] of state) this.#parse({ name, text });
  }

  /** A portal does not outlive its batch, or its transaction block. */
  clearPortals(): void {
    this.#portals.clear();
  }

  /** What one message of a batch is answered with; rejects with a Fault. */
  async answer(type: number, buffer: Buffer, start: number, end: number): Promise<readonly Buffer[]> {
    switch (type) {
      case CLIENT_MESSAGE.parse:
        return this.#parse(read.readParse(buffer, start, end));
      case CLIENT_MESSAGE.bind:
        return this.#bind(read.readResultRequest(buffer, start, end));
      case CLIENT_MESSAGE.describe:
        return this.#describe(buffer, start, end);
      case CLIENT_MESSAGE.execute:
        return this.#execute(read.readPortalName(buffer, start, end), read.readRowLimit(buffer, start, end));
      case CLIENT_MESSAGE.close:
        return this.#close(buffer, start, end);
      case CLIENT_MESSAGE.flush:
        return [];
      default:
        throw new Fault("session.unsupported", { message: "the console does not understand this message" });
    }
  }

  #parse({ name, text }: Pick<read.ParseMessage, "name" | "text">): readonly Buffer[] {
    const [statement, ...more] = readStatements(text);
    if (more.length > 0) {
      const message = "cannot insert multiple commands into a prepared statement";
      throw new Fault("console.unknown_command", { message, hint: "Send them one by one." });
    }
    if (name !== "" && this.#statements.has(name)) throw new Fault("session.duplicate_statement");
    if (this.#statements.size >= this.#max) throw new Fault("session.too_many_statements");
    const command = statement === undefined ? null : this.#understand(statement);
    this.#statements.set(name, { command, text });
    return [write.parseComplete()];
  }

  #bind({ portal, statement, parameterCount, formats }: read.ResultRequest): readonly Buffer[] {
    if (parameterCount > 0) throw new Fault("console.parameters");
    const prepared = this.#statement(statement);
    if (this.#portals.size >= this.#max) throw new Fault("session.too_many_statements");
    const columns = prepared.command?.columns ?? [];
    const [first = 0] = formats;
    const each = formats.length === columns.length ? formats : columns.map(() => first);
    this.#portals.set(portal, { ...prepared, formats: each, rows: null, sent: 0 });
    return [write.bindComplete()];
  }

  #describe(buffer: Buffer, start: number, end: number): readonly Buffer[] {
    const name = read.readStatementName(buffer, start, end);
    if (name !== null) {
      const { command } = this.#statement(name);
      return [write.parameterDescription([]), describe(command, [])];
    }
    const portal = this.#portal(read.readPortalName(buffer, start, end));
    return [describe(portal.command, portal.formats)];
  }

  async #execute(name: string | null, limit: number): Promise<readonly Buffer[]> {
    const portal = this.#portal(name);
    const { command, formats } = portal;
    if (command === null) return [write.emptyQueryResponse()];
    portal.rows ??= await this.#run(command);
    const to = limit === 0 ? portal.rows.length : Math.min(portal.rows.length, portal.sent + limit);
    const rows = portal.rows.slice(portal.sent, to).map((row) => dataRow(command, row, formats));
    portal.sent = to;
    if (to < portal.rows.length) return [...rows, write.portalSuspended()];
    return [...rows, write.commandComplete(command.tag)];
  }

  #close(buffer: Buffer, start: number, end: number): readonly Buffer[] {
    const name = read.readStatementName(buffer, start, end);
    if (name !== null) this.#statements.delete(name);
    else this.#portals.delete(read.readPortalName(buffer, start, end) ?? "");
    return [write.closeComplete()];
  }

  #statement(name: string): Prepared {
    const statement = this.#statements.get(name);
    if (statement === undefined) throw new Fault("session.no_statement");
    return statement;
  }

  #portal(name: string | null): Portal {
    const portal = this.#portals.get(name ?? "");
    if (portal === undefined) throw new Fault("session.no_portal");
    return portal;
  }
}

const describe = (command: ConsoleCommand | null, formats: readonly number[]): Buffer =>
  command?.columns ? write.rowDescription(command.columns, formats) : write.noData();

function dataRow({ columns }: ConsoleCommand, row: Row, formats: readonly number[]): Buffer {
  return write.dataRow(
    row.map((value, i) => {
      const column = columns?.[i];
      return value === null || formats[i] !== 1 || column === undefined
        ? value
        : binaryCell(column.typeOid, value);
    }),
  );
}
