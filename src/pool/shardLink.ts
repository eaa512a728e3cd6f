/**
 * A stream to a shard, up to the point where the startup packet may be sent: connecting, and agreeing on TLS.
 *
 *     connected -> asking (S or N) -> securing -> open
 *
 * Invariants:
 * - Where TLS is a must, nothing that came without it is believed: an answer other than one byte S or N ends the attempt,
 *   and its words are not shown to anybody (CVE-2024-10977), nor are bytes behind the S taken for part of TLS or of what
 *   follows it (CVE-2021-23222).
 * - What may be tried after a failure (`attempts`) never has less protection than the mode asks for.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL
 */
import type { ShardConfig, ShardTlsConfig } from "../config/config.ts";
import { sslRequest } from "../wire/frontendWriters.ts";
import { type Address, ByteStream, type StreamOwner } from "./byteStream.ts";
import type { ShardTls } from "./loginExchange.ts";
import { ALPN_POSTGRESQL, shardTlsOf, tlsToShard } from "./shardTls.ts";

/** How one attempt to connect goes about it; `either`: with TLS if the shard has it. */
export type Encryption = "plain" | "tls" | "either";

/** Who waits for the link; one of the two is called, once. */
export interface LinkHandler {
  /** The startup packet may be sent; `tls` is null without TLS. The stream's owner hears what comes. */
  onOpen(tls: ShardTls | null): void;
  /** `isOfTls`: it is TLS that could not be agreed on, and not the connection. `cause`: the system's error, if it is one. */
  onFailed(reason: string, isOfTls: boolean, cause: Error | null): void;
}

const YES = 0x53;
const NO = 0x4e;

export const isUnixHost = (host: string): boolean => host.startsWith("/");

export const addressOf = ({ host, port }: Pick<ShardConfig, "host" | "port">): Address =>
  isUnixHost(host) ? { path: `${host}/.s.PGSQL.${port}` } : { host, port };

/** For people: where the shard is. */
export const placeOf = ({ host, port }: Pick<ShardConfig, "host" | "port">): string =>
  isUnixHost(host) ? `${host}/.s.PGSQL.${port}` : `${host}:${port}`;

/**
 * What to try, one after the other. The second is for a shard that could not agree on TLS, or has no place for who comes
 * with it or without it (28000 of its pg_hba.conf).
 */
export function attempts({ host, tls }: ShardConfig): readonly Encryption[] {
  if (tls === undefined || isUnixHost(host)) return ["plain"];
  switch (tls.mode) {
    case "disable":
      return ["plain"];
    case "allow":
      return ["plain", "tls"];
    case "prefer":
      return ["either", "plain"];
    default:
      return ["tls"];
  }
}

/** Opens a stream to `shard`; `owner` gets it when the link is open. */
export function openLink(
  shard: ShardConfig,
  encryption: Encryption,
  owner: StreamOwner,
  bufferBytes: number,
  handler: LinkHandler,
): ByteStream {
  const link = new Link(shard, encryption, owner, handler);
  link.stream = ByteStream.connect(addressOf(shard), link, bufferBytes, () => link.onConnected());
  return link.stream;
}

class Link implements StreamOwner {
  stream!: ByteStream;
  readonly #shard: ShardConfig;
  readonly #encryption: Encryption;
  readonly #owner: StreamOwner;
  readonly #handler: LinkHandler;
  #phase: "connecting" | "asking" | "securing" | "over" = "connecting";

  constructor(shard: ShardConfig, encryption: Encryption, owner: StreamOwner, handler: LinkHandler) {
    this.#shard = shard;
    this.#encryption = encryption;
    this.#owner = owner;
    this.#handler = handler;
  }

  onConnected(): void {
    const { tls } = this.#shard;
    if (this.#encryption === "plain" || tls === undefined) return this.#open(null);
    if (tls.negotiation === "direct") return this.#secure(tls);
    this.#phase = "asking";
    this.stream.write(sslRequest());
  }

  // --- StreamOwner ---

  onChunk(chunk: Buffer, end: number): void {
    if (this.#phase === "over") return;
    const answer = this.#phase === "asking" && end === 1 ? chunk[0] : undefined;
    if (answer === YES) return this.#secure(this.#shard.tls!);
    if (answer !== NO) {
      return this.#fail(
        end > 1 && chunk[0] === YES
          ? "it sent unencrypted data after it agreed to TLS"
          : "it did not answer the request for TLS",
      );
    }
    if (this.#encryption === "either") return this.#open(null);
    this.#fail("it has no TLS, which the configuration asks for");
  }

  onDrain(): void {}

  onClosed(reason: string): void {
    if (this.#phase === "over") return;
    this.#fail(this.#phase === "securing" ? `TLS: ${reason}` : reason, this.stream.error);
  }

  // --- inside ---

  #secure(tls: ShardTlsConfig): void {
    this.#phase = "securing";
    try {
      const socket = this.stream.secure((plain) => tlsToShard(plain, this.#shard, tls));
      socket.once("secureConnect", () => {
        if (tls.negotiation !== "direct" || socket.alpnProtocol === ALPN_POSTGRESQL) {
          return this.#open(shardTlsOf(socket));
        }
        this.#fail("it began TLS directly without naming the protocol by ALPN");
      });
    } catch (error) {
      this.#fail(`TLS: ${(error as Error).message}`, error as Error);
    }
  }

  #open(tls: ShardTls | null): void {
    if (this.#phase === "over") return;
    this.#phase = "over";
    this.stream.setOwner(this.#owner);
    this.#handler.onOpen(tls);
  }

  #fail(reason: string, cause: Error | null = null): void {
    if (this.#phase === "over") return;
    const isOfTls = this.#phase !== "connecting";
    this.#phase = "over";
    this.stream.destroy();
    this.#handler.onFailed(reason, isOfTls, cause);
  }
}
