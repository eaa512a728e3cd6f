// Pure.
/**
 * How long to pause before the next trial: exponential backoff with full jitter, so that many who lost the same server
 * at the same moment do not come back at the same moment.
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export interface BackoffLimits {
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
}

/** 2 to this power times the shortest pause is longer than any limit. */
const DOUBLINGS_MAX = 40;

/** `failures` so far, from 1; `fraction` in [0, 1). In ms, between the two limits, both included. */
export function pauseMs(failures: number, limits: BackoffLimits, fraction: number): number {
  const { backoffMinMs, backoffMaxMs } = limits;
  const longest = Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(Math.max(failures, 0), DOUBLINGS_MAX));
  return backoffMinMs + fraction * (longest - backoffMinMs);
}
