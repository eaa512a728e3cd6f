// Pure.
/** What one application told of its checks on one way to the database, and how two ways compare. */

export interface Outcome {
  /** By check, in the order they ran: null if it passed, else why not. */
  readonly checks: ReadonlyMap<string, string | null>;
  /** Whether the application came to its end. */
  readonly isWhole: boolean;
}

export interface Miss {
  readonly check: string;
  readonly why: string;
}

/** Reads the lines `ok NAME`, `not ok NAME: why` and `done`; others are not for us. */
export function readOutcome(stdout: string): Outcome {
  const checks = new Map<string, string | null>();
  for (const line of stdout.split("\n")) {
    const told = /^(not )?ok ([^:]+)(?:: (.*))?$/.exec(line.trimEnd());
    if (told === null) continue;
    const [, not, name, why] = told;
    checks.set(name!, not === undefined ? null : (why ?? "it did not say why"));
  }
  return { checks, isWhole: /^done$/m.test(stdout) };
}

/** What did not pass, and, if the application broke off, what of `expected` it did not come to. */
export function misses(outcome: Outcome, expected: Iterable<string> = []): readonly Miss[] {
  const told = [...outcome.checks].flatMap(([check, why]) => (why === null ? [] : [{ check, why }]));
  const unreached = [...expected].filter((check) => !outcome.checks.has(check));
  return [...told, ...unreached.map((check) => ({ check, why: "the application broke off before it" }))];
}

export const passedCount = (outcome: Outcome): number =>
  [...outcome.checks.values()].filter((why) => why === null).length;

/** What is missed on `other` and passes on `direct`. */
export function onlyMissedThere(direct: Outcome, other: Outcome): readonly Miss[] {
  return misses(other, direct.checks.keys()).filter(({ check }) => direct.checks.get(check) === null);
}
