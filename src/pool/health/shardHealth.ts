/**
 * What is known of one shard's servers, and what follows from it: where its primary is, and whether a connection to it
 * is tried at all.
 *
 * The monitor, the pools and pgxa's own sessions tell what they meet; the states are tables (hostState.ts, breaker.ts),
 * and all changes of them go through the two setters here, which log them. Whoever holds connections is told when they
 * are of no use any more (`HealthListener`). Nothing here waits for a shard.
 */
import type { Environment, Timer } from "../../base/environment.ts";
import type { Fault } from "../../base/fault.ts";
import type { Endpoint, HealthConfig, ShardConfig } from "../../config/config.ts";
import type { Log } from "../../observe/log.ts";
import { pauseMs } from "./backoff.ts";
import {
  admits,
  type Breaker,
  type BreakerNews,
  type BreakerState,
  type BreakerWorld,
  breakerStep,
  CLOSED,
  letThrough,
} from "./breaker.ts";
import type { HostSample, ProbeResult } from "./hostProbe.ts";
import {
  type HostHealth,
  type HostNews,
  type HostState,
  hasGone,
  hostStep,
  hostUnasked,
  reasonText,
} from "./hostState.ts";
import type { HealthListener } from "./poolHealth.ts";
import {
  choosePrimary,
  connectOrder,
  type Fitness,
  fitnessOf,
  type KnownShard,
  knownAfter,
  type ServerFacts,
} from "./primary.ts";
import { type MeasuredLag, replicationLag, WrittenHistory } from "./replicationLag.ts";
import type { ShardRoute } from "./shardRoute.ts";
import { type HostView, shardDown } from "./shardView.ts";
import type { StandbyFacts } from "./standbyFitness.ts";

interface Server {
  readonly endpoint: Endpoint;
  health: HostHealth;
  facts: ServerFacts | null;
  sample: HostSample | null;
  /** Null: it is no standby, or did not answer. */
  lag: MeasuredLag | null;
  /** What it was when that was last said loudly. */
  saidFitness: Fitness | null;
  giveUpTimer: Timer | null;
}

export interface ShardHealthParts {
  readonly shard: ShardConfig;
  readonly config: HealthConfig;
  readonly environment: Environment;
  readonly log: Log;
}

export class ShardHealth implements ShardRoute {
  readonly shard: ShardConfig;
  readonly #parts: ShardHealthParts;
  readonly #servers: readonly Server[];
  readonly #listeners = new Set<HealthListener>();
  #config: HealthConfig;
  #primary = 0;
  readonly #written = new WrittenHistory();
  #known: KnownShard = { systemIdentifier: null, timeline: null };
  #breaker: Breaker = CLOSED;
  #breakerSinceMs: number;
  #suspectedAtMs = Number.NEGATIVE_INFINITY;
  /** Whether nothing is wrong: the state in which connections are lent without a look. */
  isCalm = true;

