// Pure.
/** Which rule of an HBA file is for a client: the first that fits. */
import { agree, maskOf, parseAddress } from "./address.ts";
import type { AddressMatcher, DatabaseMatcher, HbaConnection, HbaRule, UserMatcher } from "./hbaRules.ts";
import { matchesName } from "./nameMatcher.ts";

/** A client as far as rules look at it. */
export interface Caller {
  readonly kind: "tcp" | "unix";
  /** Empty on a Unix socket. */
  readonly address: string;
  readonly hasTls: boolean;
  readonly user: string;
  readonly database: string;
}

/** An address of this machine, with the mask of its network. */
export interface OwnAddress {
  readonly address: string;
  readonly netmask: string;
}

/** The first of `rules` that fits; null if none does. `own` tells the machine's addresses. */
export function findRule(
  rules: readonly HbaRule[],
  caller: Caller,
  own: () => readonly OwnAddress[],
): HbaRule | null {
  const bytes = parseAddress(caller.address);
  const fits = ({ connection, databases, users, address }: HbaRule): boolean =>
    fitsConnection(connection, caller) &&
    (address === null || (bytes !== null && fitsAddress(address, bytes, own))) &&
    databases.some((matcher) => fitsDatabase(matcher, caller)) &&
    users.some((matcher) => fitsUser(matcher, caller.user));
  return rules.find(fits) ?? null;
}

function fitsConnection(connection: HbaConnection, { kind, hasTls }: Caller): boolean {
  if (kind === "unix" || connection === "local") return kind === "unix" && connection === "local";
  if (connection === "hostssl") return hasTls;
  return connection === "hostnossl" ? !hasTls : connection !== "hostgssenc";
}

function fitsDatabase(matcher: DatabaseMatcher, { database, user }: Caller): boolean {
  switch (matcher.kind) {
    case "all":
      return true;
    case "sameuser":
      return database === user;
    case "replication": // which pgxa has not
      return false;
    default:
      return matchesName(matcher, database);
  }
}

const fitsUser = (matcher: UserMatcher, user: string): boolean =>
  matcher.kind === "all" || matchesName(matcher, user);

function fitsAddress(matcher: AddressMatcher, bytes: Uint8Array, own: () => readonly OwnAddress[]): boolean {
  switch (matcher.kind) {
    case "all":
      return true;
    case "range":
      return agree(bytes, matcher.address, matcher.mask);
    case "samehost":
    case "samenet":
      return own().some(({ address, netmask }) => {
        const [mine, net] = [parseAddress(address), parseAddress(netmask)];
        const mask = matcher.kind === "samehost" ? maskOf(bytes.length * 8, bytes.length) : net;
        return mine !== null && mask !== null && agree(bytes, mine, mask);
      });
  }
}
