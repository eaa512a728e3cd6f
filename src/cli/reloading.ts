/**
 * The configuration while pgxa runs: what the file says anew, and what an operator sets for the time being.
 *
 * What is wrong changes nothing. What takes a restart is named in the log and waits for one.
 */
import { Fault } from "../base/fault.ts";
import type { Config } from "../config/config.ts";
import { buildRunning, reloadConfig } from "../config/load.ts";
import { optionAt } from "../config/options.ts";
import type { RawConfig } from "../config/reader.ts";
import { readValue } from "../config/values.ts";
import type { Variables } from "../config/variables.ts";
import type { Log } from "../observe/log.ts";

export interface ConfigSource {
  readonly file: string;
  readonly variables: Variables;
  /** What of it is in force. */
  readonly raw: RawConfig;
}

export class Reloading {
  #source: ConfigSource | null;
  readonly #log: Log;
  /** Makes a configuration that of everything that runs; throws a Fault, and changes nothing, if it cannot be. */
  readonly #apply: (config: Config) => void;

  constructor(source: ConfigSource | null, log: Log, apply: (config: Config) => void) {
    this.#source = source;
    this.#log = log;
    this.#apply = apply;
  }

  /** As the file was when it was read last, with what was set since; null: there is none. */
  get raw(): RawConfig | null {
    return this.#source?.raw ?? null;
  }

  /** Reads the file again; throws a Fault if it is wrong. */
  reload(): void {
    const source = this.#known();
    try {
      const { raw, config, applied, waiting } = reloadConfig(source.file, source.variables, source.raw);
      this.#apply(config);
      this.#source = { ...source, raw };
      this.#log.info("config.reloaded", { applied, waiting });
    } catch (error) {
      if (error instanceof Fault) this.#log.error("config.refused", { reason: error.message });
      throw error;
    }
  }

  /** Sets one live option until the next reload or restart; throws a Fault for a value that it cannot have. */
  set(path: string, text: string): void {
    const source = this.#known();
    const option = optionAt(path);
    const [, section, name] = /^([a-z_]+)\.([a-z_]+)$/.exec(path) ?? [];
    if (option === undefined || section === undefined || name === undefined) {
      throw new Fault("config.invalid", { message: `${path} is no option that can be set` });
    }
    const reading = readValue(option, text, text);
    if (!reading.ok)
      throw new Fault("config.invalid", { message: `${path} ${reading.says}`, hint: reading.advice });
    const values = new Map(source.raw.sections.get(section)).set(name, reading.value);
    const raw = { ...source.raw, sections: new Map(source.raw.sections).set(section, values) };
    this.#apply(buildRunning(raw, source.file));
    this.#source = { ...source, raw };
    this.#log.info("config.set", { option: path });
  }

  #known(): ConfigSource {
    if (this.#source === null) throw new Fault("console.no_file");
    return this.#source;
  }
}
