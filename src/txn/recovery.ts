// Pure.
/**
 * What becomes of a prepared transaction that somebody left behind: a total table over the facts.
 *
 * Facts are gathered in one order only: what is prepared, what is running here, the decisions, what is prepared
 * again. A branch seen prepared before its transaction was seen not to be running, and still prepared after its
 * decision was read, is really left behind; in any other order a commit in progress could be taken for a dead one.
 *
 * Presumed abort: no decision means abort, but only for a transaction of this coordinator, of an epoch for which this
 * process answers and that the log knows all about. Of anybody else's no decision means nothing.
 */

/** Whose transaction it is, going by its gid. */
export type Owner =
  /** This coordinator's, and this process answers for its epoch (responsibility.ts). */
  | "ours"
  /** Of this fleet, but another coordinator decides it, or another process of this one. */
  | "fleet"
  /** Not of this fleet, or not of this database. */
  | "foreign";

/** Whether this process is working on it now. */
export type Activity = "running" | "idle";

/** What the decision log says. */
export type Verdict = "commit" | "abort" | "absent" | "unknowable";

/** Whether both readings of `pg_prepared_xacts` had it. */
export type Sighting = "twice" | "once";

export interface Facts {
  readonly owner: Owner;
  readonly activity: Activity;
  readonly verdict: Verdict;
  readonly sighting: Sighting;
}

export type Action =
  | "commitPrepared"
  | "rollbackPrepared"
  /** Somebody else sees to it, or it is not known yet whether anything is to be done. */
  | "leave"
  /** Nobody can tell: shown to the operator, touched by nobody. */
  | "report";

const LEAVE: Readonly<Record<Verdict, Action>> = {
  commit: "leave",
  abort: "leave",
  absent: "leave",
  unknowable: "leave",
};

/** For what was seen in both readings. */
export const RECOVERY_TABLE: Readonly<
  Record<Owner, Readonly<Record<Activity, Readonly<Record<Verdict, Action>>>>>
> = {
  ours: {
    running: LEAVE,
    idle: {
      commit: "commitPrepared",
      abort: "rollbackPrepared",
      absent: "rollbackPrepared",
      unknowable: "report",
    },
  },
  fleet: { running: LEAVE, idle: LEAVE },
  foreign: { running: LEAVE, idle: LEAVE },
};

export function actionFor({ owner, activity, verdict, sighting }: Facts): Action {
  return sighting === "once" ? "leave" : RECOVERY_TABLE[owner][activity][verdict];
}

/** What a shard says about a branch of a decided commit that is not prepared there any more. */
export type Evidence =
  /** `pg_xact_status` of the xid noted at PREPARE, on the server that prepared it. */
  | "committed"
  | "aborted"
  /** The transaction runs: a COMMIT PREPARED is on its way. */
  | "in progress"
  /** The branch wrote nothing. */
  | "nothing written"
  /** Too old to be known. */
  | "forgotten"
  /** Another server answers for the shard: a failover, perhaps without the PREPARE. */
  | "other server";

export type Settlement = "done" | "wait" | "lost";

/** Missing is not the same as committed: only the shard's own record of the xid is proof. */
export const EVIDENCE_TABLE: Readonly<Record<Evidence, Settlement>> = {
  committed: "done",
  "nothing written": "done",
  "in progress": "wait",
  aborted: "lost",
  forgotten: "lost",
  "other server": "lost",
};
