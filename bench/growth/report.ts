// Pure.
/** The results of the growth case as a Markdown document. */
import { machineLines, table, thousands } from "../report.ts";
import type { DimensionFigures, GrowthFigures, GrowthPoint, Spread } from "./figures.ts";
import { growthPictures, titleOf } from "./picture.ts";
import { valueWords } from "./plan.ts";

/** Ends with a newline. */
export function growthMarkdown(figures: GrowthFigures): string {
  const files = new Map(growthPictures(figures).map(({ title, file }) => [title, file]));
  const parts = [
    "# How the cost grows",
    machineLines(figures),
    ...figures.dimensions.flatMap((one) => dimensionParts(one, files.get(titleOf(one)))),
    figures.leftOut.map((line) => `- Left out: ${line}`).join("\n"),
  ];
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

function dimensionParts(one: DimensionFigures, file: string | undefined): string[] {
  const { what, about, points, counted, axis } = one;
  if (points.length === 0 || file === undefined) return [`## With ${what}\n\nNobody took part.`];
  const head = [axis, "contender", `${counted} per second`, "min – max", "proxy µs for each", "min – max µs"];
  const rows = points.map((point) => cells(one, point));
  return [`## With ${what}`, `Runs: ${about}.`, `![${titleOf(one)}](${file})`, table([head, ...rows])];
}

const cells = (one: DimensionFigures, { value, contender, perSecond, cpuUs }: GrowthPoint): string[] => [
  valueWords(one, value),
  contender,
  thousands(perSecond.median),
  range(perSecond, thousands),
  cpuUs === null ? "" : cpuUs.median.toFixed(1),
  cpuUs === null ? "" : range(cpuUs, (each) => each.toFixed(1)),
];

const range = ({ min, max }: Spread, words: (value: number) => string): string =>
  `${words(min)} – ${words(max)}`;
