/** The listening sockets that an online restart hands on, named after where the configuration says they are. */
import type { MetricsEndpoint } from "../admin/metricsEndpoint.ts";
import type { Config } from "../config/config.ts";
import { handleOf } from "../pool/byteStream.ts";
import type { Port } from "../proxy/handover/handover.ts";
import type { Listener } from "../proxy/listener.ts";

/** Where clients connect. A process whose configuration has another place opens that one instead. */
export function clientPort({ listen: { host, port } }: Config, listener: Listener): Port {
  let bound = port;
  return {
    name: `clients ${host} ${port}`,
    get handle() {
      return listener.handle;
    },
    close() {
      bound = listener.port;
      return listener.close();
    },
    reopen: async () => void (await listener.listen(host, bound)),
  };
}

export function metricsPort({ metrics: { host, port } }: Config, endpoint: MetricsEndpoint): Port {
  return {
    name: `metrics ${host} ${port}`,
    get handle() {
      return port === 0 ? null : handleOf(endpoint.server);
    },
    close: () => endpoint.close(),
    reopen: async () => void (port !== 0 && (await endpoint.listen(host, port))),
  };
}
