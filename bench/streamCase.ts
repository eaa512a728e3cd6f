/**
 * The stream cases: one client receives or sends much at once.
 *
 * The shard makes the rows as it goes and throws away what is copied in, so that no disk is measured.
 */
import type { Flow, StreamCase } from "./cases.ts";
import { type Contender, type Turns, takeTurns, whoCan } from "./contender.ts";
import type { Endpoint } from "./endpoint.ts";
import { PeakWatch } from "./processMemory.ts";
import { type RawClient, RawClients } from "./rawClient.ts";
import type { Stage } from "./stage.ts";
import { type Measurement, rowsOf } from "./stats.ts";
import type { StreamFigures, StreamMemory } from "./streamFigures.ts";

const MEGABYTE = 1_000_000;
const MIB = 1024 * 1024;
const ROW_BYTES = 1_000;
/** Of rows in one message of COPY FROM; libpq's clients send about as much. */
const COPY_ROWS = 60;

const ROWS = (rows: number): string =>
  `SELECT repeat('x', ${ROW_BYTES - 1}) FROM generate_series(1, ${rows})`;

export async function runStreamCase(
  one: StreamCase,
  stage: Stage,
  turns: Turns,
  megabytes: number,
): Promise<{ readonly streams: StreamFigures; readonly leftOut: readonly string[] }> {
  const watches = new Map<string, PeakWatch>();
  const contender = (name: string, endpoint: Endpoint, proxyPid: number | null): Contender => {
    const watch = proxyPid === null ? null : PeakWatch.begin(proxyPid);
    if (watch !== null) watches.set(name, watch);
    const run = async () => {
      const measured = await flow(one.flow, endpoint, megabytes);
      watch?.look();
      return measured;
    };
    return { name, proxyPid, run };
  };
  const { contenders, absent } = await whoCan(one.name, stage.progress, [
    prepare(stage.shards[0]!).then(() => contender("direct", stage.shards[0]!, null)),
    stage.pgbouncer().then(({ endpoint, pid }) => contender("pgbouncer", endpoint, pid)),
    stage.pgxa(1).then(({ endpoint, pid }) => contender("pgxa", endpoint, pid)),
  ]);
  const done = await takeTurns(one.name, contenders, turns, stage.progress);
  const rows = rowsOf(one.name, one.clients, done.rounds);
  const memory = [...watches].map(
    ([name, watch]): StreamMemory => ({
      case: one.name,
      contender: name,
      peakMib: watch.peakBytes / MIB,
      grownMib: watch.grownBytes / MIB,
    }),
  );
  return { streams: { rows, memory, megabytes }, leftOut: [...absent, ...done.leftOut] };
}

async function prepare(shard: Endpoint): Promise<void> {
  await using(shard, (client) => client.query("CREATE TABLE IF NOT EXISTS streamed (line text)"));
}

async function flow(kind: Flow, endpoint: Endpoint, megabytes: number): Promise<Measurement> {
  return using(endpoint, async (client) => {
    const began = performance.now();
    await FLOWS[kind](client, (megabytes * MEGABYTE) / ROW_BYTES);
    const elapsedSeconds = (performance.now() - began) / 1000;
    return { transactions: megabytes, elapsedSeconds, latenciesMs: [], loadCpuUs: null };
  });
}

const FLOWS: Readonly<Record<Flow, (client: RawClient, rows: number) => Promise<void>>> = {
  result: (client, rows) => client.query(ROWS(rows)),
  "copy-out": (client, rows) => client.query(`COPY (${ROWS(rows)}) TO STDOUT`),
  "copy-in": (client, rows) => {
    const lines = Buffer.from(`${"x".repeat(ROW_BYTES - 1)}\n`.repeat(COPY_ROWS));
    return client.copyIn("COPY streamed FROM STDIN WHERE false", lines, Math.ceil(rows / COPY_ROWS));
  },
};

async function using<T>(endpoint: Endpoint, use: (client: RawClient) => Promise<T>): Promise<T> {
  const client = await new RawClients().open(endpoint);
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}
