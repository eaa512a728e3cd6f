/** The options of commands that take a configuration file. */
import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { nearest } from "../config/problems.ts";

export type ConfigOptions =
  | { readonly kind: "run"; readonly file: string; readonly isJson: boolean }
  | { readonly kind: "help" }
  /** Said on standard error; the exit code is 2. */
  | { readonly kind: "wrong"; readonly says: string };

const OPTIONS = {
  config: { type: "string", short: "c" },
  help: { type: "boolean", short: "h" },
} as const satisfies ParseArgsOptionsConfig;
const WITH_JSON = { ...OPTIONS, json: { type: "boolean" } } as const satisfies ParseArgsOptionsConfig;

/** Reads `--config FILE`, `--json` where `hasJson`, and `--help`. */
export function readConfigOptions(command: string, args: readonly string[], hasJson: boolean): ConfigOptions {
  const options = hasJson ? WITH_JSON : OPTIONS;
  const { values, tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true });
  const complaint = tokens.map((token) => complaintAbout(token, options)).find((found) => found !== null);
  if (complaint !== undefined) {
    return { kind: "wrong", says: `pgxa ${command}: ${complaint} See pgxa ${command} --help.` };
  }
  if (values.help === true) return { kind: "help" };
  if (typeof values.config === "string") {
    return { kind: "run", file: values.config, isJson: "json" in values };
  }
  const says = `pgxa ${command} needs --config FILE. config/pgxa.yaml is an example with every option.`;
  return { kind: "wrong", says };
}

type Token = NonNullable<ReturnType<typeof parseArgs>["tokens"]>[number];

function complaintAbout(token: Token, options: ParseArgsOptionsConfig): string | null {
  if (token.kind === "positional") return `"${token.value}" is one word too many.`;
  if (token.kind !== "option") return null;
  const { name, rawName, value } = token;
  const option = options[name];
  if (option === undefined) {
    const meant = nearest(name, Object.keys(options));
    return `there is no option ${rawName}.${meant === null ? "" : ` Did you mean --${meant}?`}`;
  }
  if (option.type === "boolean") return value === undefined ? null : `${rawName} takes no value.`;
  const isMissing = value === undefined || value === "" || (!token.inlineValue && value.startsWith("-"));
  return isMissing ? `${rawName} needs a file's name.` : null;
}
