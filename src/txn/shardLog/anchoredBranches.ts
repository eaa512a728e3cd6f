/**
 * Finishes prepared branches whose gid names an anchor, whoever prepared them.
 *
 * The branches of one sweep are taken together by anchor: what is decided there, and who is alive there, is read once.
 * An anchor that does not answer holds up nobody else: what waits for it is left to go on by itself, and nothing more is
 * begun for the same two shards until it has ended.
 */
import type { Gtrid, ShardId } from "../../base/brands.ts";
import type { Clock } from "../../base/environment.ts";
import type { Log } from "../../observe/log.ts";
import type { Outcome } from "../decisionLog.ts";
import { type GidParts, gtrid, parseGid } from "../gid.ts";
import type { Finish, PreparedBranch, ShardControl } from "../shardControl.ts";
import { ANCHORED_TABLE, type AnchoredAction, type AnchoredOwner } from "./anchoredTable.ts";
import { decideOn, readDecisions } from "./decisionTable.ts";
import { READ_LIVING } from "./schema.ts";

export interface AnchoredBranchesOptions {
  readonly fleet: string;
  readonly coordinator: string;
  readonly controls: readonly ShardControl[];
  readonly clock: Clock;
  readonly log: Log;
  readonly leaseMs: number;
  /** How long an owner that is alive may take to tell a shard what was decided. */
  readonly commitTimeoutMs: number;
  /** This process's epoch; 0 if it decides nothing on shards. */
  epoch(): number;
  isRunning(transaction: Gtrid): boolean;
  onResolved(transaction: Gtrid, shard: ShardId, outcome: Outcome): void;
}

/** A branch that is left as it is, and why. */
export interface AnchoredDoubt {
  readonly gid: string;
  readonly shard: ShardId;
  readonly preparedAtMs: number;
  readonly xminAge: number;
  readonly reason: string;
}

export interface AnchoredLook {
  /** Whether all that can be done was done. */
  readonly isDone: boolean;
  readonly inDoubt: readonly AnchoredDoubt[];
}

interface Anchored {
  readonly branch: PreparedBranch;
  readonly parts: GidParts;
  readonly transaction: Gtrid;
}

const LOOK_MS_MAX = 1_000;

export class AnchoredBranches {
  readonly #options: AnchoredBranchesOptions;
  /** Pairs of shard and anchor that are looked at. */
  readonly #busy = new Set<string>();

  constructor(options: AnchoredBranchesOptions) {
    this.#options = options;
  }

  /** Those of `branches`, just read, that nobody in this process works on. */
  left(branches: readonly PreparedBranch[]): readonly PreparedBranch[] {
    return branches.filter(({ gid }) => {
      const parts = parseGid(gid);
      return parts !== null && parts.anchor !== null && !this.#options.isRunning(gtrid(parts));
    });
  }

