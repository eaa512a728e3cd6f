/**
 * A client of two shards or more without a network: what the client and the shards would send is played by this file, and what
 * pgxa writes is counted. Each read is a turn of the event loop, as it is with sockets.
 */
import { serialize } from "pg-protocol/dist/serializer.js";
import { backendPid } from "../../src/base/brands.ts";
import type { Clock, Environment } from "../../src/base/environment.ts";
import type { Config, ShardConfig } from "../../src/config/config.ts";
import { parseConfig } from "../../src/config/load.ts";
import type { DeadlockDetector } from "../../src/deadlock/detector.ts";
import { WaitWatch } from "../../src/deadlock/waitWatch.ts";
import { silentLog } from "../../src/observe/log.ts";
import { Traffic } from "../../src/observe/traffic.ts";
import { Admission } from "../../src/pool/admission.ts";
import { type LeaseHolder, ServerConnection } from "../../src/pool/serverConnection.ts";
import type { LeasePool } from "../../src/pool/shardPools.ts";
import { Shares } from "../../src/pool/share.ts";
import { ClientParameters } from "../../src/proxy/clientParameters.ts";
import type { SessionParts } from "../../src/proxy/session.ts";
import { ShardedSession } from "../../src/proxy/shardedSession.ts";
import { StatementNames } from "../../src/proxy/statementNames.ts";
import { Router } from "../../src/routing/router.ts";
import { CommitProtocol } from "../../src/txn/commitProtocol.ts";
import type { DecisionLog } from "../../src/txn/decisionLog.ts";
import { PreparedSlots } from "../../src/txn/preparedSlots.ts";
import { Resolver, type ResolverOptions } from "../../src/txn/resolver.ts";
import type { Leases } from "../../src/txn/shardLog/leases.ts";
import { ShardLog } from "../../src/txn/shardLog/shardLog.ts";
import { answersOf } from "./playedShard.ts";
import { PlayedStream } from "./playedStream.ts";

export type LogKind = "shard" | "file";

const configOf = (shards: number): string => `
database: bench
coordinator: bench
auth: { method: trust }
shards:
${Array.from({ length: shards }, (_, i) => `  - { name: shard${i}, host: 127.0.0.1, port: ${5432 + i}, user: bench }`).join("\n")}
tables: [{ name: accounts, key: id, key_type: int8 }]
transaction: { log_directory: /nowhere }
`;
const UPDATE = "UPDATE accounts SET balance = balance + $1 WHERE id = $2";
const READY = 0x5a;

export class TransferRig {
  readonly #client: PlayedStream;
  readonly #streams: readonly PlayedStream[];
  readonly #accounts: readonly string[];
  readonly #clock: CountingClock;
  #onReady: () => void = () => {};

  private constructor(
    client: PlayedStream,
    shards: readonly PlayedStream[],
    accounts: readonly string[],
    clock: CountingClock,
  ) {
    this.#client = client;
    this.#streams = [client, ...shards];
    this.#accounts = accounts;
    this.#clock = clock;
    client.onWritten = (bytes) => {
      if (bytes[bytes.length - 6] === READY) this.#onReady();
    };
  }

  static async open(log: LogKind, real: Clock, participants = 2): Promise<TransferRig> {
    const clock = new CountingClock(real);
    const config = parseConfig(configOf(participants), "the rig", {});
    const environment: Environment = {
      clock,
      random: { bytes: (n) => new Uint8Array(n), fraction: () => 0 },
    };
    const shards = config.shards.map(() => new PlayedStream());
    const pools: LeasePool[] = [];
    for (const [i, shard] of config.shards.entries())
      pools.push(await poolOf(shard, shards[i]!, environment));
    const client = new PlayedStream();
    const parts = partsOf(config, environment, pools, log);
    const share = new Shares(config).of("ann", "bench", "");
    const parameters = new ClientParameters(new Map());
    new ShardedSession({ pid: 1, stream: client.asStream, parameters, share }, parts);
    const { router } = parts.sharding!;
    return new TransferRig(
      client,
      shards,
      config.shards.map((_, i) => accountOn(router, i)),
      clock,
    );
  }

  counts(): { readonly writes: number; readonly timers: number; readonly made: number } {
    const writes = this.#streams.reduce((sum, stream) => sum + stream.writes, 0);
    const made = this.#streams.reduce((sum, stream) => sum + stream.made, 0);
    return { writes, timers: this.#clock.timers, made };
  }

  async transfer(): Promise<void> {
    await this.#ask(serialize.query("BEGIN"));
    for (const account of this.#accounts) await this.#ask(updateOf(account));
    await this.#ask(serialize.query("COMMIT"));
  }

  #ask(bytes: Buffer): Promise<void> {
    return new Promise((resolve) => {
      this.#onReady = resolve;
      this.#client.receive(bytes);
    });
  }
}

/** Counts the timers that are set. */
class CountingClock implements Clock {
  readonly #real: Clock;
  timers = 0;

