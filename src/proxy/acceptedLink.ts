/** What is known of a connection that was accepted: from where it came, and what TLS says of it once that stands. */
import type { ByteStream } from "../pool/byteStream.ts";
import type { ClientLink, TlsFacts } from "./clientLink.ts";
import type { PeerUsers } from "./peerUsers.ts";

export class AcceptedLink implements ClientLink {
  readonly kind: "tcp" | "unix";
  readonly remoteAddress: string;
  tls: TlsFacts | null = null;
  readonly #stream: ByteStream;
  readonly #peers: PeerUsers;

  constructor(kind: "tcp" | "unix", stream: ByteStream, peers: PeerUsers) {
    this.kind = kind;
    this.remoteAddress = kind === "unix" ? "" : stream.remoteAddress;
    this.#stream = stream;
    this.#peers = peers;
  }

  peerUser(): Promise<string | null> {
    if (this.kind === "tcp") return Promise.resolve(null);
    return this.#peers.nameOf(() => this.#stream.descriptor);
  }
}
