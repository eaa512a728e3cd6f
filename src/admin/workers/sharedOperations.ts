/**
 * What an operator may have done, on the console of one worker for all of them: the parent passes it on.
 *
 * How things stand is told by this worker, which every order reaches, too.
 */
import type { Channel } from "../../fleet/channel.ts";
import type {
  OperationState,
  Operations,
  ResolveRemark,
  ResolveRequest,
  ShutdownMode,
} from "../operations.ts";
import type { Order } from "./orders.ts";
import { GIVE } from "./topics.ts";

type Named = "pause" | "resume" | "reconnect" | "kill" | "waitClose";

export class SharedOperations implements Operations {
  readonly #own: Operations;
  readonly #parent: Channel;

  /** `own`: those of this worker. */
  constructor(own: Operations, parent: Channel) {
    this.#own = own;
    this.#parent = parent;
  }

  get state(): OperationState {
    return this.#own.state;
  }

  isPaused(database: string): boolean {
    return this.#own.isPaused(database);
  }

  isDisabled(database: string): boolean {
    return this.#own.isDisabled(database);
  }

  pause = (database?: string): Promise<void> => this.#giveNamed("pause", database);
  resume = (database?: string): Promise<void> => this.#giveNamed("resume", database);
  reconnect = (database?: string): Promise<void> => this.#giveNamed("reconnect", database);
  kill = (database?: string): Promise<void> => this.#giveNamed("kill", database);
  waitClose = (database?: string): Promise<void> => this.#giveNamed("waitClose", database);
  disable = (database: string): Promise<void> => this.#give({ verb: "disable", database });
  enable = (database: string): Promise<void> => this.#give({ verb: "enable", database });
  killClient = (id: number): Promise<void> => this.#give({ verb: "killClient", id });
  suspend = (): Promise<void> => this.#give({ verb: "suspend" });
  reload = (): Promise<void> => this.#give({ verb: "reload" });
  drain = (): Promise<void> => this.#give({ verb: "drain" });
  shutdown = (mode: ShutdownMode): Promise<void> => this.#give({ verb: "shutdown", mode });
  set = (option: string, value: string): Promise<void> => this.#give({ verb: "set", option, value });

  resolve(request: ResolveRequest): Promise<readonly ResolveRemark[]> {
    return this.#own.resolve(request);
  }

  #giveNamed(verb: Named, database: string | undefined): Promise<void> {
    return this.#give(database === undefined ? { verb } : { verb, database });
  }

  async #give(order: Order): Promise<void> {
    await this.#parent.ask(GIVE, order);
  }
}
