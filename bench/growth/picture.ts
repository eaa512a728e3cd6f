// Pure.
/**
 * How the cost grows, as pictures: for each dimension what is done per second, and what each costs the proxy.
 *
 * A line goes through a contender's medians, the band around it from its slowest round to its fastest. What grows by
 * factors has a logarithmic axis; the other axis begins at 0. A picture has its own background, so that it is read
 * alike on light pages and dark ones.
 */
import { niceStep } from "../commit/plot.ts";
import { escaped } from "../flameGraph.ts";
import { contendersOf, type DimensionFigures, type GrowthFigures, type Spread } from "./figures.ts";
import { valueWords } from "./plan.ts";

export interface Picture {
  readonly file: string;
  readonly title: string;
  readonly svg: string;
}

/** One of the two parts of a picture. */
interface Panel {
  readonly left: number;
  readonly title: string;
  readonly lines: readonly Line[];
}

interface Line {
  readonly contender: string;
  /** In the order of the axis. */
  readonly points: readonly { readonly value: number; readonly spread: Spread }[];
}

interface Scale {
  x(value: number): number;
  y(value: number): number;
}

const WIDTH = 960;
const HEIGHT = 400;
const PANEL_WIDTH = 380;
const LEFTS = [76, 556] as const;
const TOP = 118;
const BOTTOM = 56;
const LEGEND_Y = 70;
/** Of a letter, about. */
const LETTER_WIDTH = 6.6;
/** The axis goes at least as far. */
const MOST_MIN = 0.1;
/** Half of what a band is wide where there is one point only. */
const LONE_BAND = 6;
const COLOURS: ReadonlyMap<string, string> = new Map([
  ["pgxa", "#1a5fb4"],
  ["pgxa file", "#1a5fb4"],
  ["pgxa shard", "#1b7f4d"],
  ["pgbouncer", "#c64600"],
  ["direct", "#5e5c64"],
  ["hand-written", "#c0392b"],
]);
const OTHER_COLOUR = "#613583";

export const titleOf = ({ what }: DimensionFigures): string => `How the cost grows with ${what}`;

/** Those for which there is anything to draw. */
export function growthPictures({ dimensions, rounds }: GrowthFigures): readonly Picture[] {
  return dimensions
    .filter(({ points }) => points.length > 0)
    .map((one) => ({
      file: `growth-${one.name}.svg`,
      title: titleOf(one),
      svg: draw(one, rounds),
    }));
}

function draw(one: DimensionFigures, rounds: number): string {
  const panels: readonly Panel[] = [
    { left: LEFTS[0], title: `${one.counted} per second`, lines: linesOf(one, "perSecond") },
    { left: LEFTS[1], title: `processor time of the proxy for each, µs`, lines: linesOf(one, "cpuUs") },
  ];
  const spread =
    rounds === 1 ? "one round" : `line: median of ${rounds} rounds; band: the slowest to the fastest`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<title>${escaped(titleOf(one))}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" rx="6" fill="#ffffff"/>`,
    `<text x="20" y="26" font-size="15" font-weight="bold" fill="#222">${escaped(titleOf(one))}</text>`,
    text(20, 45, one.about, "start"),
    ...legend(contendersOf(one), spread),
    ...panels.flatMap((panel) => drawPanel(panel, one)),
    "</svg>\n",
  ].join("\n");
}

function linesOf(one: DimensionFigures, figure: "perSecond" | "cpuUs"): readonly Line[] {
  return contendersOf(one)
    .map((contender): Line => {
      const mine = one.points.filter((point) => point.contender === contender && point[figure] !== null);
      const points = mine.map((point) => ({ value: point.value, spread: point[figure]! }));
      return { contender, points: points.toSorted((a, b) => a.value - b.value) };
    })
    .filter(({ points }) => points.length > 0);
}

