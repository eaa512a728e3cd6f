/**
 * All that can be found out about one transaction in doubt, asked when somebody looks: where its branches are, who has
 * it in hand, and what is known of its decision.
 *
 * What is asked last is the decision: a transaction that ends meanwhile is found decided.
 */
import type { Gtrid, ShardId } from "../../base/brands.ts";
import type { DecisionLog } from "../decisionLog.ts";
import { type GidParts, type GtridParts, gidPrefix, gtrid, parseGid } from "../gid.ts";
import type { PreparedBranch, ShardControl } from "../shardControl.ts";
import { readDecisions } from "../shardLog/decisionTable.ts";
import { READ_LIVING } from "../shardLog/schema.ts";
import type { HeuristicRecord, HeuristicRecords } from "./heuristicRecord.ts";
import type { Knowledge, Occupation } from "./rulingTable.ts";

export interface CaseSources {
  readonly fleet: string;
  readonly coordinator: string;
  readonly controls: readonly ShardControl[];
  /** What this process may ask about decisions that are not on a shard; null: nothing. */
  readonly decisions: DecisionLog | null;
  readonly records: HeuristicRecords;
  /** This process's epoch, under which it decides on shards; 0 if it does not. */
  epoch(): number;
  isRunning(transaction: Gtrid): boolean;
  /** How long a commit may take; what is older is not taken to be under way where nothing else tells. */
  readonly youngMs: number;
}

/** What a shard has of the transaction. */
export interface Standpoint {
  readonly control: ShardControl;
  readonly branch: PreparedBranch | null;
  /** Why it could not be asked; null if it could. */
  readonly failure: string | null;
}

export interface TransactionCase {
  readonly transaction: Gtrid;
  readonly parts: GtridParts;
  readonly standpoints: readonly Standpoint[];
  /** The shard that its gids name; null: its decision is in files. */
  readonly anchor: ShardId | null;
  readonly occupation: Occupation;
  /** Why that is so, in words; empty where nobody has it. */
  readonly holder: string;
  readonly knowledge: Knowledge;
  /** Where that is from, in words. */
  readonly source: string;
  /** What an operator said before. */
  readonly record: HeuristicRecord | null;
  /** Shards that other pgxa processes are connected to, where that matters: one of them may have it. */
  readonly visited: readonly ShardId[];
}

interface Occupied {
  readonly occupation: Occupation;
  readonly holder: string;
}

interface Known {
  readonly knowledge: Knowledge;
  readonly source: string;
}

const FREE: Occupied = { occupation: "nobody", holder: "" };

export async function lookAt(
  transaction: Gtrid,
  parts: GtridParts,
  sources: CaseSources,
): Promise<TransactionCase> {
  const standpoints = await Promise.all(
    sources.controls.map((control) => stand(control, transaction, parts)),
  );
  const [branch] = standpoints.flatMap((standpoint) => standpoint.branch ?? []);
  const named = branch === undefined ? null : parseGid(branch.gid);
  const anchor = named?.anchor ?? null;
  const record =
    (await sources.records.list()).find(
      (one) => one.gtrid === transaction && one.verdict !== "contradicted",
    ) ?? null;
  const occupied = named === null ? FREE : await occupationOf(named, standpoints, sources);
  const known = await knowledgeOf(transaction, parts, anchor, sources);
  const isSaid = known.knowledge === "unknowable" && record !== null;
  const said = isSaid ? { knowledge: record.outcome, source: `${record.by} has said so before` } : known;
  const isGuess = known.knowledge === "unknowable" && anchor === null;
  const visited = isGuess ? await visitedOf(standpoints) : [];
  return { transaction, parts, standpoints, anchor, ...occupied, ...said, record, visited };
}

const OTHERS =
  "SELECT FROM pg_catalog.pg_stat_get_activity(NULL) WHERE application_name = 'pgxa control' AND pid <> pg_catalog.pg_backend_pid() LIMIT 1";

/** Never rejects. */
async function visitedOf(standpoints: readonly Standpoint[]): Promise<readonly ShardId[]> {
  const reached = standpoints.filter(({ failure }) => failure === null);
  const found = await Promise.all(
    reached.map(async ({ control }) => {
      const rows = await control.ask(OTHERS, []).catch(() => []);
      return rows.length > 0 ? [control.id] : [];
    }),
  );
  return found.flat();
}

