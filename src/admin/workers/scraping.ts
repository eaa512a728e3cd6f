/** The metrics of all workers and of their parent, as one process would have them. */
import { Registry } from "prom-client";
import type { Instrument } from "../instrument.ts";
import { registerAll } from "../instruments.ts";
import type { Shown } from "../views.ts";
import type { FactName, Facts } from "./facts.ts";
import { type Family, mergeFamilies } from "./families.ts";
import { MergedSources } from "./mergedSources.ts";

/** What the instruments read; a test compares. */
export const METRIC_FACTS: readonly FactName[] = [
  "version",
  "traffic",
  "refusals",
  "clientGroups",
  "handshakes",
  "servers",
  "databases",
  "checkouts",
  "users",
  "shards",
  "planCache",
  "limits",
  "inDoubt",
  "verdicts",
  "decisions",
  "commits",
  "lockWaits",
  "isDraining",
  "operations",
  "workers",
  "counted",
];

/** What `registry` counts, to be sent to another process. */
export const ownFamilies = async (registry: Registry): Promise<readonly Family[]> =>
  (await registry.getMetricsAsJSON()) as unknown as readonly Family[];

/** What Prometheus reads. */
export interface Scrape {
  readonly contentType: string;
  metrics(): Promise<string>;
}

export interface ScrapingParts {
  /** What the parent itself counts. */
  readonly own: Registry;
  readonly instruments: readonly Instrument[];
  gather(names: readonly FactName[]): Promise<Partial<Facts>>;
  wallMs(): number;
}

export class Scraping implements Scrape {
  readonly #parts: ScrapingParts;

  constructor(parts: ScrapingParts) {
    this.#parts = parts;
  }

  get contentType(): string {
    return this.#parts.own.contentType;
  }

  async metrics(): Promise<string> {
    const { own, instruments, gather, wallMs } = this.#parts;
    const facts = await gather(METRIC_FACTS);
    const registry = new Registry();
    for (const family of withOwn(await ownFamilies(own), facts.counted ?? [])) {
      registry.registerMetric({ ...family, get: async () => family } as never);
    }
    const sources: Shown = new MergedSources(facts, wallMs);
    registerAll(registry, instruments, sources);
    return registry.metrics();
  }
}

/** The parent's own is added where numbers add up, and stands in where the workers have none together: a start time. */
function withOwn(own: readonly Family[], theirs: readonly Family[]): readonly Family[] {
  const known = new Set(theirs.map(({ name }) => name));
  const added = own.filter(({ name, aggregator }) => aggregator === "sum" || !known.has(name));
  const kept = added.filter(({ aggregator }) => aggregator === "omit");
  return [...kept, ...mergeFamilies([...added, ...theirs])];
}
