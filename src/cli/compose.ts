/**
 * Builds every long-lived object of a proxy and connects them; the only place that does.
 *
 * The order is that of need: the decision log is open and the resolver has looked at every shard it can reach before
 * the first client is let in. Stopping goes the other way: clients, commits that are running, pools, the log.
 */
import type { Environment } from "../base/environment.ts";
import type { FaultPointListener } from "../base/faultPoint.ts";
import type { Config } from "../config/config.ts";
import { createLog, type Log } from "../observe/log.ts";
import { Admission } from "../pool/admission.ts";
import { Pool } from "../pool/pool.ts";
import { ClientRegistry } from "../proxy/clientRegistry.ts";
import { Gate } from "../proxy/gate.ts";
import { Greetings } from "../proxy/greetings.ts";
import type { NewClient } from "../proxy/handshake.ts";
import { Listener } from "../proxy/listener.ts";
import { PlainSession } from "../proxy/plainSession.ts";
import type { Session, SessionParts } from "../proxy/session.ts";
import { ShardedSession } from "../proxy/shardedSession.ts";
import { StatementNames } from "../proxy/statementStore.ts";
import { loadParser } from "../routing/parse.ts";
import { Router } from "../routing/router.ts";
import { SessionLook } from "../routing/sessionLook.ts";
import { CommitProtocol } from "../txn/commitProtocol.ts";
import { FileLog } from "../txn/fileLog/fileLog.ts";
import { Resolver } from "../txn/resolver.ts";
import { ShardControl } from "../txn/shardControl.ts";
import { systemEnvironment } from "./systemEnvironment.ts";

/** What a test may replace. */
export interface ProxyParts {
  readonly environment: Environment;
  readonly log: Log;
  readonly faultPoint: FaultPointListener;
}

export interface RunningProxy {
  readonly host: string;
  readonly port: number;
  /** Ends every client, finishes the commits that are running, and closes everything. */
  stop(): Promise<void>;
}

const STATEMENT_NAMES_MAX = 100_000;

/** Starts a proxy; rejects with a Fault, or with the system's error for a port that is taken. */
export async function startProxy(config: Config, parts: Partial<ProxyParts> = {}): Promise<RunningProxy> {
  const world: ProxyParts = {
    environment: parts.environment ?? systemEnvironment,
    log: parts.log ?? createLog(config.log.level),
    faultPoint: parts.faultPoint ?? (() => {}),
  };
  await loadParser();
  const commits = config.shards.length > 1 ? await startCommits(config, world) : null;
  const pools = createPools(config, world);
  const listener = createListener(config, world, pools, commits);
  const closeAll = async (): Promise<void> => {
    await commits?.protocol.drain();
    await commits?.stop();
    await Promise.all(pools.map((pool) => pool.close()));
  };
  try {
    const { host, port } = await listener.listen(config.listen.host, config.listen.port);
    world.log.info("proxy.listening", { host, port, shards: config.shards.length });
    const stop = async (): Promise<void> => {
      await listener.stop();
      await closeAll();
      world.log.info("proxy.stopped");
    };
    return { host, port, stop };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

interface Commits {
  readonly protocol: CommitProtocol;
  stop(): Promise<void>;
}

async function startCommits(config: Config, { environment, log, faultPoint }: ProxyParts): Promise<Commits> {
  const { fleet, coordinator, transaction } = config;
  const wallMs = environment.clock.wallMs();
  const decisions = await FileLog.open({ directory: transaction.logDirectory, log, wallMs, faultPoint });
  const controls = config.shards.map((shard) => new ShardControl(shard));
  const protocol = new CommitProtocol({
    fleet,
    coordinator,
    decisions,
    controls,
    config: transaction,
    faultPoint,
    log,
  });
  const resolver = new Resolver({
    fleet,
    coordinator,
    controls,
    decisions,
    isRunning: (gtrid) => protocol.isRunning(gtrid),
    environment,
    log,
    intervalMs: transaction.resolveIntervalMs,
  });
  protocol.resolver = resolver;
  await resolver.start();
  const stop = async (): Promise<void> => {
    resolver.stop();
    await Promise.all(controls.map((control) => control.close()));
    await decisions.close();
  };
  return { protocol, stop };
}

function createPools(config: Config, { environment, log }: ProxyParts): readonly Pool[] {
  const identify = config.shards.length > 1;
  return config.shards.map((shard) => new Pool({ shard, pool: config.pool, environment, log, identify }));
}

function createListener(
  config: Config,
  world: ProxyParts,
  pools: readonly Pool[],
  commits: Commits | null,
): Listener {
  const { environment, log, faultPoint } = world;
  const registry = new ClientRegistry(environment.random);
  const parts: SessionParts = {
    config,
    environment,
    log,
    pools,
    statementNames: new StatementNames(STATEMENT_NAMES_MAX),
    look: new SessionLook(),
    sharding:
      commits === null
        ? null
        : {
            router: createRouter(config),
            commits: commits.protocol,
            admission: new Admission(pools.length, config.pool, environment.clock),
          },
    faultPoint,
    onEnd: (session) => registry.remove(session),
  };
  return new Listener({
    gate: new Gate(config, environment.clock, environment.random),
    registry,
    greetings: new Greetings(pools[0]!),
    log,
    createSession: (client) => createSession(client, parts),
  });
}

const createRouter = (config: Config): Router =>
  new Router(
    config.shards.map((shard) => shard.id),
    config.tables,
  );

const createSession = ({ stream, parameters }: NewClient, parts: SessionParts): Session =>
  parts.sharding === null
    ? new PlainSession(stream, parameters, parts)
    : new ShardedSession(stream, parameters, parts);
