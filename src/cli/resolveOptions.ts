/** The command line of `pgxa resolve`. */
import { parseArgs } from "node:util";
import type { ResolveRequest } from "../admin/operations.ts";

export interface ResolveOptions {
  readonly gtrid: string;
  readonly outcome: ResolveRequest["outcome"];
  readonly file: string;
  /** Whether nobody is asked. */
  readonly isSure: boolean;
  readonly reason: string;
  /** Of the console; undefined: the first who may administer. */
  readonly user: string | undefined;
}

export type ReadOptions =
  | { readonly kind: "run"; readonly options: ResolveOptions }
  | { readonly kind: "help" }
  | { readonly kind: "wrong"; readonly says: string };

const OUTCOMES: Readonly<Record<string, ResolveRequest["outcome"]>> = { commit: "commit", rollback: "abort" };

const OPTIONS = {
  config: { type: "string", short: "c" },
  reason: { type: "string" },
  user: { type: "string", short: "U" },
  yes: { type: "boolean", short: "y" },
  help: { type: "boolean", short: "h" },
} as const;

export function readResolveOptions(args: readonly string[]): ReadOptions {
  const wrong = (says: string): ReadOptions => ({
    kind: "wrong",
    says: `pgxa resolve: ${says} See pgxa resolve --help.`,
  });
  try {
    const { values, positionals } = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
    if (values.help === true) return { kind: "help" };
    const [gtrid, verb, ...more] = positionals;
    if (gtrid === undefined)
      return wrong("say which transaction; SHOW IN_DOUBT on the console has the names.");
    const outcome = OUTCOMES[verb ?? ""];
    if (outcome === undefined) return wrong("say commit or rollback behind the transaction's name.");
    if (more.length > 0) return wrong(`"${more[0]}" is one word too many.`);
    if (values.config === undefined) return wrong("it needs --config FILE.");
    const { config: file, yes: isSure = false, reason = "", user } = values;
    return { kind: "run", options: { gtrid, outcome, file, isSure, reason, user } };
  } catch (error) {
    return wrong(`${(error as Error).message.split(". ")[0]}.`);
  }
}
