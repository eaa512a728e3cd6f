/**
 * One metric that is worked out when Prometheus asks, from numbers that are kept anyway.
 *
 * Its label values come from small sets, or are cut off: names that clients choose beyond the first hundred become one.
 */
import type { Metric, MetricObjectWithValues, MetricValue, Registry } from "prom-client";
import type { Buckets } from "../observe/buckets.ts";
import { OTHER } from "../observe/traffic.ts";
import type { Shown } from "./views.ts";

export type Labels = Readonly<Record<string, string>>;
export type Sample = readonly [labels: Labels, value: number];

export interface Instrument {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  readonly read:
    | { readonly type: "gauge" | "counter"; samples(sources: Shown): Iterable<Sample> }
    | {
        readonly type: "histogram";
        buckets(sources: Shown): Iterable<readonly [labels: Labels, buckets: Buckets]>;
      };
}

const NAMES_MAX = 100;

/** Lets `registry` have `instrument`, which reads `sources`. */
export function register(registry: Registry, { name, help, labels, read }: Instrument, sources: Shown): void {
  const { type } = read;
  const metric = {
    name,
    help,
    type,
    labelNames: labels,
    get: async () => ({
      name,
      help,
      type,
      aggregator: "sum",
      values:
        type === "histogram" ? histogramValues(name, read.buckets(sources)) : sums(read.samples(sources)),
    }),
  };
  registry.registerMetric(metric as unknown as Metric);
}

type Value = MetricValue<string> & { readonly metricName?: string };
export type Values = MetricObjectWithValues<Value>;

/** One value for all samples of the same labels. */
function sums(samples: Iterable<Sample>): readonly Value[] {
  const values = new Map<string, { labels: Labels; value: number }>();
  for (const [labels, value] of samples) {
    const key = JSON.stringify(Object.values(labels));
    const known = values.get(key);
    if (known === undefined) values.set(key, { labels, value });
    else known.value += value;
  }
  return [...values.values()];
}

function histogramValues(name: string, all: Iterable<readonly [Labels, Buckets]>): readonly Value[] {
  const values: Value[] = [];
  for (const [labels, { boundsMs, counts, sumMs }] of all) {
    let count = 0;
    for (const [i, boundMs] of [...boundsMs, Number.POSITIVE_INFINITY].entries()) {
      count += counts[i]!;
      const le = boundMs === Number.POSITIVE_INFINITY ? "+Inf" : String(boundMs / 1_000);
      values.push({ metricName: `${name}_bucket`, labels: { ...labels, le }, value: count });
    }
    values.push({ metricName: `${name}_sum`, labels, value: sumMs / 1_000 });
    values.push({ metricName: `${name}_count`, labels, value: count });
  }
  return values;
}

/** Tells names apart, up to a hundred of them. */
export function limitNames(): (name: string) => string {
  const known = new Set<string>();
  return (name) => {
    if (known.size < NAMES_MAX) known.add(name);
    return known.has(name) ? name : OTHER;
  };
}
