/** What a worker may have of what all workers share: for compose.ts and composeFleet.ts. */
import type { Config } from "../config/config.ts";
import { WorkerQuotas } from "../fleet/workerQuotas.ts";
import { Admission } from "../pool/admission.ts";
import { AdmissionQuota } from "../pool/admissionQuota.ts";
import type { Quotas } from "../pool/quota.ts";
import { SharedBounds } from "../pool/sharedBounds.ts";
import { type Backends, poolOf } from "./backends.ts";
import type { ProxyParts } from "./compose.ts";

/** Null: this process is alone, and has all there is. */
export const createQuotas = ({ membership, environment }: ProxyParts): WorkerQuotas | null =>
  membership === null ? null : new WorkerQuotas(membership, environment.clock);

export interface Admitted {
  readonly admission: Admission;
  /** Takes the limits of another configuration; the backends have it already. */
  limitAdmission(config: Config): void;
}

/** Who is let in to the shards. */
export function createAdmission(
  config: Config,
  { environment }: ProxyParts,
  backends: Backends,
  quotas: Quotas | null,
): Admitted {
  const limits = mainPoolOf(config);
  const bounds = quotas === null ? undefined : new SharedBounds(quotas, "admission");
  const admission = new Admission(config.shards.length, limits, environment.clock, bounds);
  if (quotas === null || config.shards.length === 1) {
    return { admission, limitAdmission: (other) => admission.reconfigure(mainPoolOf(other)) };
  }
  const parts = { admission, pools: () => backends.main.pools };
  const quota = new AdmissionQuota(quotas, "admission", limits, parts);
  return { admission, limitAdmission: (other) => quota.reconfigure(mainPoolOf(other)) };
}

const mainPoolOf = (config: Config) =>
  poolOf(
    config,
    config.databases.find(({ name }) => name === config.database),
  );
