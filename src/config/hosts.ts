// Pure.
/** The list of a shard's servers, as the configuration has it: `a.example:5432, b.example, [::1]:5433`. */
import type { Endpoint } from "./config.ts";

const HOSTS_MAX = 16;
/** A name, an IPv4 address or an IPv6 address in brackets; a colon and a port. */
const HOST = /^(?:\[([0-9a-f:.%\w]+)\]|([^\s:[\],]+))(?::(\d{1,5}))?$/i;

/** `port` is that of hosts which name none. Null: it is no such list, or an empty one, or one has a host twice. */
export function readHosts(text: string, port: number): readonly Endpoint[] | null {
  const hosts: Endpoint[] = [];
  for (const part of text.split(",")) {
    const match = HOST.exec(part.trim());
    if (match === null) return null;
    const own = match[3] === undefined ? port : Number(match[3]);
    hosts.push({ host: (match[1] ?? match[2])!, port: own });
  }
  const isSound = hosts.every(({ port: own }) => own >= 1 && own <= 65_535) && hosts.length <= HOSTS_MAX;
  const isUnique = new Set(hosts.map(({ host, port: own }) => `${host}:${own}`)).size === hosts.length;
  return isSound && isUnique ? hosts : null;
}
