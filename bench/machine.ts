/**
 * What the figures were made on: enough to compare two runs, nothing that names a machine or its owner.
 */
import { cpus, totalmem } from "node:os";

export interface Machine {
  readonly date: string;
  readonly cores: number;
  readonly cpu: string;
  readonly memoryGib: number;
  readonly node: string;
  readonly postgres: string;
  readonly pgbench: string | null;
  readonly pgbouncer: string | null;
}

export interface Versions {
  readonly postgres: string;
  readonly pgbench: string | null;
  readonly pgbouncer: string | null;
}

export function machineFacts(versions: Versions): Machine {
  const cores = cpus();
  return {
    date: new Date().toISOString().slice(0, 10),
    cores: cores.length,
    cpu: cores[0]?.model.trim() ?? "unknown processor",
    memoryGib: Math.round(totalmem() / 2 ** 30),
    node: process.versions.node,
    ...versions,
  };
}
