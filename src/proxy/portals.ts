/** The portals of one client: where each runs, or what pgxa answers itself. They end with their transaction. */
import { Fault } from "../base/fault.ts";
import type { ShardIndex } from "../routing/plan.ts";
import type { PreparePlan } from "../routing/preparedSql.ts";
import type { RoutedPlan } from "./destination.ts";
import type { LocalPlan } from "./localStatements.ts";

export type Portal =
  | { readonly kind: "local"; readonly plan: LocalPlan | PreparePlan }
  | {
      readonly kind: "shard";
      readonly shard: ShardIndex;
      readonly plan: RoutedPlan;
      /** What every shard but the last runs first; null for a statement of one shard. */
      readonly everywhere: Buffer | null;
      /** Whether the other shards or branches have had it. */
      isElsewhereDone: boolean;
    };

/** More in one transaction are refused. */
const PORTALS_MAX = 10_000;

export class Portals {
  readonly #portals = new Map<string, Portal>();

  find(name: string): Portal | undefined {
    return this.#portals.get(name);
  }

  /** Throws `session.no_portal`. */
  get(name: string): Portal {
    const portal = this.#portals.get(name);
    if (portal !== undefined) return portal;
    throw new Fault("session.no_portal", { message: `portal "${name}" does not exist` });
  }

  set(name: string, portal: Portal): void {
    if (this.#portals.size >= PORTALS_MAX && !this.#portals.has(name)) {
      throw new Fault("session.unsupported", {
        message: "too many open portals",
        detail: `There are ${PORTALS_MAX} in this transaction.`,
        hint: "Close those not needed any more.",
      });
    }
    this.#portals.set(name, portal);
  }

  delete(name: string): void {
    this.#portals.delete(name);
  }

  clear(): void {
    this.#portals.clear();
  }
}
