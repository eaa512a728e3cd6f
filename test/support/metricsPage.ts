/** docs/metrics.md, with its tables made from the instruments themselves. */
import type { Instrument } from "../../src/admin/instrument.ts";
import { INSTRUMENTS } from "../../src/admin/instruments.ts";
import { PEER_INSTRUMENTS } from "../../src/admin/peerInstruments.ts";
import { DURATION_BOUNDS_MS } from "../../src/observe/buckets.ts";
import { Metrics } from "../../src/observe/metrics.ts";
import { MADE, table } from "./pageParts.ts";

const HEADS = ["metric", "type", "labels", "what it is"];

const rowOf = (name: string, type: string, labels: readonly string[], help: string): readonly string[] => [
  `\`${name}\``,
  type,
  labels.map((label) => `\`${label}\``).join(", "),
  help,
];

const tableOf = (instruments: readonly Instrument[], more: readonly (readonly string[])[] = []): string =>
  table(HEADS, [
    ...instruments.map(({ name, help, labels, read }) => rowOf(name, read.type, labels, help)),
    ...more,
  ]);

/** Those that prom-client keeps. */
const counted = (): readonly (readonly string[])[] =>
  new Metrics().registry.getMetricsAsArray().map((metric) => {
    const { name, help, type, labelNames } = metric as unknown as {
      name: string;
      help: string;
      type: string;
      labelNames: readonly string[];
    };
    return rowOf(name, type, labelNames, help);
  });

export const metricsPage = (): string => `# Metrics and probes

${MADE}

With \`metrics.port\` set, pgxa answers HTTP there from before the first client is let in until after the last one has gone:

| path | answers |
| --- | --- |
| \`/metrics\` | Prometheus's text format |
| \`/health\` | 200 while the process lives: a liveness probe |
| \`/ready\` | 200 while clients should be sent here, 503 before the start, from the first moment of a shutdown on, and while no shard is up; JSON with the state of each shard |
| \`/startup\` | 503 until clients are let in, then 200 |

The same endpoint has no login: keep \`metrics.host\` on an address that only those reach who may read it.
[config/grafana/pgxa.json](../config/grafana/pgxa.json) is a dashboard of these metrics.

## pgxa's metrics

- Durations are in seconds, in buckets from ${DURATION_BOUNDS_MS[0]} ms to ${DURATION_BOUNDS_MS.at(-1)! / 1_000} s. A *query* is what ends with a ReadyForQuery.
- Labels that clients choose are cut off at 100 databases; all others together are \`(other)\`.
- \`database="pgxa"\` is the console.
- \`pgxa_shard_state\` and \`pgxa_breaker_state\` are there where shards are watched.

${tableOf(INSTRUMENTS, counted())}

With \`workers\` above one, the parent of the workers answers for all on the one port:

- Counters and histograms are those of all workers, and of workers that have died as they were when somebody last asked: they do not
  go backwards when a worker is followed by another.
- Gauges of clients and connections add up; limits are there once; \`pgxa_longest_wait_seconds\` is the longest; a shard is as the
  worker sees it that sees the worst.
- \`/health\` is 200 while the parent lives. \`/ready\` is 503, too, while no worker answers; the death of one of several does not change it.
- A worker that does not answer within five seconds is left out, but for what it had counted before.

Besides there are the \`process_\` and \`nodejs_\` metrics of prom-client: memory, processor time, event loop lag, garbage collection;
of several workers the sum with their parent's, of event loop lag the workers' average, and of its extremes the extreme.

What is worth an alert:

- \`pgxa_in_doubt_oldest_seconds > 60\`: a shard has been unreachable for long with a transaction prepared on it, or one is left
  that pgxa does not know the decision of. SHOW IN_DOUBT says which ([docs/in-doubt.md](in-doubt.md)).
- \`pgxa_heuristic_outcomes{verdict=~"contradicted|hazard"} > 0\`: an operator's guess has torn a transaction, or may have.
- \`pgxa_longest_wait_seconds > 5\`, or a growing \`pgxa_client_wait_seconds\`: the pool is too small, or transactions too long.
- \`increase(pgxa_commits_total{outcome="unknown"}[5m]) > 0\`: clients were told 08007.
- \`increase(pgxa_worker_restarts_total[5m]) > 0\`: a worker has died; the log says how.
- \`pgxa_pinned_clients\` near \`pool.max\`: state that cannot be carried keeps connections; SHOW PINS says whose.

## pgbouncer_exporter's names

With \`metrics.pgbouncer_names: true\`, \`/metrics\` has these too. The exporter itself also works against the console, without
this option.

${tableOf(PEER_INSTRUMENTS)}
`;
