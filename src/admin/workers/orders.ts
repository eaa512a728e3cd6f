// Pure.
/**
 * What an operator orders, as a plain value: each of them is one method of `Operations`, but RESOLVE, which is about one
 * transaction and finds its worker by itself.
 *
 * All workers get it, in the same order, and what they answer becomes one answer: it is done when all have done it.
 */
import type { FaultId } from "../../base/catalogue.ts";
import { Fault } from "../../base/fault.ts";
import type { Operations, ShutdownMode } from "../operations.ts";

export type Order =
  | { readonly verb: "pause" | "resume" | "reconnect" | "kill" | "waitClose"; readonly database?: string }
  | { readonly verb: "disable" | "enable"; readonly database: string }
  | { readonly verb: "killClient"; readonly id: number }
  | { readonly verb: "suspend" | "reload" | "drain" }
  | { readonly verb: "shutdown"; readonly mode: ShutdownMode }
  | { readonly verb: "set"; readonly option: string; readonly value: string };

export type Verb = Order["verb"];

/** What a worker that comes later has to be told. */
export type Standing = readonly Order[];

export type Outcome =
  | { readonly worker: number; readonly kind: "done" }
  | { readonly worker: number; readonly kind: "failed"; readonly fault: Fault };

/** Rejects with the Fault of the one who cannot do it. */
export function carryOut(operations: Operations, order: Order): Promise<void> {
  switch (order.verb) {
    case "shutdown":
      return operations.shutdown(order.mode);
    case "set":
      return operations.set(order.option, order.value);
    case "killClient":
      return operations.killClient(order.id);
    case "disable":
    case "enable":
      return operations[order.verb](order.database);
    case "suspend":
    case "reload":
    case "drain":
      return operations[order.verb]();
    default:
      return operations[order.verb](order.database);
  }
}

/** The database that an order names. */
export const databaseOf = (order: Order): string | null =>
  "database" in order ? (order.database ?? null) : null;

/** Whose word counts: everybody must have done it, or one of them. */
const NEEDS: Readonly<Record<Verb, "all" | "one">> = {
  pause: "all",
  resume: "all",
  reconnect: "all",
  kill: "all",
  waitClose: "all",
  disable: "all",
  enable: "all",
  killClient: "one", // it is in one of them
  suspend: "all",
  reload: "all",
  drain: "all",
  shutdown: "all",
  set: "all",
};

/** What a worker says that has done it before; then it is done, if another has done it now. */
const HARMLESS: Readonly<Partial<Record<Verb, FaultId>>> = { resume: "console.not_paused" };

/** As the console writes it. */
const nameOf = (verb: Verb): string => verb.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();

/**
 * Throws a Fault if an order that all workers have answered is not done. Those that died meanwhile are
 * not among `outcomes`: who comes in their place is told what stands.
 */
export function sumUp(order: Order, outcomes: readonly Outcome[]): void {
  if (outcomes.length === 0) throw new Fault("fleet.gone");
  const done = outcomes.filter((one) => one.kind === "done");
  const failed = outcomes.filter(
    (one) => one.kind === "failed" && !(done.length > 0 && one.fault.id === HARMLESS[order.verb]),
  ) as readonly Extract<Outcome, { kind: "failed" }>[];
  const [first] = failed;
  if (first === undefined || (NEEDS[order.verb] === "one" && done.length > 0)) return;
  // A PAUSE that has come to its end in some workers has ended in none, once it was taken back.
  const resumed = failed.find(({ fault }) => fault.id === "console.resumed");
  if (resumed !== undefined) throw resumed.fault;
  if (done.length === 0 && failed.every(({ fault }) => fault.id === first.fault.id)) throw first.fault;
  const lines = failed.map(({ worker, fault }) => `Worker ${worker} refused: ${fault.message}.`);
  const by = done.map(({ worker }) => worker).join(", ");
  throw new Fault("fleet.half_done", {
    message: `${nameOf(order.verb)} was not done by all workers`,
    detail: [...lines, done.length === 0 ? "No worker has done it." : `Done by worker ${by}.`].join("\n"),
  });
}

/** What stands after `order`, which has been given, where `before` stood. */
export function standingAfter(before: Standing, order: Order): Standing {
  const database = databaseOf(order);
  const without = (verb: Verb, isIt: (one: Order) => boolean): Standing =>
    before.filter((one) => one.verb !== verb || !isIt(one));
  const isOfIt = (one: Order): boolean => databaseOf(one) === database;
  switch (order.verb) {
    case "pause":
    case "kill":
      return [
        ...without("pause", isOfIt),
        database === null ? { verb: "pause" } : { verb: "pause", database },
      ];
    case "resume":
      return without("pause", (one) => database === null || isOfIt(one));
    case "disable":
      return [...without("disable", isOfIt), order];
    case "enable":
      return without("disable", isOfIt);
    case "set":
      return [...before, order];
    default:
      return before;
  }
}

/** What stands once all have answered to `order`, which is among `standing`; `isDone`: not all have refused it. */
export function standingAtLast(standing: Standing, order: Order, isDone: boolean): Standing {
  switch (order.verb) {
    case "set": {
      const isOlder = (one: Order): boolean => one.verb === "set" && one.option === order.option;
      return standing.filter((one) => (isDone ? one === order || !isOlder(one) : one !== order));
    }
    case "reload": // the file says everything anew
      return isDone ? standing.filter(({ verb }) => verb !== "set") : standing;
    default:
      return standing;
  }
}
