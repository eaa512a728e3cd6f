/**
 * Who takes turns in a cell of the commit case.
 *
 * Two kinds of load, because what makes it costs as much as what bears it: applications on Node's `pg`, some with a
 * two-phase commit of their own and some through pgxa; and clients in C, some with a two-phase commit of their own and
 * some through pgxa. Compare within a kind.
 */
import type { Contender } from "../contender.ts";
import type { LoadProcess } from "../loadProcess.ts";
import type { RunningProxy } from "../pgbouncer.ts";
import type { Bank } from "../stage.ts";
import { openLoads, sharesOf, together } from "../transferCase.ts";
import type { Ending } from "../transferClients.ts";
import { CLoad, type CWay } from "./cLoad.ts";
import { HANDWRITTEN } from "./names.ts";
import type { Cell, Log } from "./plan.ts";
import type { CommitStage, ProxyKind } from "./stage.ts";

export interface CellContenders {
  readonly contenders: readonly Contender[];
  readonly leftOut: readonly string[];
  /** Logs all clients out. */
  close(): Promise<void>;
}

export type Made = Pick<CellContenders, "contenders" | "close">;

const ENDINGS: readonly Ending[] = ["commit", "rollback", "refused"];
const DIRECT: readonly CWay[] = ["sequential", "parallel", "anchor", "plain"];

/** Whoever cannot take part is left out with a line that says why. */
export async function contendersOf(
  cell: Cell,
  logs: readonly Log[],
  stage: CommitStage,
): Promise<CellContenders> {
  const bank = await stage.bank(cell.participants);
  const makers =
    cell.kind === "aborts" ? aborting(cell, logs, stage, bank) : committing(cell, logs, stage, bank);
  const contenders: Contender[] = [];
  const closes: (() => Promise<void>)[] = [];
  const leftOut: string[] = [];
  for (const make of makers) {
    try {
      const made = await make();
      contenders.push(...made.contenders);
      closes.push(made.close);
    } catch (error) {
      leftOut.push((error as Error).message);
    }
  }
  return {
    contenders,
    leftOut,
    close: async () => {
      await Promise.all(closes.map((close) => close()));
    },
  };
}

type Maker = () => Promise<Made>;

function committing(cell: Cell, logs: readonly Log[], stage: CommitStage, bank: Bank): readonly Maker[] {
  const kinds: readonly ProxyKind[] = logs.includes("file") ? [...logs, "file alone"] : logs;
  return [
    () => application(HANDWRITTEN, cell, ["commit"], null, stage, bank),
    ...kinds.map(
      (kind) => async () =>
        application(`pgxa ${kind}`, cell, ["commit"], await stage.proxy(kind), stage, bank),
    ),
    () => directC(cell, stage, bank),
    ...logs.map((log) => async () => {
      const proxy = await stage.proxy(log);
      return proxiedC(`c pgxa ${log}`, cell, proxy, bank.accounts, stage);
    }),
    async () => {
      const { endpoint, accounts } = await stage.citus();
      return proxiedC("c citus", cell, { endpoint, pid: null }, accounts, stage);
    },
  ];
}

function aborting(cell: Cell, logs: readonly Log[], stage: CommitStage, bank: Bank): readonly Maker[] {
  return [
    () => application(HANDWRITTEN, cell, ENDINGS, null, stage, bank),
    ...logs.map(
      (log) => async () => application(`pgxa ${log}`, cell, ENDINGS, await stage.proxy(log), stage, bank),
    ),
  ];
}

/** On Node's `pg`; with several endings a contender for each, on the same connections. */
export async function application(
  name: string,
  cell: Cell,
  endings: readonly Ending[],
  proxy: RunningProxy | null,
  stage: CommitStage,
  bank: Bank,
): Promise<Made> {
  const way = proxy === null ? "handwritten" : "pgxa";
  const loads = await openLoads(way, cell.clients, bank, proxy, stage);
  const contenders = endings.map((ending) => ({
    name: endings.length === 1 ? name : `${name} · ${ending}`,
    proxyPid: proxy?.pid ?? null,
    run: async (seconds: number) =>
      together(await Promise.all(loads.map((load) => load.run(seconds, ending)))),
  }));
  return { contenders, close: () => stopAll(loads) };
}

/** In C, on the shards themselves: every way on the same connections. */
async function directC(cell: Cell, stage: CommitStage, bank: Bank): Promise<Made> {
  const loads = await openC(`direct-${cell.clients}`, cell, bank.shards, bank.accounts, stage);
  return {
    contenders: DIRECT.map((way) => cContender(`c ${way}`, way, loads, null)),
    close: () => stopAll(loads),
  };
}

/** In C, on one endpoint that commits for it. */
async function proxiedC(
  name: string,
  cell: Cell,
  proxy: Pick<RunningProxy, "endpoint"> & { readonly pid: number | null },
  accounts: Bank["accounts"],
  stage: CommitStage,
): Promise<Made> {
  const loads = await openC(name.replaceAll(" ", "-"), cell, [proxy.endpoint], accounts, stage);
  return { contenders: [cContender(name, "proxied", loads, proxy.pid)], close: () => stopAll(loads) };
}

async function openC(
  name: string,
  { clients }: Cell,
  endpoints: Bank["shards"] | readonly [RunningProxy["endpoint"]],
  accounts: Bank["accounts"],
  stage: CommitStage,
): Promise<readonly CLoad[]> {
  const program = await stage.cProgram();
  const order = { program, endpoints, accounts, directory: stage.directory };
  return Promise.all(
    sharesOf(clients).map((share, index) =>
      CLoad.open({ ...order, clients: share, name: `${name}-${index}` }, stage.belongings),
    ),
  );
}

const cContender = (
  name: string,
  way: CWay,
  loads: readonly CLoad[],
  proxyPid: number | null,
): Contender => ({
  name,
  proxyPid,
  run: async (seconds) => together(await Promise.all(loads.map((load) => load.run(way, seconds)))),
});

async function stopAll(loads: readonly (LoadProcess | CLoad)[]): Promise<void> {
  await Promise.all(loads.map((load) => load.stop()));
}
