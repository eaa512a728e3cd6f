/**
 * What a client has set, and what it has been told: carried from server connection to server connection.
 *
 * `settings` is the canonical form of what the client set (see pool/settings.ts). A connection that carries other
 * settings is brought to these before the client's statement goes there. What the shard then reports differently
 * from what the client was told last is told as ParameterStatus, as Postgres does after a SET.
 */
import { Fault } from "../base/fault.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import { applySettings, captureSettings, settingsOf } from "../pool/settings.ts";
import { parameterStatus } from "../wire/backendWriters.ts";
import type { Greeting } from "./greeting.ts";

const CUSTOM_MAX = 1_000;
const NO_MESSAGES: readonly Buffer[] = [];
const NOTHING_TOLD: ReadonlyMap<string, string> = new Map();
/** How long a shard may take over settings, in ms. */
const SETTINGS_TIMEOUT_MS = 10_000;
/** SQL_ASCII: the bytes go to the shard as they are. */
const UTF8_ENCODINGS: ReadonlySet<string> = new Set(["UTF8", "SQL_ASCII"]);
const BACKSLASH = 0x5c;
/** What a standby reports that is not so for the session, whose next transaction may be the primary's. */
const OF_STANDBYS: ReadonlySet<string> = new Set(["in_hot_standby", "default_transaction_read_only"]);
/** What the startup packet carries that is not a setting. */
const NOT_SETTINGS: ReadonlySet<string> = new Set(["user", "database", "replication", "options"]);

/** All that is known of a client's settings, as it goes from process to process. */
export interface ParametersState {
  /** What the startup packet said. */
  readonly packet: readonly (readonly [name: string, value: string])[];
  readonly settings: string;
  readonly custom: readonly string[];
  readonly told: readonly (readonly [name: string, value: string])[];
}

/** What a startup packet sets, and the canonical form of that. */
export interface StartupSettings {
  readonly startup: ReadonlyMap<string, string>;
  readonly settings: string;
}

/** `packet`: the startup packet's parameters. Throws a Fault if its `options` are beyond understanding. */
export function readStartupSettings(packet: ReadonlyMap<string, string>): StartupSettings {
  const startup = startupSettings(packet);
  return { startup, settings: settingsOf(startup) };
}

export class ClientParameters {
  readonly #packet: ReadonlyMap<string, string>;
  /** What the startup packet set, by name. */
  readonly startup: ReadonlyMap<string, string>;
  settings: string;
  /** The names of an application's own settings that the client may have set. */
  readonly #custom = new Set<string>();
  /** May be the greeting's, which is others' too. */
  #told: ReadonlyMap<string, string> = NOTHING_TOLD;
  #ownTold: Map<string, string> | null = null;
  /** All that the client was told; null: it was told more. */
  #greeting: Greeting | null = null;
  #toldKey: string | null = null;
  /** Whether every text means to pgxa what it means to a shard. */
  #isPlain = true;

  /** `packet`: the startup packet's parameters. Throws a Fault if its `options` are beyond understanding. */
  constructor(packet: ReadonlyMap<string, string>, { startup, settings } = readStartupSettings(packet)) {
    this.#packet = packet;
    this.startup = startup;
    this.settings = settings;
    for (const name of this.startup.keys()) this.noteName(name);
  }

