/**
 * Heuristic outcomes on the shards: rows of pgxa.decision, whose primary key makes the first one stand.
 *
 * A row is on every shard that has a branch of the transaction, for the shard of its decision is the one that is missing.
 * Its name begins with a word and a slash, which no fleet's name has: nothing that reads or removes decisions takes it
 * for one. The rows are written in the order of the shards, and nobody goes on past one that says otherwise: two who
 * want different things meet at the first.
 */
import type { ShardId } from "../../base/brands.ts";
import type { Clock, Timer } from "../../base/environment.ts";
import type { ShardControl } from "../shardControl.ts";
import { DECIDE } from "../shardLog/schema.ts";
import { type HeuristicRecord, type HeuristicRecords, readRecordText } from "./heuristicRecord.ts";
import type { Verdict } from "./rulingTable.ts";

const PREFIX = "heuristic/";
/** A shard that takes longer holds up nobody. */
const READ_MS_MAX = 1_000;

/** By the primary key, whose order is that of bytes: `;` comes behind `:`. */
const READ =
  "SELECT participants AS record FROM pgxa.decision WHERE gtrid > $1 AND gtrid < $2 ORDER BY gtrid";
const NOTE = "UPDATE pgxa.decision SET participants = $2 WHERE gtrid = $1";

export interface ShardRecordsOptions {
  readonly fleet: string;
  readonly controls: readonly ShardControl[];
  readonly clock: Clock;
}

export class ShardRecords implements HeuristicRecords {
  readonly #options: ShardRecordsOptions;
  /** Of a shard that does not answer nothing more is asked meanwhile. */
  readonly #reading = new Map<ShardControl, Promise<readonly HeuristicRecord[]>>();

  constructor(options: ShardRecordsOptions) {
    this.#options = options;
  }

  async list(): Promise<readonly HeuristicRecord[]> {
    const read = await Promise.all(this.#options.controls.map((control) => this.#listOn(control)));
    const known = new Map<string, HeuristicRecord>();
    for (const record of read.flat()) {
      const before = known.get(record.gtrid);
      if (before === undefined || before.verdict === "unproven") known.set(record.gtrid, record);
    }
    return [...known.values()].sort((a, b) => a.atMs - b.atMs);
  }

  async add(record: HeuristicRecord, shards: readonly ShardId[]): Promise<HeuristicRecord> {
    let standing = record;
    for (const control of this.#options.controls) {
      if (!shards.includes(control.id)) continue;
      const { gtrid, outcome } = record;
      const values = [PREFIX + gtrid, outcome, JSON.stringify(record)];
      const [row] = await control.ask(DECIDE, values);
      standing = readRecordText(String(row?.["participants"])) ?? record;
      if (standing.outcome !== outcome) return standing;
    }
    return standing;
  }

  /** On every shard that has the record and answers. */
  async note(record: HeuristicRecord, verdict: Verdict): Promise<void> {
    const values = [PREFIX + record.gtrid, JSON.stringify({ ...record, verdict })];
    await Promise.allSettled(this.#options.controls.map((control) => control.ask(NOTE, values)));
  }

  async #listOn(control: ShardControl): Promise<readonly HeuristicRecord[]> {
    let timer: Timer | null = null;
    const late = new Promise<readonly HeuristicRecord[]>((resolve) => {
      timer = this.#options.clock.after(READ_MS_MAX, () => resolve([]));
    });
    const reading = this.#reading.get(control) ?? this.#read(control);
    this.#reading.set(control, reading);
    const read = await Promise.race([reading, late]);
    (timer as Timer | null)?.cancel();
    return read;
  }

  /** Never rejects. */
  async #read(control: ShardControl): Promise<readonly HeuristicRecord[]> {
    const { fleet } = this.#options;
    const rows = await control.ask(READ, [`${PREFIX}${fleet}:`, `${PREFIX}${fleet};`]).catch(() => []);
    this.#reading.delete(control);
    return rows.flatMap((row) => readRecordText(String(row["record"])) ?? []);
  }
}
