/**
 * Opens a server connection to a shard's primary, wherever that is.
 *
 * The server that is known to be the primary is tried first, then the others. Where there are several, each new
 * connection is asked what it leads to before anybody gets it: a standby, or a primary over which another was promoted,
 * is not what a client wants, whatever the monitor knew a moment ago.
 */
import type { Environment } from "../../base/environment.ts";
import { Fault } from "../../base/fault.ts";
import type { ShardConfig } from "../../config/config.ts";
import { ServerConnection } from "../serverConnection.ts";
import { ShardError } from "../shardError.ts";
import { FACTS, FACTS_PLAIN, PERMISSION_DENIED, readFacts } from "./hostProbe.ts";
import type { ServerFacts } from "./primary.ts";
import type { ShardHealth } from "./shardHealth.ts";

export interface ConnectorParts {
  /** With the database that is wanted. */
  readonly shard: ShardConfig;
  readonly health: ShardHealth;
  readonly environment: Environment;
  readonly connectTimeoutMs: number;
  readonly identify: boolean;
  onClosed(connection: ServerConnection, reason: string): void;
}

/** Which server a connection is wanted to, and whether it is one to read from. */
type Wanted = "primary" | "standby";

export interface Connected {
  readonly connection: ServerConnection;
  /** Which of the shard's servers it leads to. */
  readonly host: number;
}

/** Rejects with a Fault: why nothing was tried, or what went wrong first. */
export async function connectToPrimary(parts: ConnectorParts): Promise<Connected> {
  const { health } = parts;
  const refusal = health.admit();
  if (refusal !== null) throw refusal;
  let first: Fault | null = null;
  for (const host of health.connectOrder()) {
    const connected = await tryHost(parts, host);
    if (!(connected instanceof Fault)) return connected;
    first ??= connected;
  }
  health.noteUnconnected();
  throw first ?? noPrimary(parts);
}

/** A connection to `host` as long as that is a standby; rejects with a Fault. */
export async function connectToStandby(parts: ConnectorParts, host: number): Promise<Connected> {
  const connected = await tryHost(parts, host, "standby");
  if (connected instanceof Fault) throw connected;
  return connected;
}

/** A fault: this server is not to be had, and another may be. Rejects with what no other server would do better. */
async function tryHost(
  parts: ConnectorParts,
  host: number,
  wanted: Wanted = "primary",
): Promise<Connected | Fault> {
  const { shard, health, environment, connectTimeoutMs, identify, onClosed } = parts;
  let connection: ServerConnection;
  const isStandby = wanted === "standby";
  const noteAnswered = (): void => (isStandby ? health.noteAnswered(host) : health.noteConnected(host));
  try {
    // Should it be promoted meanwhile, nothing is written there by somebody who meant to read.
    const target = { ...shard, ...health.endpoints[host]!, isReadOnly: isStandby };
    connection = await ServerConnection.open({
      shard: target,
      environment,
      connectTimeoutMs,
      identify,
      onClosed,
    });
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    if (!isUnreachable(error)) {
      noteAnswered();
      throw error;
    }
    const { host: name, port } = health.endpoints[host]!;
    const says = (error.detail ?? error.message).replace(`${name}:${port}: `, "").replace(/\.$/, "");
    health.noteFailed(host, { kind: "failed", reason: { kind: "refused", says } });
    return error;
  }
  if (health.hasSeveral) {
    const facts = await factsOf(connection, connectTimeoutMs);
    if (facts === null || health.judge(host, facts) !== wanted) {
      connection.close();
      return isStandby ? noStandby(parts, host) : noPrimary(parts);
    }
  }
  noteAnswered();
  return { connection, host };
}

/** No answer, no server, or one that takes no connections now. */
const isUnreachable = ({ id, cause }: Fault): boolean =>
  id === "pool.connect_failed" || (cause instanceof ShardError && /^57P0[1-3]$/.test(cause.fields.sqlstate));

async function factsOf(connection: ServerConnection, timeoutMs: number): Promise<ServerFacts | null> {
  let reply = await connection.run(FACTS, timeoutMs);
  if (reply.kind === "error" && reply.error.sqlstate === PERMISSION_DENIED)
    reply = await connection.run(FACTS_PLAIN, timeoutMs);
  return reply.kind === "complete" ? readFacts(reply.rows[0] ?? []) : null;
}

function noStandby({ health }: ConnectorParts, at: number): Fault {
  const { host, port } = health.endpoints[at]!;
  return new Fault("pool.no_standby", { detail: `${host}:${port} is no standby.` });
}

function noPrimary({ health }: ConnectorParts): Fault {
  const hosts = health.hosts.map(
    ({ host, port, state, fitness }) => `${host}:${port} is ${fitness ?? state}`,
  );
  return new Fault("pool.no_primary", {
    message: `no server of shard "${health.shard.id}" takes writes`,
    detail: `${hosts.join(", ")}.`,
  });
}
