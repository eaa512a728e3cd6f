// Pure.
/**
 * What a reload may change while pgxa runs, and what has to wait for a restart.
 *
 * The result is a whole configuration again: every live option as the file has it now, every other as it was at the
 * start. Nobody sees a mixture of the two that no file has said, except where the file asks for more than a reload can do,
 * and that is told.
 */

import { LISTS, namesUnder, OPTIONS, optionAt, SECTIONS } from "./options.ts";
import type { RawConfig, Section } from "./reader.ts";
import type { Value } from "./values.ts";

export interface Reload {
  /** What applies from now on. */
  readonly raw: RawConfig;
  /** The paths of options that the file has changed and that apply now; lists as a whole. */
  readonly applied: readonly string[];
  /** The same for those that take a restart. */
  readonly waiting: readonly string[];
}

/** `running` applies, `file` is what the file says now; both must be without problems. */
export function reload(running: RawConfig, file: RawConfig): Reload {
  const applied: string[] = [];
  const waiting: string[] = [];
  const choose = (prefix: string, before: Section, now: Section): Section =>
    new Map(
      namesUnder(prefix).flatMap((name): [string, Value][] => {
        const path = prefix + name;
        const [old, wanted] = [before.get(name), now.get(name)];
        const isLive = optionAt(path)?.isLive === true;
        if (old !== wanted) (isLive ? applied : waiting).push(path);
        const value = isLive ? wanted : old;
        return value === undefined ? [] : [[name, value]];
      }),
    );
  const chooseList = (name: string): readonly Section[] => {
    const [before, now] = [running.lists.get(name) ?? [], file.lists.get(name) ?? []];
    if (isSameList(before, now, () => true)) return before;
    const isLive = mayChange(name, before, now);
    (isLive ? applied : waiting).push(name);
    return isLive ? now : before;
  };
  const sections = SECTIONS.map((name): [string, Section] => {
    const [before, now] = [running.sections.get(name) ?? new Map(), file.sections.get(name) ?? new Map()];
    return [name, choose(`${name}.`, before, now)];
  });
  const raw: RawConfig = {
    root: choose("", running.root, file.root),
    sections: new Map(sections),
    lists: new Map(LISTS.map((name) => [name, chooseList(name)])),
  };
  return { raw, applied, waiting };
}

/** Entries may come and go if all their options are live; else only the options that are may differ. */
function mayChange(list: string, before: readonly Section[], now: readonly Section[]): boolean {
  const options = OPTIONS.filter(({ path }) => path.startsWith(`${list}[].`));
  if (options.every(({ isLive }) => isLive)) return true;
  return isSameList(before, now, (name) => optionAt(`${list}[].${name}`)?.isLive !== true);
}

function isSameList(
  before: readonly Section[],
  now: readonly Section[],
  counts: (name: string) => boolean,
): boolean {
  if (before.length !== now.length) return false;
  return before.every((entry, i) => {
    const other = now[i]!;
    return [...new Set([...entry.keys(), ...other.keys()])].every(
      (name) => !counts(name) || entry.get(name) === other.get(name),
    );
  });
}
