// Pure.
/** What the entries of a log add up to. */
import type { Gtrid } from "../../base/brands.ts";
import type { Lookup, Participant } from "../decisionLog.ts";
import type { Entry } from "./segment.ts";

export class LogState {
  /** Commits that are not concluded, oldest first. */
  readonly commits = new Map<Gtrid, readonly Participant[]>();
  /** The last epoch that was opened; 0 for an empty log. */
  epoch = 0;
  /** The first one; 0 for an empty log. */
  firstEpoch = 0;
  /** Decisions up to this epoch may be lost. */
  damagedUpToEpoch = 0;

  apply(entry: Entry): void {
    switch (entry.kind) {
      case "open":
        this.epoch = Math.max(this.epoch, entry.epoch);
        this.firstEpoch =
          this.firstEpoch === 0 ? entry.firstEpoch : Math.min(this.firstEpoch, entry.firstEpoch);
        return;
      case "damage":
        this.damagedUpToEpoch = Math.max(this.damagedUpToEpoch, entry.upToEpoch);
        return;
      case "commit":
        this.commits.set(entry.gtrid, entry.participants);
        return;
      case "concluded":
        this.commits.delete(entry.gtrid);
        return;
    }
  }

  lookup(gtrid: Gtrid, epoch: number): Lookup {
    if (this.commits.has(gtrid)) return "commit";
    return epoch < this.firstEpoch || epoch <= this.damagedUpToEpoch ? "unknowable" : "absent";
  }

  /** The entries a new segment begins with, so that it says all that the ones before it say. */
  snapshot(): Entry[] {
    const { epoch, firstEpoch, damagedUpToEpoch } = this;
    const entries: Entry[] = [{ kind: "open", epoch, firstEpoch }];
    if (damagedUpToEpoch > 0) entries.push({ kind: "damage", upToEpoch: damagedUpToEpoch });
    for (const [gtrid, participants] of this.commits) entries.push({ kind: "commit", gtrid, participants });
    return entries;
  }
}
