// Pure.
/** What workers and their parent ask each other for the operator. */
import { topic } from "../../fleet/channel.ts";
import type { FactName, Facts } from "./facts.ts";
import type { Order } from "./orders.ts";

/** The parent asks a worker for its own facts. */
export const OWN_FACTS = topic<readonly FactName[], Partial<Facts>>("admin.own_facts");
/** A worker asks the parent for those of all. */
export const ALL_FACTS = topic<readonly FactName[], Partial<Facts>>("admin.all_facts");
/** A worker passes an order on to the parent. */
export const GIVE = topic<Order>("admin.give");
/** The parent has a worker carry an order out; `isKnown`: its database is there, if not in this worker. */
export const CARRY_OUT = topic<{ readonly order: Order; readonly isKnown: boolean }>("admin.carry_out");
