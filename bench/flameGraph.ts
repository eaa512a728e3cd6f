// Pure.
/**
 * A V8 CPU profile as a picture: functions stand on those that called them, as wide as they took time.
 *
 * Idle time is left out. Neighbours of the same name are one; what is narrower than a hair is not drawn. Each box has a
 * tooltip with its place in the source and its share. Its colour says whose code it is.
 */
import type { CpuProfile } from "./cpuProfile.ts";

interface Frame {
  readonly name: string;
  readonly place: string;
  us: number;
  readonly callees: Map<string, Frame>;
}

const WIDTH = 1200;
const MARGIN = 10;
const ROW = 17;
const HEAD = 62;
const FONT_SIZE = 11;
/** Of a letter, about. */
const LETTER_WIDTH = 6.2;
const WIDTH_MIN = 0.4;
const DEPTH_MAX = 60;

/** By the beginning of a frame's place; the first that fits. */
const KINDS: readonly (readonly [prefix: string, name: string, colour: string])[] = [
  ["src/wire", "wire", "#f2c14e"],
  ["src/pool", "pool", "#8ab17d"],
  ["src/routing", "routing", "#b5838d"],
  ["src/txn", "txn", "#6d9dc5"],
  ["src/proxy", "proxy", "#e8871e"],
  ["src/", "pgxa, other", "#f4a261"],
  ["node:", "Node", "#b8c0c8"],
  ["node_modules", "libraries", "#cdb4db"],
  ["", "V8, system calls", "#dd6e64"],
];

/** `root` is the file URL that places are told relative to. */
export function flameGraph(profile: CpuProfile, root: string, title: string): string {
  const top = framesOf(profile, root);
  const depth = Math.min(DEPTH_MAX, depthOf(top));
  const height = HEAD + depth * ROW + MARGIN;
  const boxes: string[] = [];
  draw(top, MARGIN, WIDTH - 2 * MARGIN, 0, { totalUs: top.us, bottom: height - MARGIN, boxes });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="${FONT_SIZE}">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    `<text x="${MARGIN}" y="24" font-size="14" font-weight="bold" fill="#222">${escaped(title)}</text>`,
    ...legend(),
    ...boxes,
    "</svg>\n",
  ].join("\n");
}

/** What was sampled as one tree of callers and callees. */
function framesOf(profile: CpuProfile, root: string): Frame {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const callers = new Map<number, number>();
  for (const { id, children } of profile.nodes) for (const child of children ?? []) callers.set(child, id);
  const top = frame("all", "");
  profile.samples.forEach((id, index) => {
    const us = profile.timeDeltas[index] ?? 0;
    const stack: number[] = [];
    for (let at: number | undefined = id; at !== undefined; at = callers.get(at)) stack.push(at);
    if (nodes.get(id)?.callFrame.functionName === "(idle)") return;
    top.us += us;
    let current = top;
    for (const each of stack.reverse()) {
      const { functionName, url, lineNumber } = nodes.get(each)!.callFrame;
      if (functionName === "(root)") continue;
      const place = url === "" ? "" : `${url.replace(root, "")}:${lineNumber + 1}`;
      current = callee(current, functionName || "(anonymous)", place);
      current.us += us;
    }
  });
  return top;
}

const frame = (name: string, place: string): Frame => ({ name, place, us: 0, callees: new Map() });

function callee(caller: Frame, name: string, place: string): Frame {
  const key = `${name} ${place}`;
  const known = caller.callees.get(key) ?? frame(name, place);
  caller.callees.set(key, known);
  return known;
}

const depthOf = (one: Frame): number => 1 + Math.max(0, ...[...one.callees.values()].map(depthOf));

interface Canvas {
  readonly totalUs: number;
  readonly bottom: number;
  readonly boxes: string[];
}

function draw(one: Frame, x: number, width: number, depth: number, canvas: Canvas): void {
  if (width < WIDTH_MIN || depth >= DEPTH_MAX || canvas.totalUs === 0) return;
  const y = canvas.bottom - (depth + 1) * ROW;
  const share = `${((100 * one.us) / canvas.totalUs).toFixed(1)} %`;
  canvas.boxes.push(
    `<g><title>${escaped(`${one.name} ${one.place}`.trim())}, ${share}</title>` +
      `<rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${ROW - 1}" fill="${colourOf(one)}" rx="1"/>` +
      `${label(one, x, y, width, share)}</g>`,
  );
  const widest = [...one.callees.values()].toSorted((a, b) => b.us - a.us);
  let at = x;
  for (const each of widest) {
    const part = (width * each.us) / one.us;
    draw(each, at, part, depth + 1, canvas);
    at += part;
  }
}

function label({ name }: Frame, x: number, y: number, width: number, share: string): string {
  const letters = Math.floor((width - 4) / LETTER_WIDTH);
  if (letters < 3) return "";
  const whole = `${name} ${share}`;
  const words =
    whole.length <= letters ? whole : name.length <= letters ? name : `${name.slice(0, letters - 1)}…`;
  return `<text x="${(x + 3).toFixed(1)}" y="${y + 12}" fill="#222">${escaped(words)}</text>`;
}

const colourOf = ({ place, name }: Frame): string =>
  name === "all" ? "#e6e6e6" : KINDS.find(([prefix]) => place.startsWith(prefix))![2];

function legend(): string[] {
  let x = MARGIN;
  return KINDS.map(([, name, colour]) => {
    const box = `<rect x="${x}" y="36" width="11" height="11" fill="${colour}"/>`;
    const words = `<text x="${x + 15}" y="46" fill="#444">${escaped(name)}</text>`;
    x += 15 + name.length * LETTER_WIDTH + 16;
    return box + words;
  });
}

export const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