  get state(): ParametersState {
    const { settings } = this;
    return { packet: [...this.#packet], settings, custom: [...this.#custom], told: [...this.#told] };
  }

  static restore({ packet, settings, custom, told }: ParametersState): ClientParameters {
    const parameters = new ClientParameters(new Map(packet));
    parameters.settings = settings;
    for (const name of custom) parameters.noteName(name);
    for (const [name, value] of told) parameters.noteTold(name, value);
    return parameters;
  }

  /** Whether `connection` can be used by this client as it is. */
  isInForceOn(connection: ServerConnection): boolean {
    return connection.settings === this.settings;
  }

  /** Brings `connection` to this client's settings; throws a Refusal. */
  apply(connection: ServerConnection): Promise<void> {
    return applySettings(connection, this.settings, SETTINGS_TIMEOUT_MS);
  }

  /**
   * The client sets `name`: if it is one of an application's own, the shard has to be asked for it by name. False if
   * there are too many of those to be carried.
   */
  noteName(name: string): boolean {
    if (!name.includes(".")) return true;
    if (this.#custom.size < CUSTOM_MAX) this.#custom.add(name.toLowerCase());
    return this.#custom.has(name.toLowerCase());
  }

  /**
   * Learns from the shard what is set now, after a statement that may have changed it. What the startup packet set and
   * is set no more was reset, which for the client means to that value; the connection does not have it then.
   */
  async capture(connection: ServerConnection): Promise<boolean> {
    const captured = await captureSettings(connection, [...this.#custom], SETTINGS_TIMEOUT_MS);
    if (captured === null) return false;
    connection.settings = settingsOf(captured);
    const kept = captured.filter(
      ([name, value]) => !(value === "" && this.#custom.has(name) && this.#startsWith(name)),
    );
    this.settings = settingsOf([...this.startup, ...kept]);
    return true;
  }

  /** Whether the startup packet sets `name`; an application's own setting is empty when it has been reset. */
  #startsWith(name: string): boolean {
    return [...this.startup.keys()].some((key) => key.toLowerCase() === name);
  }

  /**
   * Throws a Fault unless the text of a message means to pgxa, which reads it to route it, what it means to a shard:
   * it is UTF-8, and its string literals are those of the SQL standard.
   */
  checkText(buffer: Buffer, start: number, end: number): void {
    if (this.#isPlain) return;
    this.checkEncoding(buffer, start, end);
    const bytes = buffer.subarray(start, end);
    if (this.#told.get("standard_conforming_strings") === "off" && bytes.includes(BACKSLASH)) {
      throw new Fault("session.unsupported", {
        message: "backslashes in statements need standard_conforming_strings",
        detail: "With several shards pgxa reads literals as the SQL standard has them.",
        hint: "SET standard_conforming_strings = on, or send values as parameters.",
      });
    }
  }

  /** Throws `session.invalid_encoding` for what is not ASCII where the client's encoding is not UTF-8. */
  checkEncoding(buffer: Buffer, start: number, end: number): void {
    if (this.#isPlain || UTF8_ENCODINGS.has(this.#told.get("client_encoding") ?? "UTF8")) return;
    if (buffer.subarray(start, end).some((byte) => byte > 0x7f)) throw new Fault("session.invalid_encoding");
  }

  /** Notes what the client, which has seen nothing else yet, was told at login. */
  noteGreeting(greeting: Greeting): void {
    this.#greeting = greeting;
    this.#told = greeting.parameters;
    this.#ownTold = null;
    this.#look();
  }

  /** Notes a ParameterStatus that the client has seen. */
  noteTold(name: string, value: string): void {
    this.#tell(name, value);
    this.#toldKey = null;
    this.#look();
  }

  #tell(name: string, value: string): void {
    if (this.#ownTold === null) {
      this.#greeting = null;
      this.#ownTold = new Map(this.#told);
      this.#told = this.#ownTold;
    }
    this.#ownTold.set(name, value);
  }

  /** The ParameterStatus messages that a client needs who is handed `connection`. */
  differences(connection: ServerConnection): readonly Buffer[] {
    const { parametersKey } = connection;
    if (parametersKey === this.#toldKey) return NO_MESSAGES;
    if (this.#greeting?.agreesWith === parametersKey) {
      this.#toldKey = parametersKey;
      return NO_MESSAGES;
    }
    const messages: Buffer[] = [];
    for (const [name, value] of connection.parameters) {
      if (this.#told.get(name) === value || (connection.isStandby && OF_STANDBYS.has(name))) continue;
      this.#tell(name, value);
      messages.push(parameterStatus(name, value));
    }
    this.#toldKey = parametersKey;
    if (this.#greeting !== null && !connection.isStandby) this.#greeting.agreesWith = parametersKey;
    this.#look();
    return messages;
  }

  #look(): void {
    const isUtf8 = UTF8_ENCODINGS.has(this.#told.get("client_encoding") ?? "UTF8");
    this.#isPlain = isUtf8 && this.#told.get("standard_conforming_strings") !== "off";
  }
}

/** The settings of a startup packet, `options` (`-c name=value`, `--name=value`, short switches) included. */
function startupSettings(startup: ReadonlyMap<string, string>): Map<string, string> {
  const settings = optionSettings(startup.get("options") ?? "");
  for (const [name, value] of startup) {
    if (!NOT_SETTINGS.has(name.toLowerCase()) && !name.startsWith("_pq_.")) put(settings, name, value);
  }
  return settings;
}

/** The switches with a value of their own or in the next word, and those without: process_postgres_switches(). */
const VALUED = "BcCDdfhkNprStvW-";
const BARE = "bEeFijlnOPsT";
/** What a switch sets; the shard itself refuses what a client may not set. */
const SWITCH_SETTINGS: ReadonlyMap<string, readonly [name: string, value: string | null]> = new Map([
  ["B", ["shared_buffers", null]],
  ["e", ["datestyle", "euro"]],
  ["F", ["fsync", "false"]],
  ["h", ["listen_addresses", null]],
  ["i", ["listen_addresses", "*"]],
  ["k", ["unix_socket_directories", null]],
  ["l", ["ssl", "true"]],
  ["N", ["max_connections", null]],
  ["O", ["allow_system_table_mods", "true"]],
  ["P", ["ignore_system_indexes", "true"]],
  ["p", ["port", null]],
  ["S", ["work_mem", null]],
  ["s", ["log_statement_stats", "true"]],
  ["W", ["post_auth_delay", null]],
]);
/** `-f`, by the first letter of its value: what the planner is not to use. */
const PLANS: Readonly<Record<string, string>> = {
  s: "enable_seqscan",
  i: "enable_indexscan",
  o: "enable_indexonlyscan",
  b: "enable_bitmapscan",
  t: "enable_tidscan",
  n: "enable_nestloop",
  m: "enable_mergejoin",
  h: "enable_hashjoin",
};
/** `-t`, by the first letters of its value. */
const STATISTICS = /^(?:(pa)|(pl)|e)/;

/**
 * The settings of `options`, read like PostgreSQL's pg_split_opts(), getopt() and process_postgres_switches()
 * (https://www.postgresql.org/docs/current/app-postgres.html#APP-POSTGRES-OPTIONS): a backslash quotes a space, switches
 * without a value may share a word, and those for single-user mode and the postmaster are ignored.
 */
function optionSettings(options: string): Map<string, string> {
  const settings = new Map<string, string>();
  const quoted = options.match(/(?:\\.|[^ \t\n\v\f\r\\])+/gs) ?? [];
  const words = quoted.map((word) => word.replaceAll(/\\(.)/gs, "$1"));
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i]!;
    if (word === "--" && i === words.length - 1) break;
    if (!/^-./s.test(word) || word === "--") throw notUnderstood(word === "--" ? words[i + 1]! : word);
    let at = 1;
    while (BARE.includes(word[at]!)) {
      applySwitch(settings, word[at]!, "");
      if ((at += 1) === word.length) break;
    }
    if (at === word.length) continue;
    const value = word.slice(at + 1) || words[(i += 1)];
    if (!VALUED.includes(word[at]!) || value === undefined) throw notUnderstood(word);
    if (!applySwitch(settings, word[at]!, value)) throw notUnderstood(words[i]!);
  }
  return settings;
}

/** False if `value` is none that the switch has. */
function applySwitch(settings: Map<string, string>, letter: string, value: string): boolean {
  const [name, fixed] = SWITCH_SETTINGS.get(letter) ?? [null, null];
  if (name !== null) put(settings, name, fixed ?? value);
  else if (letter === "c" || letter === "-") putNamed(settings, letter, value);
  else if (letter === "d") putDebug(settings, Number.parseInt(value, 10) || 0);
  else if (letter === "f") {
    const plan = PLANS[value[0] ?? ""];
    if (plan === undefined) return false;
    put(settings, plan, "false");
  } else if (letter === "t") {
    const match = STATISTICS.exec(value);
    if (match === null) return false;
    put(settings, `log_${match[1] ? "parser" : match[2] ? "planner" : "executor"}_stats`, "true");
  }
  return true;
}

function putNamed(settings: Map<string, string>, letter: string, setting: string): void {
  const equals = setting.indexOf("=");
  if (equals < 0) {
    const message = `${letter === "c" ? "-c " : "--"}${setting} requires a value`;
    throw new Fault("route.syntax_error", { message, hint: "Use -c name=value." });
  }
  put(settings, setting.slice(0, equals).replaceAll("-", "_"), setting.slice(equals + 1));
}

/** set_debug_options(), for what is not the postmaster. */
function putDebug(settings: Map<string, string>, level: number): void {
  put(settings, "log_min_messages", level > 0 ? `debug${level}` : "notice");
  if (level >= 2) put(settings, "log_statement", "all");
  if (level >= 3) put(settings, "debug_print_parse", "true");
  if (level >= 4) put(settings, "debug_print_plan", "true");
  if (level >= 5) put(settings, "debug_print_rewritten", "true");
}

const DATE_STYLE = /\b(?:iso|sql|postgres\w*)\b/i;
const DATE_ORDER = /\b(?:ymd|dmy|mdy|us|euro\w*|noneuro\w*)\b/i;

/** Sets `name`; of a date style and order the one not named stays what it was. */
function put(settings: Map<string, string>, name: string, value: string): void {
  const isDateStyle = name.toLowerCase() === "datestyle";
  const before = isDateStyle
    ? [...settings].findLast(([key]) => key.toLowerCase() === "datestyle")?.[1]
    : null;
  const style = DATE_STYLE.exec(value);
  const order = DATE_ORDER.exec(value);
  // One of the two: with both, or with German, which is both, nothing of the one before stays.
  const kept =
    (style === null) === (order === null) ? null : (order ? DATE_STYLE : DATE_ORDER).exec(before ?? "");
  settings.set(name, kept === null ? value : `${value}, ${kept[0]}`);
}

const notUnderstood = (word: string): Fault =>
  new Fault("route.syntax_error", {
    message: `invalid command-line argument for server process: ${word}`,
    hint: "Use -c name=value.",
  });
