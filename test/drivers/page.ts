// Pure.
/** What the run found as Markdown, and its place in docs/compatibility.md: between two comments. */
import { reasonFor } from "./known.ts";
import { type Miss, misses, type Outcome, onlyMissedThere, passedCount } from "./outcome.ts";

export const BEGIN = "<!-- drivers: made by npm run test:drivers -->";
export const END = "<!-- drivers: end -->";

const WHY_CHARACTERS_MAX = 140;

/** One application on every way it was tried on. */
export interface Row {
  readonly application: string;
  readonly version: string;
  /** By the way's title, `direct` first. */
  readonly outcomes: ReadonlyMap<string, Outcome>;
}

/** `titles` are those of the ways, in order; `direct` is the first. */
export function findings(
  titles: readonly string[],
  rows: readonly Row[],
  skipped: readonly string[],
): string {
  const heads = ["driver", "checks", ...titles];
  const table = [
    `| ${heads.join(" | ")} |`,
    `| --- |${" ---: |".repeat(heads.length - 1)}`,
    ...rows.map((row) => `| ${[`${row.application} ${row.version}`, ...figures(titles, row)].join(" | ")} |`),
  ];
  const sections = titles.map((title, index) => missedOn(title, index === 0, titles[0]!, rows));
  const left = skipped.map((line) => `- not run: ${line}`).join("\n");
  return [table.join("\n"), ...sections, left].filter((part) => part !== "").join("\n\n");
}

function figures(titles: readonly string[], row: Row): readonly string[] {
  const outcomes = titles.map((title) => row.outcomes.get(title));
  const total = Math.max(...outcomes.map((outcome) => outcome?.checks.size ?? 0));
  return [total, ...outcomes.map((outcome) => (outcome === undefined ? "" : passedCount(outcome)))].map(
    String,
  );
}

/** The misses on one way; those that are missed directly too are told once, there. */
function missedOn(title: string, isDirect: boolean, direct: string, rows: readonly Row[]): string {
  const lines = rows.flatMap((row) => {
    const outcome = row.outcomes.get(title);
    if (outcome === undefined) return [];
    const base = row.outcomes.get(direct)!;
    const missed = isDirect ? misses(outcome) : onlyMissedThere(base, outcome);
    return missed.map((miss) => line(row.application, miss, title));
  });
  return lines.length === 0 ? "" : `Missed ${isDirect ? "" : "through "}${title}:\n\n${lines.join("\n")}`;
}

function line(application: string, { check, why }: Miss, title: string): string {
  const reason = title === "pgxa" ? reasonFor(application, check) : null;
  return `- ${application}: ${check} (${withoutMarkup(reason ?? shortened(why))})`;
}

/** Without what changes from run to run, if it is as plain as a port. */
function shortened(why: string): string {
  const text = why.replaceAll(/, port \d+/g, "");
  return text.length > WHY_CHARACTERS_MAX ? `${text.slice(0, WHY_CHARACTERS_MAX)}…` : text;
}

const withoutMarkup = (text: string): string => text.replaceAll(/[<>|*_`[\]]/g, (sign) => `\\${sign}`);

/** `page` with what stands between the two comments replaced; they are put at its end if it has none. */
export function placed(page: string, text: string): string {
  const between = `${BEGIN}\n\n${text}\n\n${END}`;
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) return `${page.trimEnd()}\n\n${between}\n`;
  return page.slice(0, begin) + between + page.slice(end + END.length);
}
