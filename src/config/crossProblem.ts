// Pure.
/** What checks between options have in common. */
import type { Problem } from "./problems.ts";
import type { RawConfig, Section } from "./reader.ts";

export type CrossProblem = Pick<Problem, "path" | "says" | "advice">;

export const problem = (path: string, says: string, advice: string): CrossProblem => ({ path, says, advice });

export const list = (raw: RawConfig, name: string): readonly Section[] => raw.lists.get(name) ?? [];

/** A problem for each value that was there before; those that are undefined are not compared. */
export function repeated(
  values: readonly unknown[],
  describe: (index: number, first: number) => readonly [path: string, says: string, advice: string],
): readonly CrossProblem[] {
  return values.flatMap((value, i) => {
    const first = values.indexOf(value);
    return value === undefined || first === i ? [] : [problem(...describe(i, first))];
  });
}