  constructor(parts: ShardHealthParts) {
    this.#parts = parts;
    this.shard = parts.shard;
    this.#config = parts.config;
    const { host, port, hosts } = parts.shard;
    const nowMs = this.#nowMs();
    this.#breakerSinceMs = nowMs;
    this.#servers = (hosts ?? [{ host, port }]).map((endpoint) => ({
      endpoint,
      health: hostUnasked(nowMs),
      facts: null,
      sample: null,
      lag: null,
      saidFitness: null,
      giveUpTimer: null,
    }));
  }

  get config(): HealthConfig {
    return this.#config;
  }

  /** What follows is judged by `config`; pauses that are running end as they began. */
  reconfigure(config: HealthConfig): void {
    this.#config = config;
  }

  // --- what is asked ---

  get endpoint(): Endpoint {
    return this.#servers[this.#primary]!.endpoint;
  }

  get endpoints(): readonly Endpoint[] {
    return this.#servers.map(({ endpoint }) => endpoint);
  }

  /** The state of the primary, or of what was it last. */
  get state(): HostState {
    return this.#servers[this.#primary]!.health.state;
  }

  get breaker(): BreakerState {
    return this.#breaker.state;
  }

  get hasSeveral(): boolean {
    return this.#servers.length > 1;
  }

  /** Idle connections that were last heard of before, in monotonic ms, may be dead. */
  get suspectedAtMs(): number {
    return this.#suspectedAtMs;
  }

  get isSilent(): boolean {
    return hasGone(this.#servers[this.#primary]!.health);
  }

  /** Whether there is a server that takes writes, as far as is known. */
  get hasPrimary(): boolean {
    const { facts, health } = this.#servers[this.#primary]!;
    return health.state === "up" && (facts === null || !this.hasSeveral || facts.role === "primary");
  }

  get hosts(): readonly HostView[] {
    const written = this.#servers[this.#primary]!.sample?.writtenBytes ?? null;
    return this.#servers.map(({ endpoint, health, facts, sample }, i) => ({
      ...endpoint,
      state: health.state,
      reason: reasonText(health.reason),
      sinceMs: health.sinceMs,
      isPrimary: i === this.#primary,
      fitness: facts === null ? null : fitnessOf(facts, this.#known),
      sample,
      lag: sample?.role === "standby" ? replicationLag(sample, written) : null,
    }));
  }

  healthOf(host: number): HostHealth {
    return this.#servers[host]!.health;
  }

  /** What is known of `host` by who wants to read there. */
  standbyAt(host: number): StandbyFacts {
    const { health, facts, lag } = this.#servers[host]!;
    const isStandby = host !== this.#primary && facts !== null && this.#fitnessOf(host) === "standby";
    return { health, isStandby, timeline: facts?.timeline ?? null, shardTimeline: this.#known.timeline, lag };
  }

  /** Whether connections to `host` may be lent. */
  isCurrent(host: number): boolean {
    return host === this.#primary && this.#fitnessOf(host) !== "stranger";
  }

  /** In which order servers are tried for a connection. */
  connectOrder(): readonly number[] {
    const candidates = this.#servers.map(({ health, facts }) => ({ state: health.state, facts }));
    return connectOrder(candidates, this.#primary, this.#known);
  }

  /** Why a connection would not even be tried now; null if it would. */
  get refusal(): Fault | null {
    return admits(this.#breaker, this.#nowMs()) ? null : this.#refusal();
  }

  watch(listener: HealthListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    for (const server of this.#servers) server.giveUpTimer?.cancel();
    this.#listeners.clear();
  }

  // --- what is met ---

  /** Lets a connection be tried, or says why not. What comes of it has to be told: `noteConnected`, `noteUnconnected`. */
  admit(): Fault | null {
    const { refusal } = this;
    if (refusal === null) this.#setBreaker(letThrough(this.#breaker, this.#world()));
    return refusal;
  }

  /** A connection that was admitted stands, or the shard refused it for a reason of its own. */
  noteConnected(host: number): void {
    this.#tell(host, { kind: "answered" });
    this.#breakerNews("succeeded");
  }

  /** A connection that was admitted could be made to no server of the shard. */
  noteUnconnected(): void {
    this.#breakerNews("failed");
  }

  /** A connection to `host`, which is no primary, stands, or was refused for a reason of its own. */
  noteAnswered(host: number): void {
    this.#tell(host, { kind: "answered" });
  }

  noteFailed(host: number, news: Extract<HostNews, { kind: "failed" }>): void {
    this.#tell(host, news);
  }

  /** A connection to `host` ended unasked. */
  noteLost(host: number, says: string): void {
    this.#suspect(host, { kind: "lost", reason: { kind: "lost", says } });
  }

  noteSilence(timeoutMs: number): void {
    this.#suspect(this.#primary, { kind: "lost", reason: { kind: "silent", timeoutMs } });
  }

  noteProbe(host: number, result: ProbeResult): void {
    const server = this.#servers[host]!;
    server.sample = result.kind === "answered" ? result.sample : null;
    if (result.kind === "answered") this.judge(host, result.sample);
    if (result.kind === "failed") this.#tell(host, result);
    else this.#tell(host, { kind: "answered" });
    server.lag = this.#written.measure(server.sample, host === this.#primary, this.#nowMs());
    if (host === this.#primary && this.hasPrimary) this.#breakerNews("judgedUp");
  }

  /** Notes what `host` says of itself, and what it is of the shard then. */
  judge(host: number, facts: ServerFacts): Fitness {
    const server = this.#servers[host]!;
    server.facts = facts;
    const fitness = fitnessOf(facts, this.#known);
    const isTold = fitness === "stranger" || (fitness === "superseded" && this.hasSeveral);
    if (isTold && server.saidFitness !== fitness) {
      this.#parts.log.error("shard.misfit", { shard: this.shard.id, ...server.endpoint, fitness, ...facts });
      this.#reroute();
    }
    server.saidFitness = fitness;
    this.#choose();
    return this.#fitnessOf(host)!;
  }

  // --- inside ---

  /** One server alone is what it is, unless it is another system's. */
  #fitnessOf(host: number): Fitness | null {
    const { facts } = this.#servers[host]!;
    if (facts === null) return null;
    const fitness = fitnessOf(facts, this.#known);
    return this.hasSeveral || fitness === "stranger" ? fitness : "primary";
  }

  #choose(): void {
    const candidates = this.#servers.map(({ health, facts }) => ({ state: health.state, facts }));
    const chosen = choosePrimary(candidates, this.#primary, this.#known);
    const { facts } = this.#servers[chosen]!;
    if (facts !== null && fitnessOf(facts, this.#known) === "primary")
      this.#known = knownAfter(this.#known, facts);
    if (chosen === this.#primary) return;
    const before = this.#primary;
    this.#primary = chosen;
    this.#written.clear();
    this.#parts.log.warn("shard.primary", {
      shard: this.shard.id,
      before: this.#servers[before]!.endpoint,
      now: this.endpoint,
      timeline: this.#known.timeline,
    });
    this.#noteCalm();
    this.#reroute();
    if (hasGone(this.#servers[before]!.health)) this.#giveUp(before);
    this.#breakerNews("judgedUp");
  }

  #reroute(): void {
    for (const listener of this.#listeners) listener.onRerouted?.();
  }

  #suspect(host: number, news: HostNews): void {
    if (!this.standbyAt(host).isStandby) this.#suspectedAtMs = this.#nowMs();
    this.#tell(host, news);
    for (const listener of this.#listeners) listener.onSuspected?.();
  }

  #tell(host: number, news: HostNews): void {
    const server = this.#servers[host]!;
    const before = server.health;
    server.health = hostStep(before, news, this.#config.failures, this.#nowMs());
    if (server.health.state === before.state) return;
    this.#noteState(host, server, before);
  }

  #noteState(host: number, server: Server, before: HostHealth): void {
    const { state, reason } = server.health;
    const isQuiet = state === "up" || (state === "suspect" && reason.kind === "lost");
    const fields = {
      shard: this.shard.id,
      ...server.endpoint,
      state,
      before: before.state,
      reason: reasonText(reason),
    };
    this.#parts.log[isQuiet ? "info" : "warn"]("shard.state", fields);
    server.giveUpTimer?.cancel();
    server.giveUpTimer = state === "down" ? this.#giveUpLater(host) : null;
    this.#noteCalm();
    if (host !== this.#primary) {
      // Where another has taken over, what still waits for this one waits for nothing.
      if (hasGone(server.health)) this.#giveUp(host);
      return;
    }
    if (state === "suspect" || state === "down") {
      this.#suspectedAtMs = this.#nowMs();
      for (const listener of this.#listeners) listener.onSuspected?.();
    }
    if (state === "down") {
      this.#choose();
      if (host === this.#primary) this.#breakerNews("judgedDown");
    }
  }

  #giveUpLater(host: number): Timer {
    const { clock } = this.#parts.environment;
    return clock.after(this.#config.giveUpMs, () => this.#giveUp(host));
  }

  #giveUp(host: number): void {
    const { state, reason } = this.#servers[host]!.health;
    for (const listener of this.#listeners)
      listener.onGivenUp?.(host, `its server is ${state}: ${reasonText(reason)}`);
  }

  #breakerNews(news: BreakerNews): void {
    this.#setBreaker(breakerStep(this.#breaker, news, this.#world()));
  }

  #setBreaker(breaker: Breaker): void {
    const before = this.#breaker.state;
    this.#breaker = breaker;
    if (breaker.state === before) return;
    if (before === "closed" || breaker.state === "closed") this.#breakerSinceMs = this.#nowMs();
    this.#noteCalm();
    this.#parts.log.info("breaker.state", { shard: this.shard.id, state: breaker.state, before });
    if (breaker.state !== "open") return;
    for (const listener of this.#listeners) listener.onRefusing?.(() => this.#refusal());
  }

  #noteCalm(): void {
    const { state } = this.#servers[this.#primary]!.health;
    this.isCalm = this.#breaker.state === "closed" && (state === "up" || state === "starting");
  }

  #refusal(): Fault {
    const { id } = this.shard;
    const { health, endpoint } = this.#servers[this.#primary]!;
    const forMs = this.#nowMs() - this.#breakerSinceMs;
    const sinceMs = this.#parts.environment.clock.wallMs() - forMs;
    const isWithout = this.hasSeveral && health.state !== "down";
    return shardDown({ id, endpoint, health, isWithout, forMs, since: new Date(sinceMs).toISOString() });
  }

  #world(): BreakerWorld {
    const { random } = this.#parts.environment;
    return {
      failuresMax: this.#config.failures,
      nowMs: this.#nowMs(),
      pauseMs: (pauses) => pauseMs(pauses, this.#config, random.fraction()),
    };
  }

  #nowMs(): number {
    return this.#parts.environment.clock.monotonicMs();
  }
}
