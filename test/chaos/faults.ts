/** Every fault there is. */
import type { Fault } from "./fault.ts";
import { NETWORK_FAULTS } from "./networkFaults.ts";
import { PROCESS_FAULTS } from "./processFaults.ts";

export const FAULTS: readonly Fault[] = [...PROCESS_FAULTS, ...NETWORK_FAULTS];
