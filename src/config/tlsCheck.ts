// Pure.
/** What is wrong between the options of TLS and Unix sockets. */
import type { CrossProblem } from "./crossProblem.ts";
import type { RawConfig, Section } from "./reader.ts";

/** In place of a file of authorities: those of the operating system. */
export const SYSTEM_AUTHORITIES = "system";

const VERIFYING = ["verify-ca", "verify-full"];
const STRICT = ["require", ...VERIFYING];

export const tlsProblems = (raw: RawConfig): readonly CrossProblem[] => [
  ...unixProblems(raw.sections.get("listen")),
  ...clientProblems(raw.sections.get("client_tls")),
  ...(raw.lists.get("shards") ?? []).flatMap((shard, i) => shardProblems(shard, `shards[${i}]`)),
];

function unixProblems(listen: Section | undefined): readonly CrossProblem[] {
  const mode = listen?.get("unix_mode");
  if (mode === undefined || /^0?[0-7]{3}$/.test(String(mode))) return [];
  return [
    {
      path: "listen.unix_mode",
      says: "is no mode of a file",
      advice: "Give three octal digits, such as 0770.",
    },
  ];
}

function clientProblems(tls: Section | undefined): readonly CrossProblem[] {
  const mode = tls?.get("mode");
  if (tls === undefined || mode === undefined || mode === "disable") return [];
  const needed = VERIFYING.includes(String(mode))
    ? ["key_file", "cert_file", "ca_file"]
    : ["key_file", "cert_file"];
  return needed
    .filter((name) => !tls.has(name))
    .map((name) => ({
      path: `client_tls.${name}`,
      says: `is missing, and client_tls.mode is ${mode}`,
      advice: "Give the path of a PEM file.",
    }));
}

function shardProblems(shard: Section, path: string): readonly CrossProblem[] {
  const [mode, ca] = [String(shard.get("tls")), shard.get("tls_ca_file")];
  const problems: CrossProblem[] = [];
  const add = (name: string, says: string, advice: string): void =>
    void problems.push({ path: `${path}.${name}`, says, advice });
  if (VERIFYING.includes(mode) && ca === undefined) {
    add("tls_ca_file", `is missing, and tls is ${mode}`, "Give the path of a PEM file, or system.");
  }
  if (ca === SYSTEM_AUTHORITIES && mode !== "verify-full") {
    // Anybody can have a certificate of theirs.
    add("tls_ca_file", `is system, and tls is ${mode}`, "Set tls to verify-full, or name a file.");
  }
  if (shard.has("tls_cert_file") !== shard.has("tls_key_file")) {
    const missing = shard.has("tls_cert_file") ? "tls_key_file" : "tls_cert_file";
    add(missing, "is missing", "Give tls_cert_file and tls_key_file together.");
  }
  if (shard.get("tls_negotiation") === "direct" && shard.has("tls") && !STRICT.includes(mode)) {
    add("tls_negotiation", `is direct, and tls is ${mode}`, "Set tls to require, verify-ca or verify-full.");
  }
  return problems;
}
