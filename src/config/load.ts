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
import type { Config } from "./config.ts";
import { crossProblems } from "./crossCheck.ts";
import { configFault } from "./problems.ts";
import { ConfigReader } from "./reader.ts";
import type { Variables } from "./variables.ts";

/** Reads the file `path`; throws a Fault (`config.invalid`). */
export function loadConfig(path: string, variables: Variables): Config {
  return parseConfig(readFile(path), path, variables);
}

/** Reads `text`, which stands in the file `source`; throws a Fault (`config.invalid`). */
export function parseConfig(text: string, source: string, variables: Variables): Config {
  const reader = new ConfigReader(text, variables);
  const raw = reader.read();
  for (const { path, says, advice } of raw === null ? [] : crossProblems(raw)) {
    reader.addProblem(path, says, advice);
  }
  if (raw === null || reader.problems.length > 0) throw configFault(source, reader.problems);
  return withAbsolutePaths(buildConfig(raw), source);
}

/**
 * A relative path is meant from the file that holds it, wherever pgxa is started: an empty decision log in the wrong
 * place would mean that every prepared transaction is to be rolled back.
 */
function withAbsolutePaths(config: Config, source: string): Config {
  const at = (path: string): string => resolve(dirname(source), path);
  const { transaction, pidFile } = config;
  const { logDirectory } = transaction;
  return {
    ...config,
    transaction: { ...transaction, logDirectory: logDirectory === "" ? "" : at(logDirectory) },
    pidFile: pidFile === undefined ? undefined : at(pidFile),
  };
}

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
