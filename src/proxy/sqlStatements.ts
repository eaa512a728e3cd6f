/**
 * The statements that one client prepared with SQL's PREPARE, in front of one shard: EXECUTE finds them on whatever
 * server connection it comes to, and no other client's.
 *
 * They keep their own names there. A connection remembers which such names may stand on it and with which text; one
 * that lacks a client's statement is sent the PREPARE in front of the EXECUTE, and a name that is in the way is closed
 * first. Closing never fails, not even in a failed transaction or for a name that does not stand.
 *
 * PREPARE and DEALLOCATE share their names with the statements of the protocol, which stand under others
 * (statementStore.ts): where the shard must find a name taken, an empty statement is put there.
 */
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import { STATEMENTS_MAX } from "../pool/serverConnection.ts";
import type { SessionEffect } from "../routing/plan.ts";
import * as send from "../wire/frontendWriters.ts";
import { reserved } from "./statementFaults.ts";
import type { Statement, StatementStore } from "./statementStore.ts";

export type Prepare = Extract<SessionEffect, { kind: "prepare" }>;

/** It may wait for locks on what it names. */
const PREPARE_TIMEOUT_MS = 600_000;
/** A name that may stand on a connection, with a text that is not known. */
const UNKNOWN = "";

export class SqlStatements {
  readonly #prepared = new Map<string, Prepare>();
  readonly #named: StatementStore;
  /** Those whose PREPARE has not been answered, with the number of the group it belongs to. */
  #unsettled: { readonly name: string; readonly group: number; readonly lease: ServerConnection }[] = [];
  /** The number of the group that is being sent. */
  group = 0;

  /** `named`: the same client's statements of the protocol. */
  constructor(named: StatementStore) {
    this.#named = named;
  }

  get size(): number {
    return this.#prepared.size;
  }

  names(): IterableIterator<string> {
    return this.#prepared.keys();
  }

  /** What a client prepared in another process. */
  restore(prepared: readonly Prepare[]): void {
    for (const prepare of prepared) this.#prepared.set(prepare.name, prepare);
  }

