/**
 * One session between a process and a shard, statement by statement: on its way, executed, its answer on its way, heard.
 *
 * Whoever asks hears the answer or that there is none, never both. A statement that was on its way when its sender gave
 * it up, or died, becomes a late one: it may yet be executed, until its backend ends.
 */
import { DatabaseError } from "pg-protocol";
import type { BackendPid, ShardId } from "../../src/base/brands.ts";
import type { ControlReply } from "../../src/pool/controlReply.ts";
import type { ControlSession, Row } from "../../src/txn/controlSession.ts";
import type { BranchConnection } from "../../src/txn/participant.ts";
import type { ErrorFields } from "../../src/wire/errorFields.ts";
import type { KeptStatement } from "../../src/wire/keptStatement.ts";
import { hash } from "./fingerprint.ts";
import type { Backend, SimulatedPostgres } from "./simulatedPostgres.ts";
import { type Answer, batchText, execute, isRead, mustWait, type StatementRules } from "./statements.ts";

interface Request {
  readonly sql: string;
  readonly values: readonly unknown[];
  answer: Answer | null;
  /** Told once: the answer, or null when there is none. */
  readonly tell: (answer: Answer | null) => void;
}

/** A statement that nobody waits for any more, and the backend that may execute it. */
export interface LateStatement {
  readonly name: string;
  readonly shard: SimulatedPostgres;
  readonly backend: Backend;
  readonly sql: string;
  readonly values: readonly unknown[];
  /** Whether who sent it lives, and may end it. */
  isOwned: boolean;
}

export class SimulatedLink {
  /** For example `p/control@east`. */
  readonly name: string;
  readonly shard: SimulatedPostgres;
  /** Whether it opens again when it was lost: a control session does, a branch's connection does not. */
  readonly isKept: boolean;
  /** The server that answered last. */
  server: string | null = null;
  /** All that was heard, and when; for the fingerprint. */
  history = 0;
  /** Null: there is none now. */
  backend: Backend | null;
  /** The first is on its way, or its answer is. */
  readonly #requests: Request[] = [];
  readonly #rules: StatementRules;
  #losses = 0;

  constructor(name: string, shard: SimulatedPostgres, rules: StatementRules, backend: Backend | null) {
    this.name = name;
    this.shard = shard;
    this.isKept = backend === null;
    this.backend = backend;
    this.#rules = rules;
  }

