/**
 * Asks every server of one shard how it is, again and again, and tells what it hears (shardHealth.ts).
 *
 * Each server on its own, so that one that hangs delays no news of the others. While all is well it asks at the
 * configured interval, unevenly; where something is wrong, or a primary is missing, after pauses that begin small and
 * grow. Whatever goes wrong with a connection makes it look at once.
 */
import { detach } from "../../base/detach.ts";
import type { Environment, Timer } from "../../base/environment.ts";
import { pauseMs } from "./backoff.ts";
import { HostProbe, type ProbeResult } from "./hostProbe.ts";
import type { ShardHealth } from "./shardHealth.ts";

/** Which of the pauses is taken while a primary is missing: a standby may be promoted any moment. */
const SEARCHING = 2;

/** What a monitor needs of a probe. */
export interface Probe {
  ask(): Promise<ProbeResult>;
  close(): Promise<void>;
}

export interface MonitorParts {
  readonly health: ShardHealth;
  readonly environment: Environment;
}

interface Watch {
  readonly host: number;
  readonly probe: Probe;
  timer: Timer | null;
  isAsking: boolean;
}

export class ShardMonitor {
  readonly #parts: MonitorParts;
  readonly #watches: readonly Watch[];
  readonly #unwatch: () => void;
  #isClosed = false;

  /** `probes`: in the order of the shard's servers; by default sessions of their own. */
  constructor(parts: MonitorParts, probes: readonly Probe[] = probesOf(parts)) {
    this.#parts = parts;
    this.#watches = probes.map((probe, host) => ({ host, probe, timer: null, isAsking: false }));
    this.#unwatch = parts.health.watch({ onSuspected: () => this.#look() });
  }

  /** Begins; resolves when every server has been asked once. */
  async start(): Promise<void> {
    await Promise.all(this.#watches.map((watch) => this.#ask(watch)));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#unwatch();
    for (const { timer } of this.#watches) timer?.cancel();
    await Promise.all(this.#watches.map(({ probe }) => probe.close()));
  }

  /** Brings forward what is to be asked of servers of which something bad was heard. */
  #look(): void {
    const { health } = this.#parts;
    for (const watch of this.#watches) {
      if (!health.hasPrimary || health.healthOf(watch.host).state !== "up") this.#schedule(watch);
    }
  }

  async #ask(watch: Watch): Promise<void> {
    if (watch.isAsking || this.#isClosed) return;
    watch.timer?.cancel();
    watch.isAsking = true;
    const result = await watch.probe.ask();
    watch.isAsking = false;
    if (this.#isClosed) return;
    this.#parts.health.noteProbe(watch.host, result);
    this.#schedule(watch);
  }

  #schedule(watch: Watch): void {
    if (watch.isAsking || this.#isClosed) return;
    watch.timer?.cancel();
    watch.timer = this.#parts.environment.clock.after(this.#delayMs(watch), () =>
      detach(this.#ask(watch), "a probe never rejects"),
    );
  }

  #delayMs({ host }: Watch): number {
    const { health, environment } = this.#parts;
    const { config } = health;
    const fraction = environment.random.fraction();
    const { state, failures } = health.healthOf(host);
    if (state === "suspect" && failures === 0) return 0;
    if (state === "suspect" || state === "down") return pauseMs(failures, config, fraction);
    if (health.hasSeveral && !health.hasPrimary) return pauseMs(SEARCHING, config, fraction);
    return config.intervalMs * (0.75 + fraction / 2);
  }
}

const probesOf = ({ health, environment }: MonitorParts): readonly Probe[] =>
  health.endpoints.map(
    (endpoint) =>
      new HostProbe(
        { ...health.shard, ...endpoint },
        () => health.config.timeoutMs,
        () => environment.clock.monotonicMs(),
      ),
  );
