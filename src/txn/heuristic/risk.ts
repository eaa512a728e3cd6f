// Pure.
/** What an operator is told before a transaction is ended as they say: what stands where, and what may go wrong. */
import type { ShardId } from "../../base/brands.ts";
import type { Outcome } from "../decisionLog.ts";
import type { Ruling } from "./rulingTable.ts";
import type { TransactionCase } from "./transactionCase.ts";

export interface Remark {
  /** Null: about the transaction as a whole. */
  readonly shard: ShardId | null;
  readonly gid: string | null;
  readonly says: string;
}

const HARM: Readonly<Record<Outcome, string>> = {
  commit:
    "if it was rolled back on another shard, COMMIT leaves half of it; and its client may have been told that it failed",
  abort:
    "if it was committed on another shard, ROLLBACK loses half of it; and its client may have been told that it is committed",
};

const KNOWN: Readonly<Record<TransactionCase["knowledge"], string>> = {
  commit: "decided: commit",
  abort: "decided: abort",
  absent: "decided: nothing, which means abort",
  failed: "decided: not known before the next start",
  unknowable: "decided: nobody can say",
};

/** `ruling`: what `outcome` would be. */
export function remarksOn(
  found: TransactionCase,
  outcome: Outcome,
  ruling: Extract<Ruling, "apply" | "heuristic">,
): readonly Remark[] {
  const whole = (says: string): Remark => ({ shard: null, gid: null, says });
  const verb = outcome === "commit" ? "COMMIT" : "ROLLBACK";
  const meaning =
    ruling === "apply"
      ? `${verb} does what follows from that: no risk`
      : `${verb} is a guess, and recorded as one (heuristic)`;
  return [
    ...standing(found),
    whole(`${KNOWN[found.knowledge]}; ${found.source}`),
    whole(meaning),
    ...(ruling === "heuristic" ? risks(found, outcome).map((risk) => whole(`RISK: ${risk}`)) : []),
  ];
}

function standing({ standpoints }: TransactionCase): readonly Remark[] {
  return standpoints.map(({ control, branch, failure }) => {
    const gid = branch?.gid ?? null;
    if (failure !== null) return { shard: control.id, gid, says: `could not be asked: ${failure}` };
    const says =
      branch === null ? "nothing is prepared" : `prepared ${Math.floor(branch.ageMs / 1_000)} s ago`;
    return { shard: control.id, gid, says };
  });
}

function risks(found: TransactionCase, outcome: Outcome): readonly string[] {
  const { anchor, parts, standpoints } = found;
  const silent = standpoints
    .filter(({ failure }) => failure !== null)
    .map(({ control }) => `"${control.id}"`);
  const knows =
    anchor === null
      ? `coordinator "${parts.coordinator}" must not be at work on it any more, here or elsewhere`
      : `shard "${anchor}" knows; should it come back and say otherwise, the transaction is torn, which pgxa reports and cannot mend`;
  const names = found.visited.map((shard) => `"${shard}"`).join(", ");
  const visited = `another pgxa lives and is connected to ${names}: if that is coordinator "${parts.coordinator}", leave it to it`;
  const unasked = `what ${silent.join(", ")} has of it is not known`;
  return [
    HARM[outcome],
    knows,
    ...(names === "" ? [] : [visited]),
    ...(silent.length === 0 ? [] : [unasked]),
  ];
}
