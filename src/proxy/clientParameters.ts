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

const CUSTOM_MAX = 1_000;
/** How long a shard may take over settings, in ms. */
const SETTINGS_TIMEOUT_MS = 10_000;
/** SQL_ASCII: the bytes go to the shard as they are. */
const UTF8_ENCODINGS: ReadonlySet<string> = new Set(["UTF8", "SQL_ASCII"]);
const BACKSLASH = 0x5c;
/** What the startup packet carries that is not a setting. */
const NOT_SETTINGS: ReadonlySet<string> = new Set(["user", "database", "replication", "options"]);

export class ClientParameters {
  /** What the startup packet set, by name. */
  readonly startup: ReadonlyMap<string, string>;
  settings: string;
  /** The names of an application's own settings that the client may have set. */
  readonly #custom = new Set<string>();
  readonly #told = new Map<string, string>();
  #toldKey: string | null = null;
  /** Whether every text means to pgxa what it means to a shard. */
  #isPlain = true;

  /** `startup`: the startup packet's parameters. Throws a Fault if its `options` are beyond understanding. */
  constructor(startup: ReadonlyMap<string, string>) {
    this.startup = startupSettings(startup);
    this.settings = settingsOf(this.startup);
    for (const name of this.startup.keys()) this.noteName(name);
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

  /** Notes a ParameterStatus that the client has seen. */
  noteTold(name: string, value: string): void {
    this.#told.set(name, value);
    this.#toldKey = null;
    this.#look();
  }

  /** The ParameterStatus messages that a client needs who is handed `connection`. */
  differences(connection: ServerConnection): Buffer[] {
    if (connection.parametersKey === this.#toldKey) return [];
    const messages: Buffer[] = [];
    for (const [name, value] of connection.parameters) {
      if (this.#told.get(name) === value) continue;
      this.#told.set(name, value);
      messages.push(parameterStatus(name, value));
    }
    this.#toldKey = connection.parametersKey;
    this.#look();
    return messages;
  }

  #look(): void {
    const isUtf8 = UTF8_ENCODINGS.has(this.#told.get("client_encoding") ?? "UTF8");
    this.#isPlain = isUtf8 && this.#told.get("standard_conforming_strings") !== "off";
  }
}

/** The settings of a startup packet, `options` (`-c name=value`, `--name=value`) included. */
function startupSettings(startup: ReadonlyMap<string, string>): Map<string, string> {
  const settings = optionSettings(startup.get("options") ?? "");
  for (const [name, value] of startup) {
    if (!NOT_SETTINGS.has(name.toLowerCase()) && !name.startsWith("_pq_.")) settings.set(name, value);
  }
  return settings;
}

/** https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-OPTIONS: a backslash quotes a space. */
function optionSettings(options: string): Map<string, string> {
  const settings = new Map<string, string>();
  const words = options.match(/(?:\\.|[^\s\\])+/g) ?? [];
  const plain = words.map((word) => word.replaceAll(/\\(.)/g, "$1"));
  for (let i = 0; i < plain.length; i += 1) {
    const word = plain[i]!;
    const setting = word === "-c" ? plain[(i += 1)] : (/^(?:-c|--)(.+)$/.exec(word)?.[1] ?? null);
    const match = setting === null || setting === undefined ? null : /^([^=]+)=(.*)$/s.exec(setting);
    if (match === null) {
      throw new Fault("session.unsupported", {
        message: `invalid command-line argument in options: ${word}`,
        hint: "Use -c name=value.",
      });
    }
    settings.set(match[1]!.replaceAll("-", "_"), match[2]!);
  }
  return settings;
}
