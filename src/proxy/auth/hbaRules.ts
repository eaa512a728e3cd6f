// Pure.
/**
 * The rules of an HBA file: from lines to what they mean. The first rule that fits a client decides how it proves who it
 * is (hbaMatch.ts), whether it can or not; so a line that is not understood makes the whole file useless, and everything
 * wrong with it is said at once.
 *
 * What PostgreSQL's file has and pgxa refuses: groups (`samerole`, `+name`), since pgxa does not know who is a member of
 * what; host names, whose owner a name server decides; and methods of other services (ldap, radius, pam, gss, …).
 * https://www.postgresql.org/docs/current/auth-pg-hba-conf.html
 */
import { maskOf, parseAddress } from "./address.ts";
import { type NameMatcher, nameMatcher } from "./nameMatcher.ts";
import type { Field, FileProblem, RuleLine, Word } from "./ruleFile.ts";

export type HbaMethod = "scram-sha-256" | "md5" | "password" | "cert" | "peer" | "trust" | "reject";

export type HbaConnection = "local" | "host" | "hostssl" | "hostnossl" | "hostgssenc" | "hostnogssenc";

export type DatabaseMatcher = NameMatcher | { readonly kind: "all" | "sameuser" | "replication" };
export type UserMatcher = NameMatcher | { readonly kind: "all" };
export type AddressMatcher =
  | { readonly kind: "all" | "samehost" | "samenet" }
  | { readonly kind: "range"; readonly address: Uint8Array; readonly mask: Uint8Array };

/** How a client proves who it is. */
export interface LoginRule {
  readonly method: HbaMethod;
  /** Of the names of certificates and of the operating system to users; null: they are the same. */
  readonly map: string | null;
  /** Whether it has to show a certificate besides; `verify-full`: one that bears the user's name. */
  readonly clientCertificate: "verify-ca" | "verify-full" | null;
}

export interface HbaRule extends LoginRule {
  readonly file: string;
  readonly line: number;
  readonly connection: HbaConnection;
  readonly databases: readonly DatabaseMatcher[];
  readonly users: readonly UserMatcher[];
  /** Null for `local`. */
  readonly address: AddressMatcher | null;
}

export interface HbaRules {
  readonly rules: readonly HbaRule[];
  readonly problems: readonly FileProblem[];
}

const CONNECTIONS: ReadonlySet<string> = new Set([
  "local",
  "host",
  "hostssl",
  "hostnossl",
  "hostgssenc",
  "hostnogssenc",
]);
const METHODS: ReadonlySet<string> = new Set([
  "scram-sha-256",
  "md5",
  "password",
  "cert",
  "peer",
  "trust",
  "reject",
]);
const FOREIGN: ReadonlySet<string> = new Set([
  "gss",
  "sspi",
  "ident",
  "ldap",
  "radius",
  "pam",
  "bsd",
  "oauth",
]);

/** The rules of `lines`, in their order. */
export function readHbaRules(lines: readonly RuleLine[]): HbaRules {
  const problems: FileProblem[] = [];
  const rules = lines.flatMap((line) => {
    const parser = new LineParser(line);
    const rule = parser.rule();
    for (const says of parser.wrong) problems.push({ file: line.file, line: line.line, says });
    return rule === null || parser.wrong.length > 0 ? [] : [rule];
  });
  return { rules, problems };
}

class LineParser {
  readonly wrong: string[] = [];
  readonly #line: RuleLine;
  #at = 0;

  constructor(line: RuleLine) {
    this.#line = line;
  }

  rule(): HbaRule | null {
    const connection = this.#single("connection type")?.text ?? "";
    if (!CONNECTIONS.has(connection)) return this.#fail(`invalid connection type "${connection}"`);
    const databases = this.#field("database").flatMap((word) => this.#database(word));
    const users = this.#field("role").flatMap((word) => this.#user(word));
    const isLocal = connection === "local";
    const address = isLocal ? null : this.#address();
    if (address === null && !isLocal) return null;
    const written = this.#single("authentication method")?.text;
    const method = written === undefined ? null : this.#method(written, connection as HbaConnection);
    if (method === null) return null;
    const options = this.#options(method, connection as HbaConnection);
    const { file, line } = this.#line;
    return {
      file,
      line,
      connection: connection as HbaConnection,
      databases,
      users,
      address,
      method,
      ...options,
    };
  }