  send(sql: string, values: readonly unknown[], tell: (answer: Answer | null) => void): void {
    this.#requests.push({ sql, values, answer: null, tell });
    if (this.#requests.length === 1) this.#begin();
  }

  #begin(): void {
    if (this.isKept && this.#requests.length > 0 && !this.backend?.isAlive)
      this.backend = this.shard.connect();
  }

  get isIdle(): boolean {
    return this.#requests.length === 0;
  }

  /** The statement that is on its way, or whose answer is; empty if there is none. */
  get sql(): string {
    return this.#requests[0]?.sql ?? "";
  }

  get isAnswered(): boolean {
    return !this.isIdle && this.#requests[0]!.answer !== null;
  }

  get canExecute(): boolean {
    const request = this.#requests[0];
    if (request === undefined || request.answer !== null || !this.backend?.isAlive) return false;
    return !mustWait(this.shard, this.backend, request.sql, request.values);
  }

  /** There is an answer, or there will be none. */
  get canBeHeard(): boolean {
    return !this.isIdle && (this.isAnswered || !this.backend?.isAlive);
  }

  /** The shard executes what is on its way, or its first part. */
  execute(): void {
    const request = this.#requests[0]!;
    this.server = this.shard.server;
    request.answer = execute(this.shard, this.backend!, request.sql, request.values, this.#rules);
  }

  /** It is executed, and will be once more: somebody else has said the same. */
  duplicate(): void {
    const { sql, values } = this.#requests[0]!;
    const other = this.shard.connect();
    while (execute(this.shard, other, sql, values, this.#rules) === null);
    this.shard.end(other);
  }

  /** The answer arrives, or that there is none. `stamp`: what its process knew besides. */
  hear(stamp: string): void {
    const { sql, answer, tell } = this.#requests.shift()!;
    this.history = hash(`${sql}|${JSON.stringify(answer)}|${stamp}`, this.history);
    tell(answer);
    this.#begin();
  }

  /**
   * The connection is cut, or the time is up: whoever asks hears that there is no answer. A statement that was on its
   * way is late.
   */
  lose(stamp: string): LateStatement | null {
    this.#losses += 1;
    const late = this.#letGo(`${this.name}#${this.#losses}`, true);
    this.#requests[0]!.answer = null;
    this.hear(stamp);
    return late;
  }

  /** Its process died. A statement that was on its way is late. */
  abandon(): LateStatement | null {
    const late = this.#letGo(`${this.name}#x`, false);
    this.#requests.length = 0;
    return late;
  }

  close(): void {
    if (this.backend !== null) this.shard.end(this.backend);
    this.backend = null;
  }

  #letGo(name: string, isOwned: boolean): LateStatement | null {
    const { shard, backend } = this;
    const request = this.#requests[0];
    const isWaiting = request !== undefined && request.answer === null && backend?.isAlive === true;
    const isLate = isWaiting && !isRead(request.sql);
    if (!isLate) this.close();
    this.backend = null;
    return isLate ? { name, shard, backend, sql: request.sql, values: request.values, isOwned } : null;
  }

  /** All that can matter for what comes, as text. */
  fingerprint(): string {
    const requests = this.#requests.map(
      ({ sql, values, answer }) => `${sql}${JSON.stringify([values, answer])}`,
    );
    const isHalfway = this.backend?.isHalfway ?? false;
    return `${this.name}:${this.history},${this.backend?.isAlive},${isHalfway},${requests}`;
  }
}

/** The session as a control asks in it. */
export const controlSession = (link: SimulatedLink): ControlSession => ({
  get server() {
    return link.server;
  },
  query: (sql, values) =>
    new Promise<readonly Row[]>((resolve, reject) => {
      link.send(sql, values, (answer) => {
        if (answer === null) reject(new Error("Connection terminated unexpectedly"));
        else if (answer.kind === "error") reject(databaseError(answer.error));
        else resolve(answer.rows);
      });
    }),
  close: async () => link.close(),
});

/** The session as the commit protocol speaks with a branch. */
export class SimulatedBranchConnection implements BranchConnection {
  readonly shard: ShardId;
  readonly pid: BackendPid;
  readonly backendStart: string;
  readonly timeline: string;
  readonly #link: SimulatedLink;
  #status: "I" | "T" | "E" = "T";

  constructor(link: SimulatedLink) {
    this.#link = link;
    this.shard = link.shard.id;
    this.pid = link.backend!.pid;
    this.backendStart = link.backend!.start;
    this.timeline = link.shard.server.replace(/^.*\//, "");
  }

  get isInTransaction(): boolean {
    return this.#status === "T";
  }

  run(sql: string): Promise<ControlReply> {
    return new Promise((resolve) => {
      this.#link.send(sql, [], (answer) => resolve(this.#reply(answer)));
    });
  }

  runBehind(first: KeptStatement, values: readonly string[], sql: string): Promise<ControlReply> {
    return new Promise((resolve) => {
      this.#link.send(batchText(first, sql), values, (answer) => resolve(this.#reply(answer)));
    });
  }

  #reply(answer: Answer | null): ControlReply {
    if (answer === null) return { kind: "lost", reason: "the connection was lost" };
    this.#status = this.#link.backend?.branch === null ? "I" : "T";
    const status = this.#status;
    if (answer.kind === "error") return { ...answer, status };
    const rows = answer.rows.map((row) => Object.values(row) as (string | null)[]);
    return { kind: "complete", tags: answer.tags, rows, status };
  }
}

function databaseError({ message, sqlstate, severity }: ErrorFields): DatabaseError {
  const error = new DatabaseError(message, message.length, "error");
  error.code = sqlstate;
  error.severity = severity;
  return error;
}
