/** The options of commands that take a configuration file. */
import { parseArgs } from "node:util";

export type ConfigOptions =
  | { readonly kind: "run"; readonly file: string; readonly isJson: boolean }
  | { readonly kind: "help" }
  /** Said on standard error; the exit code is 2. */
  | { readonly kind: "wrong"; readonly says: string };

/** Reads `--config FILE`, `--json` where `hasJson`, and `--help`. */
export function readConfigOptions(command: string, args: readonly string[], hasJson: boolean): ConfigOptions {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        config: { type: "string", short: "c" },
        help: { type: "boolean", short: "h" },
        ...(hasJson ? { json: { type: "boolean" } as const } : {}),
      },
    });
    if (values.help === true) return { kind: "help" };
    const isJson = (values as { json?: boolean }).json === true;
    if (values.config !== undefined) return { kind: "run", file: values.config, isJson };
    return {
      kind: "wrong",
      says: `pgxa ${command} needs --config FILE. config/pgxa.yaml is an example with every option.`,
    };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return {
      kind: "wrong",
      says: `pgxa ${command}: ${reason.split(". To specify")[0]}. See pgxa ${command} --help.`,
    };
  }
}