  constructor(real: Clock) {
    this.#real = real;
  }

  wallMs(): number {
    return this.#real.wallMs();
  }

  monotonicMs(): number {
    return this.#real.monotonicMs();
  }

  after(delayMs: number, callback: () => void) {
    this.timers += 1;
    return this.#real.after(delayMs, callback);
  }
}

const UPDATES = new Map<string, Buffer>();

function updateOf(account: string): Buffer {
  let bytes = UPDATES.get(account);
  if (bytes === undefined) {
    bytes = Buffer.concat([
      serialize.parse({ name: "", text: UPDATE, types: [] }),
      serialize.bind({ portal: "", statement: "", values: ["5", account] }),
      serialize.describe({ type: "P", name: "" }),
      serialize.execute({ portal: "", rows: 0 }),
      serialize.sync(),
    ]);
    UPDATES.set(account, bytes);
  }
  return bytes;
}

/** An account that lives on `shard`. */
function accountOn(router: Router, shard: number): string {
  for (let id = 1; ; id += 1) if (router.shardByKey(String(id)) === shard) return String(id);
}

/** A pool of one connection. */
async function poolOf(
  shard: ShardConfig,
  stream: PlayedStream,
  environment: Environment,
): Promise<LeasePool> {
  stream.onWritten = (bytes) => {
    const answers = answersOf(bytes, stream);
    if (answers.length > 0) stream.receive(answers);
  };
  const options = { shard, environment, connectTimeoutMs: 1_000, identify: false, onClosed() {} };
  const connection = await ServerConnection.open(options, {
    stream: stream.asStream,
    parameters: new Map([["client_encoding", "UTF8"]]),
    pid: backendPid(1),
    secret: Buffer.alloc(4),
    isEncrypted: false,
  });
  const parked = [connection];
  const pool: Pick<LeasePool, "shard" | "refusal" | "tryCheckout" | "checkIn"> = {
    shard,
    refusal: null,
    tryCheckout(holder: LeaseHolder) {
      const lease = parked.pop() ?? null;
      lease?.checkOut(holder);
      return lease;
    },
    checkIn(lease: ServerConnection) {
      lease.checkIn();
      parked.push(lease);
    },
  };
  return pool as LeasePool;
}

function partsOf(
  config: Config,
  environment: Environment,
  pools: readonly LeasePool[],
  log: LogKind,
): SessionParts {
  const { clock } = environment;
  const commits = protocolOf(config, clock, log);
  const watch = new WaitWatch(clock, config.deadlock.probeAfterMs, async () => {});
  return {
    config,
    mode: "transaction",
    environment,
    log: silentLog,
    pools,
    hubs: [],
    rest: { isWatched: false, note() {} } as unknown as SessionParts["rest"],
    statementNames: new StatementNames(1_000, true, clock),
    pinCounts: {} as SessionParts["pinCounts"],
    traffic: new Traffic().of("bench", "ann"),
    look: {} as SessionParts["look"],
    standbys: null,
    sharding: {
      router: new Router(
        config.shards.map(({ id }) => id),
        config.tables,
      ),
      commits,
      admission: new Admission(pools.length, config.pool, clock),
      detector: { watch, noteCommitted() {} } as unknown as DeadlockDetector,
      live: { config },
    },
    faultPoint() {},
    signal: () => false,
    onEnd() {},
  };
}

function protocolOf(config: Config, clock: Clock, kind: LogKind): CommitProtocol {
  const { fleet, coordinator, transaction } = config;
  const leases = { epoch: 1, conclude() {} } as unknown as Leases;
  const onShards = kind === "shard" ? new ShardLog({ controls: [], leases, previous: null, clock }) : null;
  const decisions = onShards ?? inMemory();
  const slots = new PreparedSlots({ clock, onShort() {} });
  const protocol = new CommitProtocol({
    ...{ fleet, coordinator, decisions, controls: [], slots, clock, config: transaction, log: silentLog },
    ...(onShards === null ? {} : { shardLog: onShards }),
    faultPoint() {},
  });
  protocol.resolver = new Resolver({ controls: [], decisions } as unknown as ResolverOptions);
  return protocol;
}

/** A log of files without files. */
function inMemory(): DecisionLog {
  const decided = new Map<string, Parameters<DecisionLog["decide"]>[2]>();
  const log: Pick<DecisionLog, "epoch" | "isSound" | "decide" | "conclude" | "unconcludedParticipants"> = {
    epoch: 1,
    isSound: true,
    decide(gtrid, outcome, participants) {
      decided.set(gtrid, participants);
      return Promise.resolve(outcome);
    },
    conclude: (gtrid) => void decided.delete(gtrid),
    unconcludedParticipants: (gtrid) => decided.get(gtrid) ?? null,
  };
  return log as DecisionLog;
}
