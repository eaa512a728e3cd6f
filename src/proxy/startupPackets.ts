/**
 * Startup packets that were read lately: an application's connections come with the same one, over and over, and it is
 * read once. Nothing in it is secret, and what is kept of it nobody changes.
 */
import { readStartupMessage, type StartupMessage } from "../wire/startup.ts";
import { readStartupSettings, type StartupSettings } from "./clientParameters.ts";

/** How many are remembered, and how long the longest may be, in bytes; the oldest go first. */
const PACKETS_MAX = 500;
const PACKET_BYTES_MAX = 1_024;

export class StartupPackets {
  readonly #messages = new Map<string, StartupMessage>();
  readonly #settings = new WeakMap<StartupMessage, StartupSettings>();

  /** What `packet` says; throws a Fault if it says nothing. */
  read(packet: Buffer): StartupMessage {
    if (packet.length > PACKET_BYTES_MAX) return readStartupMessage(packet);
    const bytes = packet.toString("latin1");
    const known = this.#messages.get(bytes);
    if (known !== undefined) return known;
    const message = readStartupMessage(packet);
    const [oldest] = this.#messages.keys();
    if (this.#messages.size >= PACKETS_MAX && oldest !== undefined) this.#messages.delete(oldest);
    this.#messages.set(bytes, message);
    return message;
  }

  /** What `message` sets; throws a Fault if that is beyond understanding. */
  settingsOf(message: StartupMessage): StartupSettings {
    let settings = this.#settings.get(message);
    if (settings === undefined) {
      settings = readStartupSettings(message.parameters);
      this.#settings.set(message, settings);
    }
    return settings;
  }
}
