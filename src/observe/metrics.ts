/**
 * The instruments, by Prometheus's conventions: names in base units, labels from small sets.
 *
 * A registry for each proxy, none for the process: a test builds two proxies in one.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** From a look that comes at once to Postgres's own deadlock_timeout and beyond, in seconds. */
const DETECTION_SECONDS = [0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5];

export class Metrics {
  readonly registry = new Registry();
  /** How often clients were pinned, by reason; whoever pins counts here. */
  readonly pinCounts = new Map<string, number>();
  readonly pins = new Counter({
    name: "pgxa_pins_total",
    help: "How often a client began to keep its server connection for state that cannot be carried, by reason",
    labelNames: ["reason"] as const,
    registers: [this.registry],
    collect: () => this.#collectPins(),
  });
  /** How many clients are pinned now. */
  countPinned: () => number = () => 0;
  readonly pinned = new Gauge({
    name: "pgxa_pinned_clients",
    help: "Clients that keep a server connection for state that cannot be carried",
    registers: [this.registry],
    collect: () => this.#collectPinned(),
  });
  readonly deadlocks = new Counter({
    name: "pgxa_deadlocks_total",
    help: "Deadlocks over several shards or pools that were broken, by the size of their circle and what they went through",
    labelNames: ["size", "cause"] as const,
    registers: [this.registry],
  });
  readonly deadlockDetection = new Histogram({
    name: "pgxa_deadlock_detection_seconds",
    help: "How long the circle had been closed when it was broken",
    buckets: DETECTION_SECONDS,
    registers: [this.registry],
  });
  readonly deadlockProbes = new Counter({
    name: "pgxa_deadlock_probes_total",
    help: "Questions to a shard who waits there for whom",
    registers: [this.registry],
  });

  #collectPinned(): void {
    this.pinned.set(this.countPinned());
  }

  #collectPins(): void {
    this.pins.reset();
    for (const [reason, count] of this.pinCounts) this.pins.inc({ reason }, count);
  }
}
