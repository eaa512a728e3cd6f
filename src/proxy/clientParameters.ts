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

/** How long a shard may take over settings, in ms. */
const SETTINGS_TIMEOUT_MS = 10_000;
/** What the startup packet carries that is not a setting. */
const NOT_SETTINGS: ReadonlySet<string> = new Set(["user", "database", "replication", "options"]);

export class ClientParameters {
  /** What the startup packet set, by name. */
  readonly startup: ReadonlyMap<string, string>;
  settings: string;
  readonly #told = new Map<string, string>();
  #toldKey: string | null = null;

  /** `startup`: the startup packet's parameters. Throws a Fault if its `options` are beyond understanding. */
  constructor(startup: ReadonlyMap<string, string>) {
    this.startup = startupSettings(startup);
    this.settings = settingsOf(this.startup);
  }

  /** Whether `connection` can be used by this client as it is. */
  isInForceOn(connection: ServerConnection): boolean {
    return connection.settings === this.settings;
  }

  /** Brings `connection` to this client's settings; throws a Refusal. */
  apply(connection: ServerConnection): Promise<void> {
    return applySettings(connection, this.settings, SETTINGS_TIMEOUT_MS);
  }

  /** Learns from the shard what is set now, after a statement that may have changed it. */
  async capture(connection: ServerConnection): Promise<boolean> {
    const settings = await captureSettings(connection, SETTINGS_TIMEOUT_MS);
    if (settings === null) return false;
    this.settings = settings;
    connection.settings = settings;
    return true;
  }

  /** Notes a ParameterStatus that the client has seen. */
  noteTold(name: string, value: string): void {
    this.#told.set(name, value);
    this.#toldKey = null;
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
    return messages;
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