  #database(word: Word): readonly DatabaseMatcher[] {
    const { text, isQuoted } = word;
    if (!isQuoted && (text === "all" || text === "sameuser" || text === "replication"))
      return [{ kind: text }];
    if (!isQuoted && (text === "samerole" || text === "samegroup")) {
      return this.#skip(`"${text}" is not supported: pgxa does not know who is a member of a role`);
    }
    return this.#name(word);
  }

  #user(word: Word): readonly UserMatcher[] {
    const { text, isQuoted } = word;
    if (!isQuoted && text === "all") return [{ kind: "all" }];
    if (!isQuoted && text.startsWith("+")) {
      return this.#skip(`"${text}" is not supported: pgxa does not know who is a member of a role`);
    }
    return this.#name(word);
  }

  #name(word: Word): readonly NameMatcher[] {
    const matcher = nameMatcher(word);
    return typeof matcher === "string" ? this.#skip(matcher) : [matcher];
  }

  #address(): AddressMatcher | null {
    const word = this.#single("IP address");
    if (word === null) return null;
    const { text, isQuoted } = word;
    if (!isQuoted && (text === "all" || text === "samehost" || text === "samenet")) return { kind: text };
    const [ip = "", bits, more] = text.split("/");
    const address = parseAddress(ip);
    if (address === null) {
      if (/^[.\w-]+$/.test(text) && /[a-z]/i.test(text))
        return this.#fail(`host names are not supported: "${text}"; give its address`);
      return this.#fail(`invalid IP address "${text}"`);
    }
    const mask =
      bits === undefined ? this.#mask(address) : more === undefined ? maskFrom(bits, ip, address) : null;
    if (mask === null && bits !== undefined) return this.#fail(`invalid CIDR mask in address "${text}"`);
    return mask === null ? null : { kind: "range", address, mask };
  }

  #mask(address: Uint8Array): Uint8Array | null {
    const text = this.#single("netmask")?.text;
    if (text === undefined) return null;
    const mask = parseAddress(text);
    if (mask === null)
      return this.#fail(
        `invalid IP mask "${text}"; give the address in CIDR notation, or a netmask after it`,
      );
    return mask.length === address.length ? mask : this.#fail("IP address and mask do not match");
  }

  #method(written: string, connection: HbaConnection): HbaMethod | null {
    const method = written === "ident" && connection === "local" ? "peer" : written;
    if (FOREIGN.has(method)) return this.#fail(`the authentication method "${method}" is not supported`);
    if (!METHODS.has(method)) return this.#fail(`invalid authentication method "${method}"`);
    if (method === "peer" && connection !== "local")
      return this.#fail("peer authentication is only supported on local sockets");
    if (method === "cert" && connection !== "hostssl")
      return this.#fail("cert authentication is only supported on hostssl connections");
    return method as HbaMethod;
  }

  #options(method: HbaMethod, connection: HbaConnection): Pick<LoginRule, "map" | "clientCertificate"> {
    let map: string | null = null;
    let clientCertificate: LoginRule["clientCertificate"] = null;
    for (const { text } of this.#line.fields.slice(this.#at).flat()) {
      const equals = text.indexOf("=");
      const [name, value] = [text.slice(0, Math.max(equals, 0)), text.slice(equals + 1)];
      if (equals < 0) this.wrong.push(`authentication option not in name=value format: ${text}`);
      else if (name === "map") map = this.#map(value, method, connection);
      else if (name === "clientcert") clientCertificate = this.#certificate(value, connection);
      else if (name !== "clientname" || value !== "CN" || method !== "cert")
        this.wrong.push(`the authentication option ${name} is not supported`);
    }
    return { map, clientCertificate };
  }

  #map(value: string, method: HbaMethod, connection: HbaConnection): string {
    const isUsed = method === "peer" || method === "cert" || connection === "hostssl";
    if (!isUsed)
      this.wrong.push("the authentication option map is only for peer, cert and clientcert=verify-full");
    return value;
  }

  #certificate(value: string, connection: HbaConnection): "verify-ca" | "verify-full" | null {
    if (connection !== "hostssl") return this.#fail("clientcert can only be configured for hostssl rows");
    if (value === "verify-ca" || value === "verify-full") return value;
    return this.#fail(`invalid value for clientcert: "${value}"`);
  }

  /** The words of the next field. */
  #field(what: string): Field {
    const field = this.#line.fields[this.#at];
    this.#at += 1;
    if (field === undefined) this.#missing(what);
    return field ?? [];
  }

  /** The one word of the next field. */
  #single(what: string): Word | null {
    const field = this.#field(what);
    if (field.length > 1) return this.#fail(`multiple values specified for ${what}`);
    return field[0] ?? null;
  }

  /** Only the first that is missing is worth a word. */
  #missing(what: string): void {
    if (this.#at === this.#line.fields.length + 1)
      this.wrong.push(`end-of-line before ${what} specification`);
  }

  #fail(says: string): null {
    this.wrong.push(says);
    return null;
  }

  #skip(says: string): readonly never[] {
    this.wrong.push(says);
    return [];
  }
}

/** The mask of `bits` written after `ip`; of an IPv4 address in IPv6's clothes they count from the clothes. */
function maskFrom(bits: string, ip: string, address: Uint8Array): Uint8Array | null {
  const isDressed = ip.includes(":") && address.length === 4;
  const count = /^\d{1,3}$/.test(bits) ? Number(bits) - (isDressed ? 96 : 0) : -1;
  return count < 0 || count > address.length * 8 ? null : maskOf(count, address.length);
}
