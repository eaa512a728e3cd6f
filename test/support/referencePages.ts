/**
 * The pages of docs/ that are made from tables in the code: options, errors, the console, metrics. Tests compare them.
 *
 *     node test/support/referencePages.ts      writes them anew
 */
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { CATALOGUE } from "../../src/base/catalogue.ts";
import type { FaultSpec } from "../../src/base/fault.ts";
import { OPTIONS, type OptionSpec } from "../../src/config/options.ts";
import { showDuration, showSize } from "../../src/config/values.ts";
import { consolePage } from "./consolePage.ts";
import { fromPgbouncerPage } from "./fromPgbouncerPage.ts";
import { metricsPage } from "./metricsPage.ts";
import { MADE, table } from "./pageParts.ts";

const ROOT = resolve(import.meta.dirname, "../..");

/** The pages by their path in the repository. */
export const PAGES: Readonly<Record<string, () => string>> = {
  "docs/configuration.md": configurationPage,
  "docs/errors.md": errorsPage,
  "docs/console.md": consolePage,
  "docs/metrics.md": metricsPage,
  "docs/from-pgbouncer.md": () => fromPgbouncerPage(MADE, table),
};

function configurationPage(): string {
  return `# Configuration

${MADE}

One YAML file, given with \`--config FILE\`. [config/pgxa.yaml](../config/pgxa.yaml) is an example with every option, and
[config/examples](../config/examples) has short ones. \`pgxa check --config FILE\` tells everything that is wrong with a
file at once, each with its line and what to do, and asks every shard whether it is fit.

- \`[]\` stands for each entry of a list.
- An option without a default has to be given, unless it is *optional*. A name that is no option is an error.
- Durations: \`250ms\`, \`5s\`, \`10min\`, \`1h\`, \`7d\`. Sizes: \`64kB\`, \`16MB\`. A plain number counts the unit.
- \`\${NAME}\` in a value is the environment variable NAME, and must be set; \`\${NAME:-text}\` is \`text\` where it is unset or
  empty; \`$\${\` is a plain \`\${\`. A variable is put in as a value: it cannot add options.
- Relative paths are meant from the file's own directory.
- A *secret* is never shown, neither in errors nor in logs.
- *restart*: a change takes effect when pgxa is started again.

${table(
  ["option", "type", "default", "range", "what it is", "change"],
  OPTIONS.map((option) => [
    `\`${option.path}\``,
    typeOf(option),
    defaultOf(option),
    rangeOf(option),
    option.says,
    option.isLive ? "live" : "restart",
  ]),
)}
`;
}

function errorsPage(): string {
  const specs: readonly (readonly [string, FaultSpec])[] = Object.entries(CATALOGUE);
  return `# Errors

${MADE}

What pgxa itself reports. An error of a shard passes unchanged and is not here. The SQLSTATE is what a program should
look at; the id is what logs name. *Ends* is what ends with it, *whose* whose doing it is.

${table(
  ["id", "SQLSTATE", "severity", "ends", "whose", "message", "hint"],
  specs.map(([id, { sqlstate, severity, scope, blame, message, hint }]) => [
    `\`${id}\``,
    sqlstate,
    severity,
    scope,
    blame,
    message,
    hint ?? "",
  ]),
)}
`;
}

const typeOf = ({ type, unit, isSecret }: OptionSpec): string =>
  [type, ...(unit === undefined ? [] : [`(${unit})`]), ...(isSecret ? ["(secret)"] : [])].join(" ");

function defaultOf(option: OptionSpec): string {
  if (option.default === undefined) return option.isOptional ? "*optional*" : "";
  return `\`${shown(option, option.default)}\``;
}

function rangeOf(option: OptionSpec): string {
  if (option.choices !== undefined) return option.choices.map((choice) => `\`${choice}\``).join(", ");
  if (option.min === undefined || option.max === undefined) return "";
  const word = option.word === undefined ? "" : `, or \`${option.word}\``;
  return `${shown(option, option.min)} to ${shown(option, option.max)}${word}`;
}

function shown({ type }: OptionSpec, value: string | number | boolean): string {
  if (type === "duration") return showDuration(Number(value));
  return type === "size" ? showSize(Number(value)) : String(value);
}

if (import.meta.main) {
  for (const [path, page] of Object.entries(PAGES)) writeFileSync(join(ROOT, path), page());
}
