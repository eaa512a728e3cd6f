// Pure.
/** What is wrong with a configuration: everything at once, each with its place and what to do. */
import { Fault } from "../base/fault.ts";
import { OPTIONS } from "./options.ts";

export interface Problem {
  /** The option's path in the file; empty for the file as a whole. */
  readonly path: string;
  /** 1-based. */
  readonly line: number;
  readonly column: number;
  /** Quotes no secret, and nothing that might be one. */
  readonly says: string;
  readonly advice: string;
}

/** A Fault `config.invalid` whose message lists the problems of `source`, a file's name, from top to bottom. */
export function configFault(source: string, problems: readonly Problem[]): Fault {
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  const lines = problems
    .toSorted((a, b) => a.line - b.line || a.column - b.column)
    .map(({ path, line, column, says, advice }) => {
      const what = path === "" ? "the file" : path;
      return `  ${source}:${line}:${column}: ${what} ${says}. ${advice}`;
    });
  return new Fault("config.invalid", { message: `${count} in ${source}:\n${lines.join("\n")}` });
}

/** So many options of the same name in other sections are named. */
const ELSEWHERE_MAX = 3;

/** What may have been meant by `name`, which is none of those `known` under `prefix`. */
export function didYouMean(prefix: string, name: string, known: readonly string[]): string {
  const elsewhere = OPTIONS.filter(({ path }) => path.endsWith(`.${name}`) && !path.includes("[]"));
  const near = nearest(name, known);
  if (near !== null) return `Did you mean ${near}?`;
  if (elsewhere.length > 0 && elsewhere.length <= ELSEWHERE_MAX)
    return `Did you mean ${elsewhere.map(({ path }) => path).join(" or ")}?`;
  return `Known ${prefix === "" ? "at the top" : "here"}: ${known.join(", ")}.`;
}

/** The candidate that is most like `name`; null if none is near. */
export function nearest(name: string, candidates: readonly string[]): string | null {
  const ranked = candidates
    .map((candidate) => ({ candidate, far: distance(name, candidate) }))
    .sort((a, b) => a.far - b.far);
  const [best] = ranked;
  return best !== undefined && best.far <= Math.max(1, Math.floor(name.length / 3)) ? best.candidate : null;
}

/** Levenshtein's distance, in which two neighbours that changed places count as one change. */
function distance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i += 1) {
    const [row, above] = [[i], rows[i - 1]!];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = isSwap ? rows[i - 2]![j - 2]! + 1 : Number.POSITIVE_INFINITY;
      row.push(Math.min(substitution, above[j]! + 1, row[j - 1]! + 1, swap));
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
