/** Several workers in this process, each with a port of its own so that a client can choose, and with limits of a test's own. */
import type pg from "pg";
import { parse, stringify } from "yaml";
import { parseConfig } from "../../src/config/load.ts";
import { silentLog } from "../../src/observe/log.ts";
import type { Stage } from "./stage.ts";
import { type StageWorkers, startWorkers } from "./stageWorkers.ts";

export class WorkersStage {
  readonly #stage: Stage;
  readonly #workers: StageWorkers;

  private constructor(stage: Stage, workers: StageWorkers) {
    this.#stage = stage;
    this.#workers = workers;
  }

  /** With `sections` of the configuration replaced. */
  static async open(
    stage: Stage,
    size: number,
    sections: Readonly<Record<string, unknown>> = {},
  ): Promise<WorkersStage> {
    const text = stringify({ ...(parse(stage.configText) as object), ...sections });
    const config = parseConfig(text, "pgxa.yaml", {});
    return new WorkersStage(stage, await startWorkers(config, size, { log: silentLog, source: null }));
  }

  /** A client of worker `index`. */
  connect(index: number, options: pg.ClientConfig = {}): Promise<pg.Client> {
    return this.#stage.connect({ port: this.#workers.proxies[index]!.port, ...options });
  }

  connectAll(index: number, count: number, options: pg.ClientConfig = {}): Promise<pg.Client[]> {
    return Promise.all(Array.from({ length: count }, () => this.connect(index, options)));
  }

  /** The worker is gone, and so are its connections. */
  async lose(index: number): Promise<void> {
    await this.#workers.proxies[index]!.stop();
    const { crew, workers } = this.#workers.crew;
    crew.leave(workers[index]!.member);
  }

  stop(): Promise<void> {
    return this.#workers.stop();
  }
}
