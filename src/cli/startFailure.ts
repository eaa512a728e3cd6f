/** Why pgxa could not start, said to the user. */
import { Fault } from "../base/fault.ts";
import type { Config } from "../config/config.ts";
import { explain } from "./configFile.ts";

/** Of a Fault, or of the system's error for the address to listen on. */
export function explainStart(error: unknown, listen: Config["listen"] | undefined): string {
  if (error instanceof Fault) return explain(error);
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case "EADDRINUSE":
      return `port ${listen?.port} on ${listen?.host} is taken by another process.\nStop it, or set listen.port to another port.`;
    case "EACCES":
      return `${message}\nPorts below 1024 and foreign directories need rights that this process does not have.`;
    case "EADDRNOTAVAIL":
      return `${listen?.host} is no address of this machine.\nSet listen.host to one of its addresses, 127.0.0.1 or 0.0.0.0.`;
    default:
      return `pgxa could not start: ${message}`;
  }
}
