// Pure.
/**
 * The maps of an ident file: which users a name of the operating system, or of a certificate, may log in as.
 * https://www.postgresql.org/docs/current/auth-username-maps.html
 */
import { isShort, matchesName, type NameMatcher, nameMatcher } from "./nameMatcher.ts";
import type { FileProblem, RuleLine } from "./ruleFile.ts";

export interface IdentRule {
  readonly map: string;
  readonly system: NameMatcher;
  /** `name` may have a `\1`, for what the first group of the system's expression has found. */
  readonly user: NameMatcher | { readonly kind: "all" };
}

export interface IdentRules {
  readonly rules: readonly IdentRule[];
  readonly problems: readonly FileProblem[];
}

/** The rules of `lines`. */
export function readIdentRules(lines: readonly RuleLine[]): IdentRules {
  const problems: FileProblem[] = [];
  const rules = lines.flatMap((line) => {
    const rule = identRule(line);
    if (typeof rule !== "string") return [rule];
    problems.push({ file: line.file, line: line.line, says: rule });
    return [];
  });
  return { rules, problems };
}

function identRule({ fields }: RuleLine): IdentRule | string {
  if (fields.length < 3) return "missing entry at end of line: MAPNAME SYSTEM-USERNAME PG-USERNAME";
  if (fields.length > 3 || fields.some((field) => field.length !== 1))
    return "has more than MAPNAME SYSTEM-USERNAME PG-USERNAME";
  const [map, system, user] = fields.map((field) => field[0]!);
  const systemMatcher = nameMatcher(system!);
  if (typeof systemMatcher === "string") return systemMatcher;
  if (!user!.isQuoted && user!.text === "all")
    return { map: map!.text, system: systemMatcher, user: { kind: "all" } };
  if (!user!.isQuoted && user!.text.startsWith("+"))
    return `"${user!.text}" is not supported: pgxa does not know who is a member of a role`;
  const userMatcher = nameMatcher(user!);
  if (typeof userMatcher === "string") return userMatcher;
  if (user!.text.includes("\\1") && !hasGroup(systemMatcher))
    return `"${user!.text}" has a \\1, and "${system!.text}" no group to fill it`;
  return { map: map!.text, system: systemMatcher, user: userMatcher };
}

const hasGroup = (matcher: NameMatcher): boolean =>
  matcher.kind === "regex" && new RegExp(`${matcher.regex.source}|`, "u").exec("")!.length > 1;

/** Whether who is `system` to the operating system, or in a certificate, may be `user`. Without a map: only if they are the same. */
export function mayBe(
  rules: readonly IdentRule[],
  map: string | null,
  system: string,
  user: string,
): boolean {
  if (map === null) return system === user;
  return rules.some((rule) => rule.map === map && fits(rule, system, user));
}

function fits({ system, user: wanted }: IdentRule, name: string, user: string): boolean {
  if (!matchesName(system, name)) return false;
  if (wanted.kind === "all") return true;
  if (wanted.kind === "name" && system.kind === "regex" && wanted.name.includes("\\1")) {
    const found = isShort(name) ? system.regex.exec(name)?.[1] : undefined;
    return found !== undefined && wanted.name.replace("\\1", () => found) === user;
  }
  return matchesName(wanted, user);
}
