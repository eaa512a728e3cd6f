/**
 * Errors that pgxa itself reports, built from one catalogue (`catalogue.ts`).
 *
 * A fault carries everything a client, an operator and a metric need: a stable id, the SQLSTATE, how far it
 * reaches and whose doing it is. A shard's own ErrorResponse is never turned into one; it passes unchanged.
 */
import { CATALOGUE, type FaultId } from "./catalogue.ts";

/** How much ends with the fault: the statement, the client's session, one shard's use, or the process. */
export type Scope = "statement" | "session" | "shard" | "process";
/** Whose doing it is. */
export type Blame = "client" | "server" | "proxy" | "operator";

export interface FaultSpec {
  readonly sqlstate: string;
  readonly severity: "ERROR" | "FATAL";
  readonly scope: Scope;
  readonly blame: Blame;
  /** The message when none more precise is given; lower case, no full stop, as PostgreSQL's style guide has it. */
  readonly message: string;
  readonly hint?: string;
}

export interface FaultDetails {
  readonly message?: string;
  readonly detail?: string;
  readonly hint?: string;
  /** 1-based character position in the statement. */
  readonly position?: number;
  readonly cause?: unknown;
}

export class Fault extends Error {
  override readonly name = "Fault";
  readonly id: FaultId;
  readonly spec: FaultSpec;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  readonly position: number | undefined;

  constructor(id: FaultId, details: FaultDetails = {}) {
    const spec: FaultSpec = CATALOGUE[id];
    super(
      details.message ?? spec.message,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.id = id;
    this.spec = spec;
    this.detail = details.detail;
    this.hint = details.hint ?? spec.hint;
    this.position = details.position;
  }

  get sqlstate(): string {
    return this.spec.sqlstate;
  }
}
