// Pure.
/**
 * Dividing a number among those who need some of it: who needs little gets that, and the others get the same each, but for a
 * remainder of one each that goes to the first of them.
 */

/** In the order of `needs`; the sum is that of the needs, or `total` if they are more. */
export function divideFairly(needs: readonly number[], total: number): readonly number[] {
  const ascending = needs.toSorted((a, b) => a - b);
  let left = Math.max(0, total);
  let level = 0;
  let remainder = 0;
  for (const [i, need] of ascending.entries()) {
    const others = ascending.length - i;
    if (need * others <= left) {
      left -= need;
      level = need;
      continue;
    }
    // The rest cannot all have what this one needs.
    level = Math.floor(left / others);
    remainder = left % others;
    break;
  }
  return needs.map((need) => {
    if (need <= level) return need;
    if (remainder === 0) return level;
    remainder -= 1;
    return level + 1;
  });
}