/** Never rejects. */
async function stand(control: ShardControl, transaction: Gtrid, { fleet }: GtridParts): Promise<Standpoint> {
  try {
    const branches = await control.prepared(gidPrefix(fleet));
    const branch = branches.find(({ gid }) => {
      const named = parseGid(gid);
      return named !== null && gtrid(named) === transaction;
    });
    return { control, branch: branch ?? null, failure: null };
  } catch (error) {
    return { control, branch: null, failure: (error as Error).message };
  }
}

// --- who has it in hand ---

async function occupationOf(
  named: GidParts,
  standpoints: readonly Standpoint[],
  sources: CaseSources,
): Promise<Occupied> {
  const { coordinator, epoch } = named;
  if (sources.isRunning(gtrid(named))) return { occupation: "running", holder: "this pgxa is committing it" };
  if (named.anchor !== null) return leaseholder(named, standpoints, sources);
  const isOwn = coordinator === sources.coordinator;
  if (isOwn && sources.decisions !== null) {
    if (sources.decisions.answersFor(epoch)) return FREE;
    return { occupation: "alive", holder: `another process of coordinator "${coordinator}" answers for it` };
  }
  // Nothing tells whether that one lives. It does not take longer than this for a commit.
  const ageMs = Math.min(...standpoints.flatMap(({ branch }) => branch?.ageMs ?? []));
  if (ageMs >= sources.youngMs) return FREE;
  const seconds = Math.ceil((sources.youngMs - ageMs) / 1_000);
  const holder = `coordinator "${coordinator}" may be at work on it: it was prepared a moment ago; try again in ${seconds} s`;
  return { occupation: "alive", holder };
}

/** An owner with a lease that runs on any shard lives. */
async function leaseholder(
  { fleet, coordinator, epoch }: GidParts,
  standpoints: readonly Standpoint[],
  sources: CaseSources,
): Promise<Occupied> {
  if (coordinator === sources.coordinator && epoch === sources.epoch()) return FREE;
  const reached = standpoints.filter(({ failure }) => failure === null);
  const asked = await Promise.all(
    reached.map(({ control }) => control.ask(READ_LIVING, [fleet]).catch(() => [])),
  );
  const lives = asked
    .flat()
    .some((row) => row["coordinator"] === coordinator && Number(row["epoch"]) === epoch);
  if (!lives) return FREE;
  return { occupation: "alive", holder: `coordinator "${coordinator}" lives: its lease is running` };
}

// --- what is known of the decision ---

export async function knowledgeOf(
  transaction: Gtrid,
  { coordinator, epoch }: GtridParts,
  anchor: ShardId | null,
  sources: CaseSources,
): Promise<Known> {
  if (anchor !== null) return onAnchor(transaction, anchor, sources);
  const { decisions } = sources;
  if (coordinator !== sources.coordinator) {
    return { knowledge: "unknowable", source: `it is in the decision log of coordinator "${coordinator}"` };
  }
  if (decisions === null)
    return { knowledge: "unknowable", source: "there is no decision log of files here" };
  if (!decisions.isSound) return { knowledge: "failed", source: "the decision log could not be written" };
  const knowledge = decisions.lookup(transaction, epoch);
  const source =
    knowledge === "unknowable"
      ? "it may have been lost with an older or damaged decision log"
      : `the decision log ${knowledge === "absent" ? "has no commit" : "says so"}`;
  return { knowledge, source };
}

async function onAnchor(transaction: Gtrid, anchor: ShardId, { controls }: CaseSources): Promise<Known> {
  const decider = controls.find(({ id }) => id === anchor);
  if (decider === undefined) {
    return { knowledge: "unknowable", source: `shard "${anchor}" has it, which is not configured` };
  }
  try {
    const standing = (await readDecisions(decider, [transaction])).get(transaction);
    if (standing !== undefined) return { knowledge: standing, source: `shard "${anchor}" says so` };
    return { knowledge: "absent", source: `shard "${anchor}" has no decision` };
  } catch (error) {
    const why = (error as Error).message;
    return { knowledge: "unknowable", source: `shard "${anchor}" has it, which cannot be asked: ${why}` };
  }
}
