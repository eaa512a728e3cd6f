// Pure.
/** Short numbers for long texts, to tell states apart: cyrb53, https://github.com/bryc/code/blob/master/jshash/experimental/cyrb53.js */

/** 53 bits of `text`, beginning from `seed`. */
export function hash(text: string, seed = 0): number {
  let a = 0xdead_beef ^ seed;
  let b = 0x41c6_ce57 ^ (seed / 2 ** 32);
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 2_654_435_761);
    b = Math.imul(b ^ code, 1_597_334_677);
  }
  a = Math.imul(a ^ (a >>> 16), 2_246_822_507) ^ Math.imul(b ^ (b >>> 13), 3_266_489_909);
  b = Math.imul(b ^ (b >>> 16), 2_246_822_507) ^ Math.imul(a ^ (a >>> 13), 3_266_489_909);
  return 2 ** 32 * (2_097_151 & b) + (a >>> 0);
}
