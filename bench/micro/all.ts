/** The micro-benchmarks of the hot path. */
import { FORWARDERS } from "./forwarder.ts";
import { FRAMERS } from "./framer.ts";
import type { Micro } from "./micro.ts";
import { RENAMES } from "./rename.ts";
import { SEATS } from "./seats.ts";

export const MICROS: readonly Micro[] = [...FRAMERS, ...FORWARDERS, ...SEATS, ...RENAMES];
