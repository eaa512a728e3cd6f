/**
 * Asks one server how it is, through a session of its own that stays open.
 *
 * A session that is slow to answer is given up, and the next question opens another. A server that turns the monitor
 * away for a reason of its own (no connection left, a role that may not log in) is up all the same.
 */
import { type Client, DatabaseError } from "pg";
import type { ShardConfig } from "../../config/config.ts";
import { controlClient, endClient } from "../controlClient.ts";
import type { HostReason } from "./hostState.ts";
import type { ServerFacts } from "./primary.ts";
import type { StandbyPosition } from "./replicationLag.ts";

export interface HostSample extends ServerFacts, StandbyPosition {
  /** Of a primary: how far it has written. */
  readonly writtenBytes: number | null;
  /** How many more transactions could be prepared there. */
  readonly freePreparedSlots: number;
  readonly latencyMs: number;
}

export type ProbeResult =
  | { readonly kind: "answered"; readonly sample: HostSample }
  | { readonly kind: "turnedAway"; readonly says: string }
  | { readonly kind: "failed"; readonly reason: HostReason };

/** The timeline of a primary is in the names of its WAL files at once; the control file has it after a checkpoint. */
const TIMELINE =
  "CASE WHEN pg_catalog.pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()) ELSE " +
  "('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int END";
const IDENTIFIER = "(SELECT system_identifier::text FROM pg_catalog.pg_control_system())";

/** What a server is asked that is connected to: its role, system identifier and timeline. */
export const FACTS = `SELECT pg_catalog.pg_is_in_recovery(), ${IDENTIFIER}, ${TIMELINE}`;
/** The same for a role that may not read the control file. */
export const FACTS_PLAIN =
  "SELECT pg_catalog.pg_is_in_recovery(), NULL, CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN " +
  "('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int END";

const bytes = (lsn: string): string => `(${lsn} - '0/0'::pg_catalog.pg_lsn)::float8`;
/** Not the view of what is prepared: it looks up roles, and waits for what has locked them. */
const MORE = `
  ${bytes("CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_lsn() END")},
  ${bytes("pg_catalog.pg_last_wal_replay_lsn()")},
  extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())::float8,
  pg_catalog.current_setting('max_prepared_transactions')::int - (SELECT count(*) FROM pg_catalog.pg_prepared_xact())::int`;

export const PERMISSION_DENIED = "42501";
/** It takes no connections now, or ends those it has. */
const GOING_OR_COMING = /^57P0[1-3]$/;

/** `row`: what FACTS gives, as text. */
export const readFacts = ([standby, identifier, timeline]: readonly unknown[]): ServerFacts => ({
  role: String(standby).startsWith("t") ? "standby" : "primary",
  systemIdentifier: identifier === null || identifier === undefined ? null : String(identifier),
  timeline: numberOf(timeline),
});

const numberOf = (value: unknown): number | null =>
  value === null || value === undefined ? null : Number(value);

export class HostProbe {
  readonly #shard: ShardConfig;
  readonly #wantedTimeoutMs: () => number;
  /** That of the session that is open. */
  #timeoutMs = 0;
  readonly #now: () => number;
  #client: Promise<Client> | null = null;
  #isPlain = false;
  #isClosed = false;

  /** `shard` at that server; `now` in monotonic ms; another `timeoutMs` holds from the next question on. */
  constructor(shard: ShardConfig, timeoutMs: () => number, now: () => number) {
    this.#shard = shard;
    this.#wantedTimeoutMs = timeoutMs;
    this.#now = now;
  }

  /** Never rejects. */
  async ask(): Promise<ProbeResult> {
    try {
      return await this.#ask();
    } catch (error) {
      return this.#judge(error as Error);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const client = this.#client;
    this.#client = null;
    await client?.then(endClient, () => {});
  }

  async #ask(): Promise<ProbeResult> {
    if (this.#isClosed) throw new Error("closed");
    if (this.#client !== null && this.#timeoutMs !== this.#wantedTimeoutMs()) this.#drop(this.#client);
    this.#client ??= this.#open();
    const opening = this.#client;
    try {
      const client = await opening;
      const startedMs = this.#now();
      const row = await this.#row(client);
      return { kind: "answered", sample: sampleOf(row, this.#now() - startedMs) };
    } catch (error) {
      this.#drop(opening);
      throw error;
    }
  }

  async #row(client: Client): Promise<readonly unknown[]> {
    const ask = async (facts: string) =>
      (await client.query<unknown[]>({ text: `${facts}, ${MORE}`, rowMode: "array" })).rows[0]!;
    if (this.#isPlain) return ask(FACTS_PLAIN);
    try {
      return await ask(FACTS);
    } catch (error) {
      if (!(error instanceof DatabaseError) || error.code !== PERMISSION_DENIED) throw error;
      this.#isPlain = true;
      return ask(FACTS_PLAIN);
    }
  }

  #judge(error: Error): ProbeResult {
    if (error instanceof DatabaseError && !GOING_OR_COMING.test(error.code ?? "")) {
      return { kind: "turnedAway", says: `${error.message} (${error.code})` };
    }
    // The driver has no code for it.
    if (/timeout/i.test(error.message) && (error as NodeJS.ErrnoException).code === undefined) {
      return { kind: "failed", reason: { kind: "silent", timeoutMs: this.#timeoutMs } };
    }
    return { kind: "failed", reason: { kind: "refused", says: error.message } };
  }

  #open(): Promise<Client> {
    this.#timeoutMs = this.#wantedTimeoutMs();
    const client = controlClient(this.#shard, "pgxa monitor", this.#timeoutMs);
    client.on("error", () => this.#drop(opening));
    const opening = client.connect().then(
      () => client,
      (error: unknown) => {
        endClient(client);
        throw error;
      },
    );
    opening.catch(() => this.#drop(opening));
    return opening;
  }

  #drop(opening: Promise<Client>): void {
    if (this.#client === opening) this.#client = null;
    opening.then(endClient, () => {});
  }
}

function sampleOf(row: readonly unknown[], latencyMs: number): HostSample {
  const [, , , written, replayed, age, free] = row;
  return {
    ...readFacts(row),
    writtenBytes: numberOf(written),
    replayedBytes: numberOf(replayed),
    replayAgeSeconds: numberOf(age),
    freePreparedSlots: Number(free),
    latencyMs,
  };
}
