/** How many workers there are to be. */
import { availableParallelism } from "node:os";
import type { Config } from "../../config/config.ts";
import { WORKERS_MAX } from "../../config/workerOptions.ts";

export const workerCount = ({ workers }: Pick<Config, "workers">): number =>
  workers === "auto" ? Math.min(availableParallelism(), WORKERS_MAX) : workers;
