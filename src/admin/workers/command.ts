/**
 * The parent's part in what operators order: every worker gets every order, in one sequence, and a worker that comes
 * later is told what stands. So two consoles in two workers can never leave them in different states.
 */
import { detach } from "../../base/detach.ts";
import type { Clock } from "../../base/environment.ts";
import { Fault } from "../../base/fault.ts";
import type { Crew, Member } from "../../fleet/crew.ts";
import type { Gathering } from "./gathering.ts";
import {
  databaseOf,
  type Order,
  type Outcome,
  type Standing,
  standingAfter,
  standingAtLast,
  sumUp,
} from "./orders.ts";
import { CARRY_OUT, GIVE } from "./topics.ts";

/** How often it is looked whether the last client has gone, in ms. */
const LOOK_MS = 100;

export interface CommandParts {
  readonly crew: Crew;
  readonly gathering: Gathering;
  readonly clock: Clock;
  /** From now on a worker that ends is not followed by another, and with the last one pgxa ends. */
  letEnd(): void;
  /** All workers have read the configuration again; throws a Fault if it cannot be read any more. */
  onReloaded(): void;
}

export class Command {
  readonly #parts: CommandParts;
  #standing: Standing = [];

  constructor(parts: CommandParts) {
    this.#parts = parts;
    parts.crew.watch({
      onJoined: ({ channel }) => channel.serve(GIVE, (order) => this.give(order)),
      onBuilt: (member) => this.#brief(member),
    });
  }

  /** Resolves when all workers have done it; rejects with a Fault that says which have not. */
  async give(order: Order): Promise<void> {
    if (order.verb === "shutdown" && order.mode === "wait_for_clients") {
      detach(this.#endWithoutClients(), "whoever asked is a client, too");
      return;
    }
    if (order.verb === "shutdown" || order.verb === "drain") this.#parts.letEnd();
    const isKnown = await this.#isKnown(databaseOf(order));
    const outcomes = await this.#send(order, isKnown);
    const isDone = outcomes.some(({ kind }) => kind === "done");
    this.#standing = standingAtLast(this.#standing, order, isDone);
    sumUp(order, outcomes);
    if (order.verb === "reload") this.#parts.onReloaded();
  }

  /** One worker may have clients again while another still has its own. */
  async #endWithoutClients(): Promise<void> {
    const { gathering, crew, clock } = this.#parts;
    for (;;) {
      const { clientGroups, workers } = await gathering.gather(["clientGroups", "workers"]);
      if (clientGroups!.length === 0 && workers!.running === crew.members.length) break;
      await new Promise<void>((resolve) => void clock.after(LOOK_MS, resolve));
    }
    this.#parts.letEnd();
    await this.#send({ verb: "shutdown", mode: "immediate" }, false);
  }

  /** A pause of a worker without clients need not be waited for. */
  async #brief(member: Member): Promise<void> {
    const told = this.#standing.map((order) => {
      const done = this.#tell(member, order, true);
      if (order.verb !== "pause") return done;
      detach(done, "it holds from the moment in which it is told");
      return null;
    });
    await Promise.all(told);
  }

  /** All are told in the same turn: the order of orders is one for all. */
  async #send(order: Order, isKnown: boolean): Promise<readonly Outcome[]> {
    const isNamed = databaseOf(order) !== null;
    if (isKnown || !isNamed) this.#standing = standingAfter(this.#standing, order);
    const { members } = this.#parts.crew;
    const answers = await Promise.all(members.map((member) => this.#tell(member, order, isKnown)));
    return answers.filter((one) => one !== null);
  }

  /** Null if it is gone: then nothing of it is left that had to be done. */
  async #tell({ index, channel }: Member, order: Order, isKnown: boolean): Promise<Outcome | null> {
    try {
      await channel.ask(CARRY_OUT, { order, isKnown });
      return { worker: index, kind: "done" };
    } catch (fault) {
      if (!(fault instanceof Fault)) throw fault;
      return fault.id === "fleet.gone" ? null : { worker: index, kind: "failed", fault };
    }
  }

  /** A database that comes to be with its first client may be there in some workers only. */
  async #isKnown(database: string | null): Promise<boolean> {
    if (database === null) return false;
    const { databases } = await this.#parts.gathering.gather(["databases"]);
    return databases!.some(({ name, isConsole }) => name === database && !isConsole);
  }
}
