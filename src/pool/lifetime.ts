// Pure.
/** How old a server connection may get. */

/** By how much of its lifetime a connection may end earlier, so that those made at once do not end at once. */
const LIFETIME_JITTER = 0.1;

/** Of one made at `createdAtMs` with the process id `pid`, which says how much earlier than others it ends. */
export function isTooOld(
  { createdAtMs, pid }: { readonly createdAtMs: number; readonly pid: number },
  nowMs: number,
  lifetimeMs: number,
): boolean {
  const age = nowMs - createdAtMs;
  if (age < lifetimeMs * (1 - LIFETIME_JITTER)) return false;
  const spread = (Math.imul(pid, 0x9e37_79b1) >>> 0) / 0x1_0000_0000;
  return age >= lifetimeMs * (1 - LIFETIME_JITTER * spread);
}
