// Pure.
/**
 * Which of a coordinator's processes settles what a transaction left behind: a total table.
 *
 * Usually there is one process. With workers, and during an online restart, there are two or more, each with a decision
 * log of its own; every epoch was given to one of them. One of the processes is *responsible*: it settles what those that are gone left,
 * once it has taken over their logs. The others are its heirs, and settle only their own transactions until they are
 * responsible themselves. So for every epoch there is at most one process that acts, and it is one that knows all
 * decisions of that epoch.
 */

export type Role = "responsible" | "heir";

/** An epoch, seen from one process. */
export type EpochKind =
  /** This process's own. */
  | "own"
  /** Not above the latest that its logs tell of. */
  | "known"
  /** Above that: somebody started whom it knows nothing about. */
  | "later";

/** Whether the process of that epoch lives, or a log of it could not be taken over. */
export type Holder = "living" | "gone";

export type Answer = "ours" | "elsewhere";

const ELSEWHERE: Readonly<Record<Holder, Answer>> = { living: "elsewhere", gone: "elsewhere" };
const OURS: Readonly<Record<Holder, Answer>> = { living: "ours", gone: "ours" };

export const RESPONSIBILITY_TABLE: Readonly<
  Record<Role, Readonly<Record<EpochKind, Readonly<Record<Holder, Answer>>>>>
> = {
  responsible: {
    own: OURS,
    known: { living: "elsewhere", gone: "ours" },
    later: ELSEWHERE,
  },
  heir: { own: OURS, known: ELSEWHERE, later: ELSEWHERE },
};

/** Epochs as one process sees them. */
export interface Epochs {
  readonly role: Role;
  readonly own: number;
  /** The greatest that its logs tell of. */
  readonly latest: number;
  /** Those of other processes that live. */
  readonly living: ReadonlySet<number>;
}

/** Whether what transactions of `epoch` left is for this process to settle. */
export function answersFor(epoch: number, { role, own, latest, living }: Epochs): boolean {
  const kind: EpochKind = epoch === own ? "own" : epoch <= latest ? "known" : "later";
  return RESPONSIBILITY_TABLE[role][kind][living.has(epoch) ? "living" : "gone"] === "ours";
}
