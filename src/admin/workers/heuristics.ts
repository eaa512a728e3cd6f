// Pure.
/** What operators decided about transactions in doubt, as several workers tell it: once, by the one who knows most. */
import type { HeuristicView } from "../views.ts";
import type { Facts } from "./facts.ts";

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
