/** What is known of a connection before its client has said who it is; login rules and peer logins go by it. */
export interface ClientLink {
  readonly kind: "tcp" | "unix";
  /** Empty on a Unix socket. */
  readonly remoteAddress: string;
  /** Null: not encrypted. */
  readonly tls: TlsFacts | null;
  /** The operating system's name of the user at the other end of a Unix socket; null where that cannot be known. */
  peerUser(): Promise<string | null>;
}

export interface TlsFacts {
  /**
   * The hash of the certificate shown to the client (`tls-server-end-point` of RFC 5929), for channel binding; null for a
   * certificate that has none defined (Ed25519), with which no binding can be offered.
   */
  readonly endPointHash: Buffer | null;
  /** The client's certificate, if it has shown one that a trusted authority has signed. */
  readonly certificate: { readonly commonName: string; readonly distinguishedName: string } | null;
  /** The name that the client asked for (SNI). */
  readonly serverName: string | null;
}
