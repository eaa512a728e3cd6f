// Pure.
/**
 * Who blocks whom, worked out from one look at pg_locks.
 *
 * pg_blocking_pids() is exact and dear: for each waiter it goes through all pairs of those before it, which for some
 * hundred waiters of one row is seconds. What is worked out here takes one pass. Holders are exact; those before a
 * waiter in the queue are told by when they began to wait, which is the queue's order but where Postgres lets somebody
 * in ahead. So this says where to look; before anything is done about it the few it is about are asked for exactly.
 */

/** A granted or awaited lock. */
export interface HeldLock {
  /** Process of the session it is for, the leader's for a parallel worker; null for a prepared transaction. */
  readonly pid: number | null;
  readonly mode: string;
  readonly isGranted: boolean;
  /** As text that sorts by time; null for a moment after the wait began. */
  readonly waitStart: string | null;
}

/** https://www.postgresql.org/docs/current/explicit-locking.html, tables 13.2: which modes conflict. */
const CONFLICTS: Readonly<Record<string, readonly string[]>> = conflicts({
  AccessShareLock: ["AccessExclusiveLock"],
  RowShareLock: ["ExclusiveLock", "AccessExclusiveLock"],
  RowExclusiveLock: ["ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"],
  ShareUpdateExclusiveLock: [
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
  ],
  ShareLock: ["ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"],
  ShareRowExclusiveLock: ["ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"],
  ExclusiveLock: ["ExclusiveLock", "AccessExclusiveLock"],
  AccessExclusiveLock: ["AccessExclusiveLock"],
});

/**
 * For each of `locks`, which are all on the same thing, the processes it waits for if it is awaited; 0 stands for
 * prepared transactions.
 *
 * Of those before it that wait in a mode that conflicts with itself only the last is named: that one waits for the one
 * before, and so on. So a long queue costs its length, not its square.
 */
export function workOutBlockers<Lock extends HeldLock>(
  locks: readonly Lock[],
): ReadonlyMap<Lock, readonly number[]> {
  const holders = locks.filter(({ isGranted }) => isGranted);
  const queue = locks.filter(({ isGranted }) => !isGranted).sort(byWaitStart);
  /** By mode, those before that have to be named. */
  const before = new Map<string, Set<number>>();
  const blockers = new Map<Lock, readonly number[]>();
  for (const waiter of queue) {
    const found = new Set<number>();
    for (const mode of CONFLICTS[waiter.mode] ?? []) {
      for (const { pid, mode: held } of holders) if (held === mode && pid !== waiter.pid) found.add(pid ?? 0);
      for (const pid of before.get(mode) ?? []) if (pid !== waiter.pid) found.add(pid);
    }
    blockers.set(waiter, [...found]);
    noteWaiter(before, waiter);
  }
  return blockers;
}

function noteWaiter(before: Map<string, Set<number>>, { pid, mode }: HeldLock): void {
  if (pid === null) return; // what is prepared waits for nothing
  const known = before.get(mode);
  if (known === undefined || CONFLICTS[mode]?.includes(mode) === true) before.set(mode, new Set([pid]));
  else known.add(pid);
}

/** Who has only just begun to wait, so that it is not told since when, comes last. */
function byWaitStart(one: HeldLock, other: HeldLock): number {
  if (one.waitStart === other.waitStart) return 0;
  if (one.waitStart === null) return 1;
  return other.waitStart === null || one.waitStart < other.waitStart ? -1 : 1;
}

function conflicts(
  half: Readonly<Record<string, readonly string[]>>,
): Readonly<Record<string, readonly string[]>> {
  const modes = Object.keys(half);
  return Object.fromEntries(
    modes.map((mode) => [
      mode,
      modes.filter((other) => half[mode]!.includes(other) || half[other]!.includes(mode)),
    ]),
  );
}
