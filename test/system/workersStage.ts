/** Several workers in this process, each with a port of its own so that a client can choose, and their parent's desk for quotas. */
import { join } from "node:path";
import type pg from "pg";
import { parse, stringify } from "yaml";
import { type RunningProxy, startProxy } from "../../src/cli/compose.ts";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import { parseConfig } from "../../src/config/load.ts";
import { Crew, type Member } from "../../src/fleet/crew.ts";
import { QuotaDesk } from "../../src/fleet/quotaDesk.ts";
import { silentLog } from "../../src/observe/log.ts";
import { channelPair } from "../fleet/channelPair.ts";
import type { Stage } from "./stage.ts";

export class WorkersStage {
  readonly #stage: Stage;
  readonly #crew = new Crew();
  readonly #desk: QuotaDesk;
  readonly #workers: { readonly proxy: RunningProxy; readonly member: Member }[] = [];

  constructor(stage: Stage, size: number) {
    this.#stage = stage;
    this.#desk = new QuotaDesk(this.#crew, size, systemEnvironment.clock);
  }

  static async open(
    stage: Stage,
    size: number,
    sections: Readonly<Record<string, unknown>> = {},
  ): Promise<WorkersStage> {
    const workers = new WorkersStage(stage, size);
    for (let index = 0; index < size; index += 1) await workers.#start(index, size, sections);
    return workers;
  }

  /** A client of worker `index`. */
  connect(index: number, options: pg.ClientConfig = {}): Promise<pg.Client> {
    return this.#stage.connect({ port: this.#workers[index]!.proxy.port, ...options });
  }

  connectAll(index: number, count: number, options: pg.ClientConfig = {}): Promise<pg.Client[]> {
    return Promise.all(Array.from({ length: count }, () => this.connect(index, options)));
  }

  /** The worker is gone, and so are its connections. */
  async lose(index: number): Promise<void> {
    const { proxy, member } = this.#workers[index]!;
    await proxy.stop();
    this.#crew.leave(member);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#workers.map(({ proxy }) => proxy.stop()));
    this.#desk.stop();
  }

  async #start(index: number, size: number, sections: Readonly<Record<string, unknown>>): Promise<void> {
    const [parent, channel] = channelPair();
    const member = { index, pid: index + 1, channel };
    this.#crew.join(member);
    const own = {
      coordinator: `w${index}`,
      transaction: { log_directory: join(this.#stage.home, `w${index}`) },
    };
    const text = stringify({ ...(parse(this.#stage.configText) as object), ...own, ...sections });
    const proxy = await startProxy(parseConfig(text, "pgxa.yaml", {}), {
      log: silentLog,
      membership: { index, size, parent },
    });
    this.#workers.push({ proxy, member });
  }
}
