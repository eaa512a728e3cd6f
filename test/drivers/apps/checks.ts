/**
 * What every Node application of test/drivers shares: its address, and how it tells what it checked.
 *
 * A check is a named function that throws if something is not as it is with a Postgres of one's own. Each gives one
 * line on stdout, `ok NAME` or `not ok NAME: why`; the line `done` says that none is missing.
 */
import assert, { AssertionError } from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { inspect } from "node:util";

export type Checks = Readonly<Record<string, () => Promise<unknown>>>;

/** How long one check may take, in ms. */
const PATIENCE_MS = 15_000;
const WHY_CHARACTERS_MAX = 300;

/** Where the application connects: a `postgres://` URL. */
export function databaseUrl(): string {
  const url = process.env["DATABASE_URL"];
  if (url === undefined) throw new Error("DATABASE_URL is not set");
  return url;
}

/** Runs `checks` in their order, then `close`, and ends the process: what hangs does not keep it. */
export async function runChecks(checks: Checks, close: () => Promise<unknown>): Promise<never> {
  for (const [name, check] of Object.entries(checks)) {
    const why = await whyNot(check);
    process.stdout.write(why === null ? `ok ${name}\n` : `not ok ${name}: ${why}\n`);
  }
  await Promise.race([close().catch(() => {}), delay(2000)]);
  process.stdout.write("done\n", () => process.exit(0));
  return new Promise(() => {});
}

/** Null if the check passed. An error that nobody caught meanwhile is the check's. */
async function whyNot(check: () => Promise<unknown>): Promise<string | null> {
  const stray = Promise.withResolvers<never>();
  const late = delay(PATIENCE_MS, null, { ref: true }).then(() => {
    throw new Error(`it took longer than ${PATIENCE_MS / 1000} s`);
  });
  late.catch(() => {});
  process.on("uncaughtException", stray.reject);
  try {
    await Promise.race([check(), stray.promise, late]);
    return null;
  } catch (error) {
    return inOneLine(error);
  } finally {
    process.off("uncaughtException", stray.reject);
  }
}

function inOneLine(error: unknown): string {
  return told(error).replaceAll(/\s+/g, " ").trim().slice(0, WHY_CHARACTERS_MAX);
}

function told(error: unknown): string {
  if (error instanceof AssertionError) return error.generatedMessage ? compared(error) : error.message;
  const { message, code } = error as { message?: string; code?: string };
  return `${message ?? error}${code === undefined ? "" : ` (${code})`}`;
}

/** What Node writes over many lines. */
function compared({ actual, expected, operator }: AssertionError): string {
  return `got ${inspect(actual)}, expected ${/^not/.test(operator) ? "anything else" : inspect(expected)}`;
}

/** Checks that `work` fails with `sqlState`, wherever the library keeps it; the error. */
export async function failsWith(sqlState: string, work: Promise<unknown>): Promise<Record<string, unknown>> {
  const error = await work.then(
    () => assert.fail(`expected an error ${sqlState}`),
    (caught: unknown) => caught as Record<string, unknown>,
  );
  const told = sqlStateOf(error);
  assert.equal(told, sqlState, `expected ${sqlState}, got ${told}: ${error["message"]}`);
  return error;
}

/** Libraries wrap the driver's error. */
function sqlStateOf(error: Record<string, unknown>): unknown {
  const inner =
    error["code"] === undefined ? (error["cause"] ?? error["parent"] ?? error["driverError"]) : null;
  return inner === null || inner === undefined ? error["code"] : sqlStateOf(inner as Record<string, unknown>);
}

/** Waits until `isThere()`; fails after `timeoutMs`. */
export async function until(what: string, isThere: () => boolean, timeoutMs = 3000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!isThere()) {
    assert.ok(performance.now() < deadline, `no ${what} within ${timeoutMs / 1000} s`);
    await delay(10);
  }
}

/** `workers` of them at once, each `times` times. */
export async function manyAtOnce(
  workers: number,
  times: number,
  work: (worker: number, time: number) => Promise<unknown>,
): Promise<void> {
  await Promise.all(
    Array.from({ length: workers }, async (_, worker) => {
      for (let time = 0; time < times; time += 1) await work(worker, time);
    }),
  );
}
