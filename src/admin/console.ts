/**
 * The console: what `SHOW …` on the database `pgxa` answers.
 *
 * Every table has text columns for a reader and, where there is more to say than fits, a JSON column for a program.
 */
import { Fault } from "../base/fault.ts";
import type { DeadlockRecord } from "../deadlock/history.ts";
import { describeCircle, type WaitRow } from "../deadlock/report.ts";
import type { Column } from "../wire/backendWriters.ts";

/** Where the console finds what it shows. */
export interface ConsoleSources {
  /** Every wait for a lock or a connection now; asks the shards. */
  waits(): Promise<readonly WaitRow[]>;
  /** The last deadlocks, oldest first. */
  deadlocks(): readonly DeadlockRecord[];
  /** The server connections that clients keep for state that cannot be carried. */
  pins(): readonly PinRow[];
}

export interface PinRow {
  /** The process id that the client was given. */
  readonly client: number;
  readonly shard: string;
  /** Of the server. */
  readonly pid: number;
  readonly reasons: readonly string[];
  readonly pinnedMs: number;
}

export interface ConsoleTable {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly (string | null)[])[];
}

type Show = (sources: ConsoleSources) => Promise<ConsoleTable>;

const INT8 = 20;
const TEXT = 25;
const JSON_TYPE = 114;
const TIMESTAMPTZ = 1184;

/** What can be shown, with what it is for. */
const SHOWS: Readonly<Record<string, { readonly says: string; readonly show: Show }>> = {
  WAITS: { says: "who waits for which lock or connection, and for whom", show: showWaits },
  DEADLOCKS: { says: "the last deadlocks over several shards, and who gave way", show: showDeadlocks },
  PINS: { says: "which clients keep a server connection, and for what", show: showPins },
  HELP: { says: "this list", show: showHelp },
};

/** The answer to one command; rejects with a Fault for one that is none. */
export async function answerConsole(command: string, sources: ConsoleSources): Promise<ConsoleTable> {
  const what = /^\s*SHOW\s+(\w+)[\s;]*$/i.exec(command)?.[1] ?? "";
  const known = SHOWS[what.toUpperCase()];
  if (known !== undefined) return known.show(sources);
  throw new Fault("console.unknown_command", {
    hint: `The console knows ${Object.keys(SHOWS)
      .map((name) => `SHOW ${name}`)
      .join(", ")}.`,
  });
}

const column = (name: string, typeOid: number): Column => ({ name, typeOid });
const textOf = (value: number | null): string | null => (value === null ? null : String(value));
const ms = (value: number): string => String(Math.round(value));

async function showWaits(sources: ConsoleSources): Promise<ConsoleTable> {
  const waits = await sources.waits();
  return {
    columns: [
      column("client", INT8),
      column("gtrid", TEXT),
      column("shard", TEXT),
      column("pid", INT8),
      column("waits_for", TEXT),
      column("waited_ms", INT8),
      column("blocked_by", TEXT),
      column("json", JSON_TYPE),
    ],
    rows: waits.map((wait) => [
      textOf(wait.client),
      wait.gtrid,
      wait.shard,
      textOf(wait.pid),
      wait.waitsFor,
      ms(wait.waitedMs),
      wait.blockedBy.join(", "),
      JSON.stringify(wait),
    ]),
  };
}

async function showDeadlocks(sources: ConsoleSources): Promise<ConsoleTable> {
  return {
    columns: [
      column("id", INT8),
      column("at", TIMESTAMPTZ),
      column("size", INT8),
      column("cause", TEXT),
      column("victim", INT8),
      column("shards", TEXT),
      column("detection_ms", INT8),
      column("detail", TEXT),
      column("json", JSON_TYPE),
    ],
    rows: sources
      .deadlocks()
      .map((deadlock) => [
        String(deadlock.id),
        new Date(deadlock.atMs).toISOString().replace("T", " ").replace("Z", "+00"),
        String(deadlock.size),
        deadlock.cause,
        textOf(deadlock.victim),
        [...new Set(deadlock.circle.map(({ shard }) => shard))].join(", "),
        ms(deadlock.detectionMs),
        describeCircle(deadlock.circle),
        JSON.stringify(deadlock),
      ]),
  };
}

async function showPins(sources: ConsoleSources): Promise<ConsoleTable> {
  return {
    columns: [
      column("client", INT8),
      column("shard", TEXT),
      column("pid", INT8),
      column("reasons", TEXT),
      column("pinned_ms", INT8),
    ],
    rows: sources
      .pins()
      .map(({ client, shard, pid, reasons, pinnedMs }) => [
        String(client),
        shard,
        String(pid),
        reasons.join(", "),
        ms(pinnedMs),
      ]),
  };
}

async function showHelp(): Promise<ConsoleTable> {
  return {
    columns: [column("command", TEXT), column("shows", TEXT)],
    rows: Object.entries(SHOWS).map(([name, { says }]) => [`SHOW ${name}`, says]),
  };
}
