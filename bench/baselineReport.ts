// Pure.
/** What a comparison with a baseline found, as Markdown: first what moved, then everything. */
import type { Comparison, Comparisons } from "./baseline.ts";
import { table } from "./report.ts";

export function comparisonMarkdown({ compared, remarks }: Comparisons): string {
  const parts = [
    "# Compared with the baseline",
    remarks.map((line) => `- Not alike: ${line}`).join("\n"),
    summary(compared),
    compared.length === 0 ? "" : table([HEAD, ...compared.map(cells)]),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

const HEAD = ["case", "contender", "what", "ratio to", "then", "now", "change", "counts from", "verdict"];

function summary(compared: readonly Comparison[]): string {
  if (compared.length === 0) return "Nothing was measured in both runs.";
  const unclear = compared.filter(({ verdict }) => verdict === "unclear").length;
  const moved = compared.filter(({ verdict }) => verdict === "better" || verdict === "worse");
  const doubt =
    unclear === 0 ? [] : [`- Of ${unclear} of ${compared.length} ratios the spread is too large to tell.`];
  if (moved.length === 0 && unclear === 0)
    return `Nothing moved: ${compared.length} ratios are the same within their spread.`;
  return moved
    .map(
      (one) =>
        `- ${one.verdict.toUpperCase()}: ${one.what} of ${one.contender} in ${one.case}, ` +
        `${percent(one.now / one.before)} to ${one.reference}`,
    )
    .concat(doubt)
    .join("\n");
}

const cells = (one: Comparison): string[] => [
  one.case,
  one.contender,
  one.what,
  one.reference,
  one.before.toFixed(2),
  one.now.toFixed(2),
  percent(one.now / one.before),
  percent(one.needed),
  one.verdict,
];

const percent = (factor: number): string =>
  `${factor >= 1 ? "+" : "−"}${Math.abs((factor - 1) * 100).toFixed(1)} %`;
