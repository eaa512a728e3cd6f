/** Every fault there is. */
import { CRASH_FAULTS } from "./crashFaults.ts";
import type { Fault } from "./fault.ts";
import { NETWORK_FAULTS } from "./networkFaults.ts";
import { PROCESS_FAULTS } from "./processFaults.ts";

export const FAULTS: readonly Fault[] = [...PROCESS_FAULTS, ...CRASH_FAULTS, ...NETWORK_FAULTS];
