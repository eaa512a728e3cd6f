// Pure.
/** What is wrong with the name of a prepared statement, whoever made it, in Postgres's words. */
import { Fault } from "../base/fault.ts";
import type { Transaction } from "../txn/transaction.ts";

/** Names on server connections, which clients share. */
const RESERVED = /^pgxa_/;

export const missing = (name: string): Fault =>
  new Fault("session.no_statement", {
    message:
      name === ""
        ? "unnamed prepared statement does not exist"
        : `prepared statement "${name}" does not exist`,
  });

export const taken = (name: string): Fault =>
  new Fault("session.duplicate_statement", { message: `prepared statement "${name}" already exists` });

/** Why PREPARE may not use `name`; null if it may. */
export const reserved = (name: string): Fault | null =>
  RESERVED.test(name)
    ? new Fault("session.unsupported", {
        message: `the name "${name}" of a prepared statement is reserved`,
        detail: "Names that begin with pgxa_ are those of statements that clients share.",
      })
    : null;

/** Throws a Fault if there is no such savepoint. */
export function requireSavepoint(current: Pick<Transaction, "hasSavepoint"> | null, name: string): void {
  if (current?.hasSavepoint(name)) return;
  throw new Fault("session.no_savepoint", { message: `savepoint "${name}" does not exist` });
}
