// Pure.
/**
 * Throughput as pictures: a line for each contender, over the clients and over the participants.
 *
 * Each line's name stands at its end, and what is a limit rather than a rival is dashed; the picture has its own
 * background, so that it is read alike on light pages and dark ones.
 */
import { type CellFigures, tpsOf } from "./figures.ts";
import { ABOUT } from "./names.ts";
import { CLIENTS_USUAL, type Flush, PARTICIPANTS_USUAL } from "./plan.ts";

export interface Plot {
  readonly file: string;
  readonly title: string;
  readonly flush: Flush;
  readonly svg: string;
}

interface Line {
  readonly name: string;
  /** One for each place on the axis; null where it was not measured. */
  readonly values: readonly (number | null)[];
}

const WIDTH = 760;
const HEIGHT = 420;
const LEFT = 70;
const RIGHT = 170;
const TOP = 44;
const BOTTOM = 52;
const LABEL_GAP = 14;
const LABEL_LINES_MAX = 6;
const COLOURS: ReadonlyMap<string, string> = new Map([
  ["hand-written", "#c0392b"],
  ["pgxa shard", "#1a5fb4"],
  ["pgxa file", "#3584e4"],
  ["pgxa file alone", "#99c1f1"],
  ["c sequential", "#b5a99a"],
  ["c parallel", "#5e5c64"],
  ["c anchor", "#241f31"],
  ["c plain", "#c8c8c8"],
  ["c pgxa shard", "#1b7f4d"],
  ["c pgxa file", "#57c785"],
  ["c citus", "#e5a50a"],
]);

/** Those for which there is more than one place on the axis. */
export function plotsOf(cells: readonly CellFigures[]): readonly Plot[] {
  const commits = cells.filter(({ kind }) => kind === "commits");
  return (["disk", "slow"] as const).flatMap((flush) => {
    const mine = commits.filter((cell) => cell.flush === flush);
    return [
      plot(
        flush,
        "clients",
        mine.filter(({ participants }) => participants === PARTICIPANTS_USUAL),
      ),
      plot(
        flush,
        "participants",
        mine.filter(({ clients }) => clients === CLIENTS_USUAL),
      ),
    ].filter((one) => one !== null);
  });
}

function plot(flush: Flush, axis: "clients" | "participants", cells: readonly CellFigures[]): Plot | null {
  const sorted = cells.toSorted((a, b) => a[axis] - b[axis]);
  if (sorted.length < 2) return null;
  const lines = [...ABOUT.keys()]
    .map((name): Line => ({ name, values: sorted.map((cell) => tpsOf(cell, name)) }))
    .filter(({ values }) => values.some((value) => value !== null));
  const rest = axis === "clients" ? `${PARTICIPANTS_USUAL} participants` : `${CLIENTS_USUAL} clients`;
  const title = `Commits per second over ${axis}, ${rest}${flush === "slow" ? ", 1 ms added to every flush" : ""}`;
  const places = sorted.map((cell) => String(cell[axis]));
  return { file: `commit-${axis}-${flush}.svg`, title, flush, svg: draw(title, axis, places, lines) };
}

function draw(title: string, axis: string, places: readonly string[], lines: readonly Line[]): string {
  const most = Math.max(1, ...lines.flatMap(({ values }) => values.filter((value) => value !== null)));
  const step = niceStep(most);
  const top = Math.ceil(most / step) * step;
  const x = (index: number) => LEFT + (index * (WIDTH - LEFT - RIGHT)) / (places.length - 1);
  const y = (value: number) => HEIGHT - BOTTOM - (value * (HEIGHT - TOP - BOTTOM)) / top;
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, index) => index * step);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<title>${title}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    `<text x="${LEFT}" y="24" font-size="14" font-weight="bold" fill="#222">${title}</text>`,
    ...ticks.map((value) => rule(value, y(value))),
    ...places.map((place, index) => text(x(index), HEIGHT - BOTTOM + 20, place, "middle")),
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, axis, "middle"),
    ...lines.map((line) => curve(line, x, y)),
    ...labels(lines, x(places.length - 1) + 10, y),
    "</svg>\n",
  ].join("\n");
}

/** 1, 2 or 5 times a power of ten, so that there are about six lines. */
export function niceStep(most: number): number {
  const rough = most / LABEL_LINES_MAX;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
}

const text = (x: number, y: number, words: string, anchor: "middle" | "end" | "start", colour = "#444") =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" fill="${colour}">${words}</text>`;

function rule(value: number, y: number): string {
  const line = `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y.toFixed(1)}" y2="${y.toFixed(1)}" stroke="#e4e4e4"/>`;
  return `${line}${text(LEFT - 8, y + 4, value.toLocaleString("en-US"), "end")}`;
}

function curve({ name, values }: Line, x: (index: number) => number, y: (value: number) => number): string {
  const points = values
    .map((value, index) => (value === null ? null : `${x(index).toFixed(1)},${y(value).toFixed(1)}`))
    .filter((point) => point !== null);
  const colour = colourOf(name);
  const dashes = isDashed(name) ? ' stroke-dasharray="5 4"' : "";
  const dots = points.map((point) => {
    const [cx, cy] = point.split(",");
    return `<circle cx="${cx}" cy="${cy}" r="3" fill="${colour}"/>`;
  });
  return `<polyline points="${points.join(" ")}" fill="none" stroke="${colour}" stroke-width="2"${dashes}/>${dots.join("")}`;
}

const colourOf = (name: string): string => COLOURS.get(name) ?? "#000000";
/** The client in C that goes through nothing: the limits, not the rivals. */
const isDashed = (name: string): boolean =>
  name.startsWith("c ") && !name.startsWith("c pgxa") && !name.endsWith("citus");

/** Names at the ends of their lines, moved apart where they would cover each other. */
function labels(lines: readonly Line[], x: number, y: (value: number) => number): string[] {
  const placed = lines
    .map(({ name, values }) => ({ name, at: y(values.findLast((value) => value !== null) ?? 0) }))
    .toSorted((a, b) => a.at - b.at);
  const ys: number[] = [];
  for (const { at } of placed) ys.push(Math.max(at, (ys.at(-1) ?? -Infinity) + LABEL_GAP));
  let lowest = HEIGHT - BOTTOM;
  for (let index = ys.length - 1; index >= 0; index--, lowest -= LABEL_GAP) {
    lowest = Math.min(lowest, ys[index]!);
    ys[index] = lowest;
  }
  return placed.map(({ name }, index) => text(x, ys[index]! + 4, name, "start", colourOf(name)));
}
