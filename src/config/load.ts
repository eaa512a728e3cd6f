/**
 * From a YAML file to the configuration, or to a list of everything that is wrong with it.
 *
 * `reader.ts` takes the file apart, `crossCheck.ts` looks at what options mean together, `build.ts` puts the
 * configuration together. Nothing is half loaded: there is a configuration, or a Fault that names every problem.
 */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Fault } from "../base/fault.ts";
import { buildConfig } from "./build.ts";
import type { ClientTlsConfig, Config } from "./config.ts";
import { crossProblems } from "./crossCheck.ts";
import type { CrossProblem } from "./crossProblem.ts";
import { configFault } from "./problems.ts";
import { ConfigReader, type RawConfig } from "./reader.ts";
import { type Reload, reload } from "./reload.ts";
import { SYSTEM_AUTHORITIES } from "./tlsCheck.ts";
import type { Variables } from "./variables.ts";

export interface LoadedConfig {
  /** The options as they were written, for a later reload. */
  readonly raw: RawConfig;
  readonly config: Config;
}

/** Reads the file `path`; throws a Fault (`config.invalid`). */
export const loadConfig = (path: string, variables: Variables): Config => loadFile(path, variables).config;

/** The same, with what a later reload needs. */
export function loadFile(path: string, variables: Variables): LoadedConfig {
  const raw = parseRaw(readFile(path), path, variables);
  return { raw, config: withAbsolutePaths(buildConfig(raw), path) };
}

/** What of the file `path` applies to a process that runs with `running`; throws a Fault (`config.invalid`). */
export function reloadConfig(path: string, variables: Variables, running: RawConfig): ReloadedConfig {
  const { raw, applied, waiting } = reload(running, parseRaw(readFile(path), path, variables));
  return { raw, applied, waiting, config: buildRunning(raw, path) };
}

export type ReloadedConfig = Reload & LoadedConfig;

/** Reads `text`, which stands in the file `source`; throws a Fault (`config.invalid`). */
export function parseConfig(text: string, source: string, variables: Variables): Config {
  return withAbsolutePaths(buildConfig(parseRaw(text, source, variables)), source);
}

/** The configuration of options that are in force, of which the file `path` said most; throws a Fault. */
export function buildRunning(raw: RawConfig, path: string): Config {
  const problems = crossProblems(raw);
  if (problems.length > 0) throw misfit(path, problems);
  return withAbsolutePaths(buildConfig(raw), path);
}

function parseRaw(text: string, source: string, variables: Variables): RawConfig {
  const reader = new ConfigReader(text, variables);
  const raw = reader.read();
  for (const { path, says, advice } of raw === null ? [] : crossProblems(raw)) {
    reader.addProblem(path, says, advice);
  }
  if (raw === null || reader.problems.length > 0) throw configFault(source, reader.problems);
  return raw;
}

const misfit = (file: string, problems: readonly CrossProblem[]): Fault =>
  new Fault("config.invalid", {
    message: `what of ${file} may change without a restart does not fit what has to wait for one`,
    detail: problems.map(({ path, says, advice }) => `${path} ${says}. ${advice}`).join(" "),
    hint: "Restart pgxa for all of it.",
  });

/**
 * A relative path is meant from the file that holds it, wherever pgxa is started: an empty decision log in the wrong
 * place would mean that every prepared transaction is to be rolled back.
 */
function withAbsolutePaths(config: Config, source: string): Config {
  const directory = dirname(source);
  const absolute = (path: string): string => resolve(directory, path);
  const optional = (path: string | undefined): string | undefined =>
    path === undefined || path === SYSTEM_AUTHORITIES ? path : absolute(path);
  const { listen, clientTls, auth, transaction } = config;
  const withFiles = <Tls extends TlsFiles>(tls: Tls): Tls => ({
    ...tls,
    caFile: optional(tls.caFile),
    certFile: optional(tls.certFile),
    keyFile: optional(tls.keyFile),
  });
  return {
    ...config,
    auth: {
      ...auth,
      hbaFile: optional(auth.hbaFile),
      identFile: optional(auth.identFile),
      usersFile: optional(auth.usersFile),
    },
    listen: { ...listen, unixDirectory: optional(listen.unixDirectory) },
    clientTls: withFiles(clientTls),
    pidFile: optional(config.pidFile),
    shards: config.shards.map((shard) => ({ ...shard, tls: shard.tls && withFiles(shard.tls) })),
    transaction: {
      ...transaction,
      logDirectory: transaction.logDirectory === "" ? "" : absolute(transaction.logDirectory),
    },
  };
}

type TlsFiles = Pick<ClientTlsConfig, "caFile" | "certFile" | "keyFile">;

function readFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Fault("config.invalid", {
      message:
        code === "ENOENT"
          ? `there is no configuration file ${path}`
          : `cannot read the configuration file ${path}: ${message}`,
      hint: "Give the path of a YAML file with --config; config/pgxa.yaml is an example with every option.",
      cause: error,
    });
  }
}
