/**
 * TLS with clients: the certificate that is shown to them, the ones they show, and who must have what.
 *
 * Files are looked at again when a client comes, every few seconds at most; new ones count from the next connection on,
 * and those that cannot be used are told of in the log and change nothing.
 *
 * Invariant: a certificate counts only if an authority of `ca_file` has signed it. A client without one gets through the
 * handshake, and is told in PostgreSQL's words why it does not get further (`permit`).
 * https://www.postgresql.org/docs/current/ssl-tcp.html
 */
import { constants, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import type { Clock } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { ClientTlsConfig } from "../config/config.ts";
import type { Log } from "../observe/log.ts";
import type { ByteStream } from "../pool/byteStream.ts";
import { ALPN_POSTGRESQL } from "../pool/shardTls.ts";
import { endPointHash } from "../wire/certificateHash.ts";
import type { ClientLink, TlsFacts } from "./clientLink.ts";

const LOOK_AGAIN_MS = 2_000;
/** As PostgreSQL: what was agreed on holds for the connection, and nothing of it for another one. */
const SECURE_OPTIONS = constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_TICKET;

/** A certificate in use. */
interface Loaded {
  readonly context: SecureContext;
  readonly endPointHash: Buffer | null;
  readonly asksForCertificate: boolean;
}

/** What came of a TLS handshake. */
export interface SecuredClient {
  readonly facts: TlsFacts;
  /** Whether the client named the protocol by ALPN, as it must when it began TLS unasked. */
  readonly hasNamedProtocol: boolean;
}

export class ClientTls {
  #config: ClientTlsConfig;
  readonly #clock: Clock;
  readonly #log: Log;
  #loaded: Loaded | null;
  /** What the files looked like when they were last read, rightly or wrongly. */
  #seen: string;
  #lookedAtMs: number;

  /** Throws a Fault (`tls.unusable`) for files that cannot be used. */
  constructor(config: ClientTlsConfig, clock: Clock, log: Log) {
    this.#config = config;
    this.#clock = clock;
    this.#log = log;
    this.#seen = look(config);
    this.#lookedAtMs = clock.monotonicMs();
    this.#loaded = load(config);
  }

  /** Takes new options; false: their files cannot be used, and all stays as it was. */
  reconfigure(config: ClientTlsConfig): boolean {
    this.#seen = look(config);
    this.#lookedAtMs = this.#clock.monotonicMs();
    try {
      this.#loaded = load(config);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.#log.error("tls.reload_failed", { reason: error.detail });
      return false;
    }
    this.#config = config;
    if (this.#loaded !== null) this.#log.info("tls.loaded", { mode: config.mode });
    return true;
  }

  /** Reads the files again; false: they cannot be used, and the old ones stay. */
  reload(): boolean {
    return this.reconfigure(this.#config);
  }

  /** Whether a client that asks for TLS gets it. */
  isOfferedTo(link: ClientLink): boolean {
    return link.kind === "tcp" && this.#config.mode !== "disable";
  }

  /** Shakes hands over `stream`, where TLS is offered; `received`: what the client has sent of that already. */
  secure(stream: ByteStream, received: Buffer | null, onSecure: (client: SecuredClient) => void): void {
    this.#lookAgain();
    const loaded = this.#loaded!;
    const socket = stream.secure(
      (plain) =>
        new TLSSocket(plain, {
          isServer: true,
          secureContext: loaded.context,
          requestCert: loaded.asksForCertificate,
          rejectUnauthorized: false,
          ALPNProtocols: [ALPN_POSTGRESQL],
        }),
      received,
    );
    socket.once("secure", () => {
      const facts = factsOf(socket, loaded);
      onSecure({ facts, hasNamedProtocol: socket.alpnProtocol === ALPN_POSTGRESQL });
    });
  }

  /** Throws a Fault for who does not come as the mode asks for. */
  permit(link: ClientLink, user: string): void {
    const { mode } = this.#config;
    if (link.kind === "unix" || mode === "disable" || mode === "allow" || mode === "prefer") return;
    if (link.tls === null) throw new Fault("login.tls_required");
    if (mode === "require") return;
    if (link.tls.certificate === null) throw new Fault("login.no_certificate");
    if (mode === "verify-full" && link.tls.certificate.commonName !== user) {
      const message = `certificate authentication failed for user "${user}"`;
      throw new Fault("login.foreign_certificate", { message });
    }
  }

  #lookAgain(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#lookedAtMs < LOOK_AGAIN_MS) return;
    this.#lookedAtMs = nowMs;
    if (look(this.#config) !== this.#seen) this.reload();
  }
}

/** What shows that a file was changed or replaced; nothing for one that cannot be looked at. */
function look({ certFile, keyFile, caFile }: ClientTlsConfig): string {
  return [certFile, keyFile, caFile]
    .map((file) => {
      if (file === undefined) return "";
      try {
        const { mtimeMs, ctimeMs, size, ino } = statSync(file);
        return [mtimeMs, ctimeMs, size, ino].join();
      } catch {
        return "?";
      }
    })
    .join(" ");
}

/** Null where there is no TLS. */
function load({ mode, certFile, keyFile, caFile, minVersion, ciphers }: ClientTlsConfig): Loaded | null {
  if (mode === "disable") return null;
  try {
    const [cert, key] = [readFileSync(certFile!), readFileSync(keyFile!)];
    const context = createSecureContext({
      cert,
      key,
      ...(caFile === undefined ? {} : { ca: readFileSync(caFile) }),
      ...(ciphers === undefined ? {} : { ciphers }),
      minVersion,
      honorCipherOrder: true,
      secureOptions: SECURE_OPTIONS,
    });
    return {
      context,
      endPointHash: endPointHash(new X509Certificate(cert).raw),
      asksForCertificate: caFile !== undefined,
    };
  } catch (error) {
    throw new Fault("tls.unusable", { detail: `${(error as Error).message}.`, cause: error });
  }
}

function factsOf(socket: TLSSocket, { endPointHash, asksForCertificate }: Loaded): TlsFacts {
  const shown = asksForCertificate && isTrusted(socket) ? socket.getPeerX509Certificate() : undefined;
  const serverName = (socket as unknown as { servername?: string | false | null }).servername;
  return {
    endPointHash,
    certificate: shown === undefined ? null : namesOf(shown),
    serverName: serverName || null,
  };
}

/** Node checks by itself for its own kind of server only; the check is that of the same OpenSSL. */
function isTrusted(socket: TLSSocket): boolean {
  const { _handle } = socket as unknown as { _handle: { verifyError?(): Error | null } | null };
  return typeof _handle?.verifyError === "function" && !_handle.verifyError();
}

/** A common name that is not one plain name is nobody's. The distinguished name is written as RFC 2253 has it. */
function namesOf(certificate: X509Certificate): NonNullable<TlsFacts["certificate"]> {
  const { CN } = certificate.toLegacyObject().subject as { CN?: string | string[] };
  const isPlain = typeof CN === "string" && !CN.includes("\0");
  return {
    commonName: isPlain ? CN : "",
    distinguishedName: certificate.subject.split("\n").reverse().join(","),
  };
}
