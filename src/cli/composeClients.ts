/** Who may come in, and what a client becomes: for compose.ts. */
import { networkInterfaces } from "node:os";
import { CATALOGUE } from "../base/catalogue.ts";
import type { Config } from "../config/config.ts";
import { ClientSignals } from "../fleet/clientSignals.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Traffic } from "../observe/traffic.ts";
import type { Admission } from "../pool/admission.ts";
import { Shares } from "../pool/share.ts";
import { AuthQuery } from "../proxy/auth/authQuery.ts";
import { DISK } from "../proxy/auth/diskFiles.ts";
import { type ClientRegistry, workerOf } from "../proxy/clientRegistry.ts";
import type { ClientTls } from "../proxy/clientTls.ts";
import { ConsoleSession } from "../proxy/consoleSession.ts";
import { CONSOLE_DATABASE, Gate } from "../proxy/gate.ts";
import { Handover, type HandoverOptions } from "../proxy/handover/handover.ts";
import type { NewClient } from "../proxy/handshake.ts";
import { Listener } from "../proxy/listener.ts";
import { PeerUsers } from "../proxy/peerUsers.ts";
import { PlainSession } from "../proxy/plainSession.ts";
import type { Rest } from "../proxy/rest.ts";
import type { Session, SessionParts } from "../proxy/session.ts";
import { ShardedSession } from "../proxy/shardedSession.ts";
import { StatementNames } from "../proxy/statementNames.ts";
import { Router } from "../routing/router.ts";
import { SessionLook } from "../routing/sessionLook.ts";
import { StandbyLook } from "../routing/standbyLook.ts";
import type { Backends, SharedParts } from "./backends.ts";
import type { ProxyParts } from "./compose.ts";
import type { Commits } from "./composeCommits.ts";
import type { Deadlocks } from "./composeShards.ts";
import type { ConsoleView } from "./consoleView.ts";

const STATEMENT_NAMES_MAX = 100_000;

/** Throws a Fault if something is wrong with the files that `auth` names. */
export function createGate(config: Config, { environment: { clock, random }, log }: ProxyParts): Gate {
  const { query } = config.auth;
  const shard = config.shards.find(({ id }) => id === query?.shard) ?? config.shards[0]!;
  const asking = query && {
    ...shard,
    user: query.user,
    password: query.password,
    database: query.database ?? shard.database,
  };
  return new Gate({
    config,
    clock,
    random,
    log,
    files: DISK,
    query: query && new AuthQuery({ shard: asking!, query, clock, log }),
    ownAddresses: () => Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []),
  });
}

/** The configuration that is in force. */
export interface Live {
  config: Config;
}

export interface Shared {
  readonly live: Live;
  readonly gate: Gate;
  readonly tls: ClientTls;
  readonly rest: Rest;
  readonly backends: Backends;
  readonly commits: Commits | null;
  readonly registry: ClientRegistry;
  readonly signals: ClientSignals | null;
  readonly admission: Admission;
  readonly deadlocks: Deadlocks;
  readonly metrics: Metrics;
  readonly router: Router | null;
  readonly view: ConsoleView;
}

/** What reaches the clients of other workers; null in a process that is alone. */
export const createSignals = ({ membership, environment }: ProxyParts): ClientSignals | null =>
  membership && new ClientSignals(membership, environment.clock, workerOf);

export type CreateSession = (client: NewClient) => Session;

/** Makes the session of each client. */
export function sessionsOf(
  config: Config,
  world: ProxyParts,
  { live, rest, backends, commits, router, registry, signals, admission, deadlocks, metrics, view }: Shared,
): CreateSession {
  const { environment, log, faultPoint } = world;
  const { traffic } = view;
  const shares = new Shares(config);
  let shared: SharedParts = {
    config,
    environment,
    log,
    statementNames: new StatementNames(STATEMENT_NAMES_MAX, config.pool.prepareUnnamed, environment.clock),
    pinCounts: metrics.pinCounts,
    look: new SessionLook(),
    standbys: config.standbys.reads === "off" ? null : new StandbyLook(config.standbys.reads),
    rest,
    sharding:
      commits === null || router === null
        ? null
        : { router, commits: commits.protocol, admission, detector: deadlocks.detector, live },
    faultPoint,
    signal: (kind, pid) => registry.signal(kind, pid) || (signals?.signal(kind, pid) ?? false),
    onEnd: (session) => registry.remove(session),
  };
  return (client) => {
    const { place, user, stream } = client;
    if (shared.config !== live.config) {
      shared = { ...shared, config: live.config };
      shares.reconfigure(live.config);
    }
    if (place.kind === "console") {
      const parts = { ...shared, traffic: traffic.of(CONSOLE_DATABASE, user) };
      return new ConsoleSession(stream, { name: user, role: place.role }, parts, view);
    }
    const parts = backends
      .at(place, client.credentials)
      .enter(place.mode, traffic.of(place.name, user), shared);
    return createSession(client, parts, shares);
  };
}

export function createListener(
  { log, membership }: ProxyParts,
  { gate, tls, rest, backends, registry, view }: Shared,
  createSession: CreateSession,
  onStrayCancel: (pid: number, secret: Buffer) => void,
): Listener {
  return new Listener({
    gate,
    tls,
    peers: new PeerUsers(),
    registry,
    rest,
    leavesSocketFile: membership !== null,
    greetings: (place, credentials) =>
      place.kind === "console" ? null : backends.at(place, credentials).greetings,
    log,
    noteRefusal: (reason) => noteRefusal(view.traffic, reason),
    createSession,
    onStrayCancel,
  });
}

type HandoverParts = Pick<
  HandoverOptions,
  "registry" | "rest" | "listener" | "ports" | "createSession" | "generation"
> & { readonly commits: Commits | null };

export function createHandover(
  config: Config,
  { environment, log, handoverPoint }: ProxyParts,
  { commits, ...parts }: HandoverParts,
): Handover {
  return new Handover({
    ...parts,
    config,
    environment,
    log,
    faultPoint: handoverPoint,
    latestEpoch: async () => {
      await commits?.decisions.survey();
      return commits?.decisions.latestEpoch ?? null;
    },
    onOtherGone: () => commits?.searchSoon(),
  });
}

/** `reason` is the id of an error, the SQLSTATE of a shard's, or why the client went away by itself. */
function noteRefusal(traffic: Traffic, reason: string): void {
  if (Object.hasOwn(CATALOGUE, reason)) traffic.noteRefusal(reason);
  else if (/^[0-9A-Z]{5}$/.test(reason)) traffic.noteRefusal("shard");
}

export const createRouter = (config: Config): Router =>
  new Router(
    config.shards.map((shard) => shard.id),
    config.tables,
  );

function createSession(client: NewClient, parts: SessionParts, shares: Shares): Session {
  const { stream, parameters, key, identity } = client;
  const application = parameters.startup.get("application_name") ?? "";
  const share = shares.of(identity.user, identity.database ?? "", application);
  const entrant = { pid: key.pid, stream, parameters, share };
  return parts.sharding === null ? new PlainSession(entrant, parts) : new ShardedSession(entrant, parts);
}
