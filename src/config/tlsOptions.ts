// Pure.
/** The options of TLS towards clients and shards, and of Unix sockets. */
import type { OptionSpec } from "./optionSpec.ts";

const MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

export const UNIX_OPTIONS: readonly OptionSpec[] = [
  {
    path: "listen.unix_directory",
    type: "text",
    isOptional: true,
    says: "The directory in which a Unix socket is opened as well, named .s.PGSQL.PORT as PostgreSQL's; without it there is none.",
  },
  {
    path: "listen.unix_mode",
    type: "text",
    default: "0777",
    says: "Who may connect to that socket: its mode, as chmod takes it in octal.",
  },
];

export const CLIENT_TLS_OPTIONS: readonly OptionSpec[] = [
  {
    path: "client_tls.mode",
    type: "choice",
    default: "disable",
    choices: MODES,
    isLive: true,
    says: "TLS with clients that come by TCP: never; if they ask for it (allow and prefer); always (require); always, with a certificate signed by ca_file (verify-ca), whose common name is the user's (verify-full).",
  },
  {
    path: "client_tls.key_file",
    type: "text",
    isOptional: true,
    isLive: true,
    says: "The private key of pgxa, as PEM without a passphrase.",
  },
  {
    path: "client_tls.cert_file",
    type: "text",
    isOptional: true,
    isLive: true,
    says: "The certificate of pgxa and those between it and its authority, as PEM. Changed files are read again by themselves.",
  },
  {
    path: "client_tls.ca_file",
    type: "text",
    isOptional: true,
    isLive: true,
    says: "The authorities that sign clients' certificates, as PEM. With it clients are asked for one.",
  },
  {
    path: "client_tls.min_version",
    type: "choice",
    default: "TLSv1.2",
    choices: ["TLSv1.2", "TLSv1.3"],
    isLive: true,
    says: "The oldest version of TLS that clients may speak.",
  },
  {
    path: "client_tls.ciphers",
    type: "text",
    isOptional: true,
    isLive: true,
    says: "The cipher suites that clients may use, as OpenSSL writes them; by default Node's own choice.",
  },
];

export const SHARD_TLS_OPTIONS: readonly OptionSpec[] = [
  {
    path: "shards[].tls",
    type: "choice",
    default: "prefer",
    choices: MODES,
    says: "TLS with this shard, as libpq's sslmode: only verify-ca and verify-full know that it is the shard, and only these and require never speak without TLS. On a Unix socket there is none.",
  },
  {
    path: "shards[].tls_ca_file",
    type: "text",
    isOptional: true,
    says: "The authorities that sign the shard's certificate, as PEM; or system, for those of the operating system.",
  },
  {
    path: "shards[].tls_cert_file",
    type: "text",
    isOptional: true,
    says: "The certificate that pgxa shows to the shard, as PEM.",
  },
  {
    path: "shards[].tls_key_file",
    type: "text",
    isOptional: true,
    says: "Its private key, as PEM without a passphrase.",
  },
  {
    path: "shards[].tls_negotiation",
    type: "choice",
    default: "postgres",
    choices: ["postgres", "direct"],
    says: "Whether TLS is asked for first, as every version of PostgreSQL has it, or begun at once (PostgreSQL 17).",
  },
];
