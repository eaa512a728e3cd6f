// Pure.
/**
 * What several workers say of the same transactions, as one of them.
 *
 * Each of them sees on the shards what any of them has prepared there, and only the one whose transaction it is knows
 * whether it is under way: of that one's transactions nobody else is believed.
 */
import type { WaitRow } from "../../deadlock/report.ts";
import type { HeuristicView, InDoubtDetails, InDoubtView } from "../views.ts";
import type { Facts, Told } from "./facts.ts";

/** A row as it is told, by whom. */
interface Teller<Row> {
  readonly row: Row;
  readonly by: string;
}

/** Of each key the best row, and of what a worker owns only its own; in the order of their first. */
function believed<Row>(
  all: readonly Told<Row>[],
  keyOf: (row: Row) => string,
  ownerOf: (row: Row) => string | null,
  isBetter: (row: Row, than: Row) => boolean,
): Told<Row> {
  const workers = new Set(all.map(({ coordinator }) => coordinator));
  const found = new Map<string, Row>();
  const told = all.flatMap(({ coordinator, rows }) =>
    rows.map((row): Teller<Row> => ({ row, by: coordinator })),
  );
  for (const { row, by } of told) {
    const owner = ownerOf(row);
    if (owner !== null && owner !== by && workers.has(owner)) continue;
    const key = keyOf(row);
    const known = found.get(key);
    if (known === undefined || isBetter(row, known)) found.set(key, row);
  }
  return { coordinator: "", rows: [...found.values()] };
}

/** The second part of a gtrid is its coordinator. */
const coordinatorOf = (gtrid: string): string | null => gtrid.split(":")[1] ?? null;

export const mergeDoubts = (all: readonly Told<InDoubtView>[]): Told<InDoubtView> =>
  believed(
    all,
    ({ gid, shard }) => `${shard} ${gid}`,
    ({ gtrid }) => coordinatorOf(gtrid),
    () => false,
  );

const KNOWLEDGE: readonly (string | null)[] = [null, "unknown", "none", "abort", "commit"];

export const mergeDoubtsNow = (all: readonly Told<InDoubtDetails>[]): Told<InDoubtDetails> =>
  believed(
    all,
    ({ gid, shard, reason }) => `${shard} ${gid ?? reason}`,
    ({ coordinator }) => coordinator,
    ({ decision }, than) => KNOWLEDGE.indexOf(decision) > KNOWLEDGE.indexOf(than.decision),
  );

const isUnproven = (verdict: string | undefined): boolean => verdict === undefined || verdict === "unproven";

/** Whoever can compare a heuristic outcome with the decision knows more. */
export function mergeHeuristics(all: readonly (readonly HeuristicView[])[]): readonly HeuristicView[] {
  const found = new Map<string, HeuristicView>();
  for (const one of all.flat()) {
    if (isUnproven(found.get(one.gtrid)?.verdict)) found.set(one.gtrid, one);
  }
  return [...found.values()].sort((a, b) => a.atMs - b.atMs);
}

export function mergeVerdicts(all: readonly Facts["verdicts"][]): Facts["verdicts"] {
  const of: Record<string, string> = {};
  for (const one of all) {
    for (const [gtrid, verdict] of Object.entries(one.of)) {
      if (isUnproven(of[gtrid])) of[gtrid] = verdict;
    }
  }
  return { names: [...new Set(all.flatMap(({ names }) => names))], of };
}

/**
 * A wait is told by all who look at its shard, or ask who waits for connections; only the worker whose client it is knows
 * the client for sure.
 */
export function mergeWaits(all: readonly (readonly WaitRow[])[]): readonly WaitRow[] {
  const found = new Map<string, WaitRow>();
  for (const wait of all.flat()) {
    const { shard, pid, client } = wait;
    const key = JSON.stringify([shard, pid ?? `client ${client}`]);
    const known = found.get(key);
    if (known === undefined || (known.client === null && client !== null)) found.set(key, wait);
  }
  return [...found.values()];
}
