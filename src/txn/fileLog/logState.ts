// Pure.
/** What the entries of a log add up to. */
import type { Gtrid } from "../../base/brands.ts";
import type { Lookup, Participant } from "../decisionLog.ts";
import { EpochSet } from "./epochSet.ts";
import type { Entry } from "./segment.ts";

export class LogState {
  /** Commits that are not concluded, oldest first. */
  readonly commits = new Map<Gtrid, readonly Participant[]>();
  /** The last epoch that was opened; 0 for an empty log. */
  epoch = 0;
  /** The epochs all of whose commits are here, but for gaps. */
  readonly known = new EpochSet();
  /** Of an epoch, the greatest number of a transaction whose commit may be lost to damage. */
  readonly gaps = new Map<number, number>();

  apply(entry: Entry): void {
    switch (entry.kind) {
      case "open":
        this.epoch = Math.max(this.epoch, entry.epoch);
        for (const [from, to] of entry.known) this.known.add(from, to);
        for (const [epoch, upToSeq] of entry.gaps) this.addGap(epoch, upToSeq);
        return;
      case "commit":
        this.commits.set(entry.gtrid, entry.participants);
        return;
      case "concluded":
        this.commits.delete(entry.gtrid);
        return;
      case "reached":
      case "begun":
      case "sealed":
        return;
    }
  }

  addGap(epoch: number, upToSeq: number): void {
    this.gaps.set(epoch, Math.max(upToSeq, this.gaps.get(epoch) ?? 0));
  }

  lookup(gtrid: Gtrid, epoch: number): Lookup {
    if (this.commits.has(gtrid)) return "commit";
    if (!this.known.has(epoch)) return "unknowable";
    const gap = this.gaps.get(epoch);
    return gap !== undefined && !(seqOf(gtrid) > gap) ? "unknowable" : "absent";
  }

  /** What says all but the commits. */
  opening(): Extract<Entry, { kind: "open" }> {
    return { kind: "open", epoch: this.epoch, known: this.known.ranges, gaps: [...this.gaps] };
  }
}

/** The number of a transaction within its epoch; NaN if its name has none. */
export const seqOf = (gtrid: Gtrid): number => Number.parseInt(gtrid.slice(gtrid.lastIndexOf(":") + 1), 36);
