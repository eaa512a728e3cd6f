/**
 * What TLS with a shard is made of: with which authorities, with whose name, and what counts as a failure.
 *
 * Files are read at every connection, as libpq does, so that new ones count at once. `require` with a file of
 * authorities is `verify-ca`, as in libpq.
 * https://www.postgresql.org/docs/current/libpq-ssl.html
 */
import { readFileSync } from "node:fs";
import { isIP, type Socket } from "node:net";
import {
  type ConnectionOptions,
  checkServerIdentity,
  connect,
  getCACertificates,
  type TLSSocket,
} from "node:tls";
import type { ShardConfig, ShardTlsConfig } from "../config/config.ts";
import { SYSTEM_AUTHORITIES } from "../config/tlsCheck.ts";
import { endPointHash } from "../wire/certificateHash.ts";
import type { ShardTls } from "./loginExchange.ts";

/** The name of the protocol within TLS: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL */
export const ALPN_POSTGRESQL = "postgresql";

/** The secure socket over `plain`; throws the system's error for a file that cannot be read or used. */
export function tlsToShard(plain: Socket, shard: ShardConfig, tls: ShardTlsConfig): TLSSocket {
  return connect({ socket: plain, ...secureOptions(shard.host, tls) });
}

/** What is known once the handshake is done. */
export function shardTlsOf(socket: TLSSocket): ShardTls {
  const certificate = socket.getPeerX509Certificate()?.raw ?? Buffer.alloc(0);
  return { certificate, endPointHash: endPointHash(certificate) };
}

function secureOptions(host: string, tls: ShardTlsConfig): ConnectionOptions {
  const { mode, caFile, certFile, keyFile } = tls;
  const verifies =
    mode === "verify-ca" || mode === "verify-full" || (mode === "require" && caFile !== undefined);
  return {
    host,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ALPNProtocols: [ALPN_POSTGRESQL],
    minVersion: "TLSv1.2",
    ...(caFile === undefined ? {} : { ca: authorities(caFile) }),
    ...(certFile === undefined || keyFile === undefined
      ? {}
      : { cert: readFileSync(certFile), key: readFileSync(keyFile) }),
    rejectUnauthorized: verifies,
    checkServerIdentity: (_name, certificate) =>
      mode === "verify-full" ? checkServerIdentity(host, certificate) : undefined,
  };
}

const authorities = (file: string): string | string[] =>
  file === SYSTEM_AUTHORITIES ? getCACertificates("system") : readFileSync(file, "utf8");
