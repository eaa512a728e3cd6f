// Pure.
/**
 * Metrics that prom-client keeps, of several processes: one family of each name, its values put together as the metric
 * says, added up if it says nothing.
 */

export interface FamilyValue {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly metricName?: string;
}

/** As `Registry.getMetricsAsJSON` has it. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator: string;
  readonly values: readonly FamilyValue[];
}

const add = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0);

/** prom-client's names for it; `omit`: it means nothing for several processes. */
const AGGREGATORS: Readonly<Record<string, (numbers: readonly number[]) => number>> = {
  sum: add,
  first: (numbers) => numbers[0]!,
  min: (numbers) => Math.min(...numbers),
  max: (numbers) => Math.max(...numbers),
  average: (numbers) => add(numbers) / numbers.length,
};

/** In the order of their first. */
export function mergeFamilies(families: readonly Family[]): readonly Family[] {
  const byName = new Map<string, Family[]>();
  for (const family of families) {
    const known = byName.get(family.name);
    if (known === undefined) byName.set(family.name, [family]);
    else known.push(family);
  }
  return [...byName.values()].flatMap((all) => {
    const [first] = all;
    const aggregate = AGGREGATORS[first!.aggregator];
    if (aggregate === undefined) return [];
    return [{ ...first!, values: mergeValues(all, aggregate) }];
  });
}

function mergeValues(
  families: readonly Family[],
  aggregate: (numbers: readonly number[]) => number,
): readonly FamilyValue[] {
  const found = new Map<string, { readonly one: FamilyValue; readonly numbers: number[] }>();
  for (const one of families.flatMap(({ values }) => values)) {
    const labels = Object.entries(one.labels).sort(([a], [b]) => (a < b ? -1 : 1));
    const key = JSON.stringify([one.metricName ?? "", labels]);
    const known = found.get(key);
    if (known === undefined) found.set(key, { one, numbers: [one.value] });
    else known.numbers.push(one.value);
  }
  return [...found.values()].map(({ one, numbers }) => ({ ...one, value: aggregate(numbers) }));
}

/** What of a process that is gone still counts. */
export const familiesThatGrow = (families: readonly Family[]): readonly Family[] =>
  families.filter(({ type }) => type === "counter" || type === "histogram");
