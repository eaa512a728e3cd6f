// Pure.
/**
 * IP addresses as rules see them: 4 or 16 bytes. An IPv4 address that comes in IPv6's clothes (`::ffff:a.b.c.d`, as on
 * a socket that listens to both) is the IPv4 address that it stands for.
 */

/** The bytes of `text`; null if it is no address. */
export function parseAddress(text: string): Uint8Array | null {
  const bytes = text.includes(":") ? parseV6(text) : parseV4(text);
  return bytes !== null && isMapped(bytes) ? bytes.subarray(12) : bytes;
}

function parseV4(text: string): Uint8Array | null {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return null;
  return Uint8Array.from(parts, Number);
}

function parseV6(text: string): Uint8Array | null {
  const bare = text.replace(/%[\w.-]+$/, ""); // the interface of a link-local one
  const halves = bare.split("::");
  if (halves.length > 2) return null;
  const [head, tail] = [groups(halves[0]!), groups(halves[1] ?? "")];
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const all = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 255]));
}

/** The 16-bit groups of one side of `::`; an IPv4 address at the end is two. */
function groups(side: string): number[] | null {
  if (side === "") return [];
  const all: number[] = [];
  const parts = side.split(":");
  for (const [i, part] of parts.entries()) {
    const v4 = i === parts.length - 1 && part.includes(".") ? parseV4(part) : null;
    if (v4 !== null) all.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
    else if (/^[0-9a-f]{1,4}$/i.test(part)) all.push(Number.parseInt(part, 16));
    else return null;
  }
  return all;
}

const isMapped = (bytes: Uint8Array): boolean =>
  bytes.length === 16 && bytes.every((byte, i) => i > 11 || byte === (i < 10 ? 0 : 255));

/** Whether two addresses of one family agree wherever `mask` has a one. */
export const agree = (a: Uint8Array, b: Uint8Array, mask: Uint8Array): boolean =>
  a.length === b.length &&
  a.length === mask.length &&
  a.every((byte, i) => ((byte ^ b[i]!) & mask[i]!) === 0);

/** The mask of so many leading ones. */
export const maskOf = (bits: number, byteCount: number): Uint8Array =>
  Uint8Array.from({ length: byteCount }, (_, i) => 255 & ~(255 >> Math.min(8, Math.max(0, bits - 8 * i))));

export const isLoopback = (address: string): boolean => {
  const bytes = parseAddress(address);
  if (bytes === null) return false;
  return bytes.length === 4 ? bytes[0] === 127 : bytes.every((byte, i) => byte === (i === 15 ? 1 : 0));
};

/**
 * By which the address of a connection, as the system has it, is counted: itself, or of IPv6 the /64, which is the least that a subscriber has. Empty, as on a
 * Unix socket, it is one for all.
 */
export function originOf(address: string): string {
  if (!address.includes(":")) return address;
  const bytes = parseAddress(address);
  if (bytes === null || bytes.length === 4) return bytes === null ? address : bytes.join(".");
  return Buffer.from(bytes.subarray(0, 8)).toString("hex");
}
