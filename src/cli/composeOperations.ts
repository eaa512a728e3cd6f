/** What an operator can do, and how a changed configuration reaches everything: for compose.ts. */
import { Fault } from "../base/fault.ts";
import type { Config } from "../config/config.ts";
import type { ShardHealth } from "../pool/health/shardHealth.ts";
import type { ClientTimeouts } from "../proxy/clientTimeouts.ts";
import type { Listener } from "../proxy/listener.ts";
import type { ProxyParts } from "./compose.ts";
import type { Shared } from "./composeClients.ts";
import { performResolve } from "./composeHeuristics.ts";
import { Operator } from "./operator.ts";
import { Reloading } from "./reloading.ts";
import { resolvesBy } from "./siblings.ts";

export interface Operated extends Shared {
  readonly listener: Listener;
  readonly timeouts: ClientTimeouts;
  readonly health: readonly ShardHealth[];
  limitAdmission(config: Config): void;
}

export function createOperator(world: ProxyParts, parts: Operated, drain: () => Promise<void>): Operator {
  const { backends, registry, admission, commits, listener } = parts;
  const { clock } = world.environment;
  const reloading = new Reloading(world.source, world.log, (config) => reconfigure(config, world, parts));
  return new Operator({
    backends,
    registry,
    limits: registry.limits,
    admission: commits === null ? null : admission,
    clock,
    isDraining: () => !listener.isReady,
    drain,
    end: world.onShutdown,
    reload: async () => reloading.reload(),
    set: async (option, value) => reloading.set(option, value),
    resolve: resolvesBy(world.membership, async (request) => {
      if (commits === null) throw new Fault("resolve.not_possible");
      const { resolution, review, resolver } = commits;
      const remarks = await performResolve(resolution, request);
      if (!request.isConfirmed) return remarks;
      resolver.wakeAll();
      await review.look();
      return remarks;
    }),
  });
}

/** Throws a Fault, and changes nothing, if files that the configuration names are wrong. */
function reconfigure(config: Config, { log }: ProxyParts, parts: Operated): void {
  const { live, gate, tls, registry, timeouts, health, backends } = parts;
  gate.reconfigure(config);
  if (!tls.reconfigure(config.clientTls)) {
    gate.reconfigure(live.config);
    throw new Fault("config.invalid", {
      message: "the files of client_tls cannot be used; the log says why",
    });
  }
  live.config = config;
  registry.limits.reconfigure(config);
  timeouts.reconfigure(config);
  for (const one of health) one.reconfigure(config.health);
  backends.reconfigure(config);
  parts.limitAdmission(config);
  log.setLevel(config.log.level);
}