  /** `branches` were left, and are still prepared on the shard of `control` by a second reading. */
  async look(control: ShardControl, branches: readonly PreparedBranch[]): Promise<AnchoredLook> {
    const groups = this.#byAnchor(branches);
    const looks = [...groups].map(([anchor, group]) => this.#lookAtOne(control, anchor, group));
    const all = await Promise.all(looks);
    return {
      isDone: all.every(({ isDone }) => isDone),
      inDoubt: all.flatMap(({ inDoubt }) => inDoubt),
    };
  }

  #byAnchor(branches: readonly PreparedBranch[]): ReadonlyMap<ShardId, readonly Anchored[]> {
    const groups = new Map<ShardId, Anchored[]>();
    for (const branch of branches) {
      const parts = parseGid(branch.gid);
      if (parts === null || parts.anchor === null || parts.fleet !== this.#options.fleet) continue;
      const transaction = gtrid(parts);
      const group = groups.get(parts.anchor);
      const one = { branch, parts, transaction };
      if (group === undefined) groups.set(parts.anchor, [one]);
      else group.push(one);
    }
    return groups;
  }

  /** Ends in time whatever the anchor does. */
  async #lookAtOne(
    control: ShardControl,
    anchor: ShardId,
    group: readonly Anchored[],
  ): Promise<AnchoredLook> {
    const doubtAll = (reason: string): AnchoredLook => ({
      isDone: false,
      inDoubt: group.map((one) => doubt(control, one, reason)),
    });
    const decider = this.#options.controls.find(({ id }) => id === anchor);
    if (decider === undefined)
      return { ...doubtAll(`it was decided on shard "${anchor}", which is not configured`), isDone: true };
    const pair = `${control.id}/${anchor}`;
    const isSilent = `shard "${anchor}", which has the decision, does not answer`;
    if (this.#busy.has(pair)) return doubtAll(isSilent);
    this.#busy.add(pair);
    const look = this.#settle(control, decider, group)
      .catch((error: Error) => doubtAll(`shard "${anchor}", which has the decision: ${error.message}`))
      .finally(() => this.#busy.delete(pair));
    return this.#within(look, () => doubtAll(isSilent));
  }

  #within(look: Promise<AnchoredLook>, late: () => AnchoredLook): Promise<AnchoredLook> {
    return new Promise((resolve, reject) => {
      const timer = this.#options.clock.after(LOOK_MS_MAX, () => resolve(late()));
      look.then(resolve, reject).finally(() => timer.cancel());
    });
  }

  async #settle(
    control: ShardControl,
    decider: ShardControl,
    group: readonly Anchored[],
  ): Promise<AnchoredLook> {
    const { fleet } = this.#options;
    // Who is alive before what is decided: an owner that decides and dies in between is found to be dead later.
    const rows = await decider.ask(READ_LIVING, [fleet]);
    const living = new Set(rows.map((row) => `${row["coordinator"]}:${row["epoch"]}`));
    const decisions = await readDecisions(
      decider,
      group.map(({ transaction }) => transaction),
    );
    let isDone = true;
    const inDoubt: AnchoredDoubt[] = [];
    for (const one of group) {
      const owner = this.#ownerOf(one.parts, living);
      const ageMs = owner === "alive" ? this.#options.commitTimeoutMs : this.#options.leaseMs;
      const age = one.branch.ageMs < ageMs ? "young" : "old";
      const action = ANCHORED_TABLE[owner][age][decisions.get(one.transaction) ?? "absent"];
      if (action === "leave") continue;
      const reason = action === "wait" ? null : await this.#perform(action, control, decider, one);
      isDone &&= reason === null && action !== "wait";
      if (reason !== null) inDoubt.push(doubt(control, one, reason));
    }
    return { isDone, inDoubt };
  }

  #ownerOf({ coordinator, epoch }: GidParts, living: ReadonlySet<string>): AnchoredOwner {
    if (coordinator === this.#options.coordinator && epoch === this.#options.epoch()) return "self";
    return living.has(`${coordinator}:${epoch}`) ? "alive" : "dead";
  }

  /** Why it is not finished; null if it is. One that cannot be holds up none behind it. */
  async #perform(
    action: Exclude<AnchoredAction, "leave" | "wait">,
    control: ShardControl,
    decider: ShardControl,
    one: Anchored,
  ): Promise<string | null> {
    try {
      if (action === "commitPrepared") return await this.#finish(control, one, "commit");
      if (action === "rollbackPrepared") return await this.#finish(control, one, "abort");
      return await this.#finish(control, one, await decideOn(decider, one.transaction, "abort", []));
    } catch (error) {
      return (error as Error).message;
    }
  }

  /** Why it is not finished; null if it is. */
  async #finish(
    control: ShardControl,
    { branch, transaction }: Anchored,
    outcome: Outcome,
  ): Promise<string | null> {
    const verb = outcome === "commit" ? "COMMIT" : "ROLLBACK";
    const finish: Finish = await control.finish(verb, branch.gid);
    switch (finish.kind) {
      case "busy":
        return "somebody else is finishing it";
      case "refused":
        return `${verb} PREPARED was refused: ${finish.reason}`;
      case "missing":
        return null; // somebody else has finished it
      case "done":
        this.#options.onResolved(transaction, control.id, outcome);
        this.#options.log.info("resolver.resolved", { shard: control.id, gid: branch.gid, outcome });
        return null;
    }
  }
}

const doubt = (control: ShardControl, { branch }: Anchored, reason: string): AnchoredDoubt => ({
  gid: branch.gid,
  shard: control.id,
  preparedAtMs: branch.preparedAtMs,
  xminAge: branch.xminAge,
  reason,
});
