// Pure.
/** What is wrong with a configuration: everything at once, each with its place and what to do. */
import { Fault } from "../base/fault.ts";

export interface Problem {
  /** The option's path in the file; empty for the file as a whole. */
  readonly path: string;
  /** 1-based; 0 where there is no place. */
  readonly line: number;
  readonly column: number;
  readonly says: string;
  readonly advice: string;
}

/** A Fault `config.invalid` whose message lists the problems of `source`, a file's name. */
export function configFault(source: string, problems: readonly Problem[]): Fault {
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  const lines = problems.map(({ path, line, column, says, advice }) => {
    const place = line === 0 ? source : `${source}:${line}:${column}`;
    return `  ${place}: ${path === "" ? "the file" : path} ${says}. ${advice}`;
  });
  return new Fault("config.invalid", { message: `${count} in ${source}:\n${lines.join("\n")}` });
}

/** The candidate that is most like `name`, for a "did you mean"; null if none is near. */
export function nearest(name: string, candidates: readonly string[]): string | null {
  const ranked = candidates
    .map((candidate) => ({ candidate, far: distance(name, candidate) }))
    .sort((a, b) => a.far - b.far);
  const [best] = ranked;
  return best !== undefined && best.far <= Math.max(1, Math.floor(name.length / 3)) ? best.candidate : null;
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substitution, previous[j]! + 1, row[j - 1]! + 1));
    }
    previous = row;
  }
  return previous[b.length]!;
}