function drawPanel({ left, title, lines }: Panel, one: DimensionFigures): string[] {
  const head = `<text x="${left}" y="${TOP - 14}" font-weight="bold" fill="#222">${escaped(title)}</text>`;
  if (lines.length === 0) return [head, text(left, TOP + 20, "not known here", "start")];
  const most = Math.max(MOST_MIN, ...lines.flatMap(({ points }) => points.map(({ spread }) => spread.max)));
  const step = niceStep(most);
  const values = [...new Set(one.points.map(({ value }) => value))].toSorted((a, b) => a - b);
  const top = Math.ceil(most / step) * step;
  const scale: Scale = {
    x: placing(values, one.growsByFactors, left),
    y: (value) => HEIGHT - BOTTOM - (value * (HEIGHT - TOP - BOTTOM)) / top,
  };
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, index) => index * step);
  return [
    head,
    ...ticks.map((value) => rule(value, scale.y(value), left)),
    ...values.map((value) => mark(valueWords(one, value), scale.x(value))),
    text(left + PANEL_WIDTH / 2, HEIGHT - 14, one.axis, "middle"),
    ...lines.map((line) => band(line, scale)),
    ...lines.map((line) => curve(line, scale)),
  ];
}

/** Where on the axis a value stands; in the middle if it is the only one. */
function placing(values: readonly number[], growsByFactors: boolean, left: number): Scale["x"] {
  const measure = (value: number) => (growsByFactors ? Math.log(value) : value);
  const [first, last] = [measure(values[0]!), measure(values.at(-1)!)];
  if (first === last) return () => left + PANEL_WIDTH / 2;
  return (value) => left + ((measure(value) - first) / (last - first)) * PANEL_WIDTH;
}

const round = (value: number): string => value.toFixed(1);

const text = (x: number, y: number, words: string, anchor: "start" | "middle" | "end"): string =>
  `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" fill="#444">${escaped(words)}</text>`;

function rule(value: number, y: number, left: number): string {
  const line = `<line x1="${left}" x2="${left + PANEL_WIDTH}" y1="${round(y)}" y2="${round(y)}" stroke="#e4e4e4"/>`;
  return line + text(left - 8, y + 4, value.toLocaleString("en-US"), "end");
}

function mark(words: string, x: number): string {
  const y = HEIGHT - BOTTOM;
  const line = `<line x1="${round(x)}" x2="${round(x)}" y1="${y}" y2="${y + 5}" stroke="#888"/>`;
  return line + text(x, y + 19, words, "middle");
}

function band({ contender, points }: Line, { x, y }: Scale): string {
  const wide = points.length === 1 ? [-LONE_BAND, LONE_BAND] : [0];
  const side = (of: (spread: Spread) => number) =>
    points.flatMap(({ value, spread }) =>
      wide.map((aside) => `${round(x(value) + aside)},${round(y(of(spread)))}`),
    );
  const outline = [...side(({ max }) => max), ...side(({ min }) => min).reverse()];
  return `<polygon points="${outline.join(" ")}" fill="${colourOf(contender)}" fill-opacity="0.16"/>`;
}

function curve({ contender, points }: Line, { x, y }: Scale): string {
  const colour = colourOf(contender);
  const places = points.map(({ value, spread }) => [round(x(value)), round(y(spread.median))] as const);
  const dots = places.map(([cx, cy], index) => {
    const told = escaped(`${contender}: ${points[index]!.spread.median.toLocaleString("en-US")}`);
    return `<circle cx="${cx}" cy="${cy}" r="3.5" fill="${colour}"><title>${told}</title></circle>`;
  });
  const line = `<polyline points="${places.map((place) => place.join(",")).join(" ")}" fill="none" stroke="${colour}" stroke-width="2"/>`;
  return line + dots.join("");
}

function legend(contenders: readonly string[], spread: string): string[] {
  let x = 20;
  const names = contenders.map((contender) => {
    const swatch = `<rect x="${round(x)}" y="${LEGEND_Y - 10}" width="18" height="11" rx="2" fill="${colourOf(contender)}"/>`;
    const words = text(x + 24, LEGEND_Y, contender, "start");
    x += 24 + contender.length * LETTER_WIDTH + 20;
    return swatch + words;
  });
  return [...names, text(x + 6, LEGEND_Y, `(${spread})`, "start")];
}

const colourOf = (contender: string): string => COLOURS.get(contender) ?? OTHER_COLOUR;
