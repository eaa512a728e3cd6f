// Pure.
/** One value of the configuration: from what the file says to what the program uses, or what is wrong with it. */
import type { OptionSpec } from "./options.ts";

export type Value = string | number | boolean;

export type Reading =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly says: string; readonly advice: string };

const DURATION_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const SIZE_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1024,
  KB: 1024,
  MB: 1024 ** 2,
  GB: 1024 ** 3,
};
const NAME = /^[A-Za-z0-9_-]{1,32}$/;
const TRUE = /^(true|yes|on)$/i;
const FALSE = /^(false|no|off)$/i;

const wrong = (says: string, advice: string): Reading => ({ ok: false, says, advice });
const right = (value: Value): Reading => ({ ok: true, value });

/**
 * Reads `given` as a value of `option`; undefined is a list or a section. What is wrong quotes `written`, as it stands
 * in the file before environment variables were put in, for a variable may hold a secret; and no secret itself.
 */
export function readValue(option: OptionSpec, given: string | undefined, written = given): Reading {
  if (given === undefined) return wrong("has to be a single value", adviceFor(option));
  const text = given.trim();
  if (text === "" && !(option.isSecret && given !== "")) return wrong("has no value", adviceFor(option));
  switch (option.type) {
    case "text":
    case "list":
      return right(given);
    case "name":
      return NAME.test(text)
        ? right(text)
        : wrong(`is not a name: ${quoted(option, written)}`, "Use letters, digits, _ and -, at most 32.");
    case "boolean":
      if (TRUE.test(text)) return right(true);
      return FALSE.test(text)
        ? right(false)
        : wrong(`is not true or false: ${quoted(option, written)}`, adviceFor(option));
    case "choice":
      return option.choices!.includes(text)
        ? right(text)
        : wrong(`is none of the choices: ${quoted(option, written)}`, adviceFor(option));
    case "integer":
      if (text === option.word) return right(text);
      return inRange(option, /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN, written);
    case "duration":
      return inRange(option, withUnit(text, DURATION_MS), written);
    case "size":
      return inRange(option, withUnit(text, SIZE_BYTES), written);
  }
}

/** What the option takes, as a sentence. */
export function adviceFor(option: OptionSpec): string {
  switch (option.type) {
    case "choice":
      return `Give one of ${option.choices!.join(", ")}.`;
    case "boolean":
      return "Give true or false.";
    case "integer":
      return `Give a whole number from ${option.min} to ${option.max}${option.word === undefined ? "" : `, or ${option.word}`}.`;
    case "duration":
      return `Give a duration from ${showDuration(option.min!)} to ${showDuration(option.max!)}, such as 250ms, 5s, 10min or 1h.`;
    case "size":
      return `Give a size from ${option.min} to ${option.max} bytes, such as 64kB or 16MB.`;
    case "list":
      return "Give names, with commas in between.";
    default:
      return "Give a text.";
  }
}

/** A duration in its largest whole unit. */
export function showDuration(ms: number): string {
  const units = Object.entries(DURATION_MS).reverse();
  const [unit, size] = units.find(([, length]) => ms % length === 0 && ms >= length) ?? ["ms", 1];
  return `${ms / size}${unit}`;
}

/** A size in its largest whole unit. */
export function showSize(bytes: number): string {
  const units = Object.entries(SIZE_BYTES)
    .filter(([unit]) => unit !== "KB")
    .reverse();
  const [unit, size] = units.find(([, length]) => bytes % length === 0 && bytes >= length) ?? ["B", 1];
  return unit === "B" ? String(bytes) : `${bytes / size}${unit}`;
}

function inRange(option: OptionSpec, value: number, written: string | undefined): Reading {
  if (Number.isNaN(value)) return wrong(`is not understood: ${quoted(option, written)}`, adviceFor(option));
  if (value < option.min! || value > option.max!)
    return wrong(`is out of range: ${quoted(option, written)}`, adviceFor(option));
  return right(Math.round(value));
}

function withUnit(text: string, units: Readonly<Record<string, number>>): number {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text);
  if (match === null) return Number.NaN;
  const unit = match[2] === "" ? 1 : units[match[2]!];
  return unit === undefined ? Number.NaN : Number(match[1]) * unit;
}

const quoted = (option: OptionSpec, written: string | undefined): string =>
  option.isSecret ? "(hidden)" : JSON.stringify(written);