  get state(): readonly Prepare[] {
    return [...this.#prepared.values()];
  }

  has(name: string): boolean {
    return this.#prepared.has(name);
  }

  /** What EXECUTE of `name` does to the session besides. */
  effectsOf(name: string): readonly SessionEffect[] {
    return this.#prepared.get(name)?.inner ?? [];
  }

  /** A PREPARE is about to be sent; returns why it must not be. */
  prepare(lease: ServerConnection, prepare: Prepare): Fault | null {
    const { name } = prepare;
    const refusal = reserved(utf8(name));
    if (refusal !== null) return refusal;
    if (this.#isTaken(name)) {
      this.#standEmpty(lease, name);
      return null;
    }
    clear(lease, name);
    this.#prepared.set(name, prepare);
    this.#unsettled.push({ name, group: this.group, lease });
    note(lease, name, prepare.sql);
    return null;
  }

  /** `name` is about to be executed; returns why it cannot be. */
  execute(lease: ServerConnection, name: string): Fault | null {
    const prepared = this.#prepared.get(name);
    if (prepared === undefined) return this.#executeNamed(lease, name);
    if (lease.sqlStatements.get(name) === prepared.sql) return null;
    if (lease.replies.isBatchOpen) return notFirst(name);
    clear(lease, name);
    note(lease, name, prepared.sql);
    lease.unnamedStatement = null;
    const bytes = send.queryBytes(Buffer.from(prepared.sql, "latin1"));
    detach(lease.runBytes(bytes, PREPARE_TIMEOUT_MS), "the EXECUTE behind it tells of a failure");
    return null;
  }

  /** A DEALLOCATE is about to be sent. */
  deallocate(lease: ServerConnection, name: string): void {
    if (!this.#isTaken(name)) return clear(lease, name);
    const text = this.#prepared.get(name)?.sql;
    if (text === undefined || lease.sqlStatements.get(name) !== text) this.#standEmpty(lease, name);
    if (lease.replies.status === "E") return; // where it will be refused
    this.forget(name);
    this.#named.close(name);
    note(lease, name, UNKNOWN);
  }

  /** A message of the protocol names a statement that the protocol has not made. */
  use(lease: ServerConnection, name: string): Fault | null {
    if (this.has(name)) return this.execute(lease, name);
    clear(lease, name);
    return null;
  }

  /** The shard is to find `name` taken. */
  take(lease: ServerConnection, name: string): void {
    this.#standEmpty(lease, name);
  }

  /** What is about to be sent may execute any name, and is not to find another client's statement. */
  clearOthers(lease: ServerConnection): void {
    for (const [name, text] of lease.sqlStatements) {
      if (this.#prepared.get(name)?.sql !== text) clear(lease, name);
    }
  }

  forget(name: string): void {
    this.#prepared.delete(name);
  }

  clear(): void {
    this.#prepared.clear();
  }

  /** All of that group has been answered. */
  noteAnswered(hadError: boolean, group: number): void {
    while (this.#unsettled.length > 0 && this.#unsettled[0]!.group <= group) {
      const { name, lease } = this.#unsettled.shift()!;
      if (!hadError) continue;
      this.forget(name);
      note(lease, name, UNKNOWN);
    }
  }

  /** What was owed will not be answered. */
  noteLost(): void {
    this.#unsettled = [];
  }

  #isTaken(name: string): boolean {
    return this.#prepared.has(name) || this.#named.has(name);
  }

  /** EXECUTE of a statement that the protocol prepared: it stands there under another name. */
  #executeNamed(lease: ServerConnection, name: string): Fault | null {
    const statement = name === "" ? null : this.#named.find(name);
    clear(lease, name);
    if (statement === null) return null;
    note(lease, name, UNKNOWN);
    if (lease.replies.isBatchOpen) {
      lease.replies.expectParse(false, null);
      lease.outbox.put(send.parseRenamed(statement.parse, 0, statement.parse.length, utf8(name)));
      return null;
    }
    detach(lease.runBytes(parseAs(statement, name), PREPARE_TIMEOUT_MS), "EXECUTE tells of a failure");
    return null;
  }

  #standEmpty(lease: ServerConnection, name: string): void {
    clear(lease, name);
    note(lease, name, UNKNOWN);
    lease.replies.expectParse(false, null);
    lease.outbox.put(send.parse({ name: utf8(name), text: "", parameterTypes: [] }));
  }
}

/** Closes what stands under `name`, if anything may. */
function clear(lease: ServerConnection, name: string): void {
  if (!lease.sqlStatements.delete(name)) return;
  lease.replies.expectClose(false);
  lease.outbox.put(send.closeStatement(utf8(name)));
}

function note(lease: ServerConnection, name: string, text: string): void {
  const { sqlStatements } = lease;
  sqlStatements.delete(name);
  sqlStatements.set(name, text);
  if (sqlStatements.size <= STATEMENTS_MAX) return;
  const [oldest] = sqlStatements.keys();
  clear(lease, oldest!);
}

const parseAs = (statement: Statement, name: string): Buffer =>
  Buffer.concat([send.parseRenamed(statement.parse, 0, statement.parse.length, utf8(name)), send.sync()]);

/** Names are read byte for byte, and written as UTF-8. */
const utf8 = (name: string): string => Buffer.from(name, "latin1").toString();

const notFirst = (name: string): Fault =>
  new Fault("session.unsupported", {
    message: `prepared statement "${utf8(name)}" has to be executed at the beginning of a batch`,
    detail:
      "SQL's EXECUTE stands behind other messages, and the server connection does not have the statement yet.",
    hint: "Send a Sync before it, or prepare the statement through the extended protocol.",
  });
