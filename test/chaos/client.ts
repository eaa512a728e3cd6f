/**
 * A client that transfers money until it is told to stop, through whichever pgxa takes it.
 *
 * It waits for no answer for ever: after a while it gives its connection up, as an application would, and then does
 * not know what became of a COMMIT that was on its way.
 */
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import type { SeededRandom } from "../sim/seededRandom.ts";
import { DATABASE } from "../system/stage.ts";
import { type Entry, type Ledger, toldBy } from "./ledger.ts";
import { type Bank, planTransfer } from "./transfer.ts";

const GIVE_UP_MS = 12_000;
const CONNECT_TIMEOUT_MS = 4_000;
const RECONNECT_MS = 50;

export interface ClientParts {
  readonly bank: Bank;
  readonly ledger: Ledger;
  readonly random: SeededRandom;
  /** Where each pgxa takes clients. */
  readonly ports: readonly number[];
  /** The pgxa it prefers. */
  readonly pgxa: number;
}

export class Client {
  readonly #parts: ClientParts;
  #client: pg.Client | null = null;
  #at: number;
  #isStopped = false;
  #isPaused = false;
  #resume: () => void = () => {};
  #waiting: (() => void) | null = null;
  readonly #running: Promise<void>;
  /** What it does now, for whoever waits in vain. */
  doing = "starting";

  constructor(parts: ClientParts) {
    this.#parts = parts;
    this.#at = parts.pgxa;
    this.#running = this.#run();
  }

  /** Resolves when no transfer of it is under way; it begins none until `resume`. */
  pause(): Promise<void> {
    this.#isPaused = true;
    return new Promise((resolve) => {
      this.#waiting = resolve;
      if (this.doing === "paused") resolve();
    });
  }

  resume(): void {
    this.#isPaused = false;
    this.#resume();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.resume();
    await this.#running;
    await this.#client?.end().catch(() => {});
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      if (this.#isPaused) await this.#rest();
      else if (await this.#isConnected()) await this.#transfer();
    }
  }

  async #rest(): Promise<void> {
    this.doing = "paused";
    this.#waiting?.();
    await new Promise<void>((resolve) => {
      this.#resume = resolve;
    });
    this.doing = "resuming";
    if (this.#client !== null && this.#at !== this.#parts.pgxa) this.#giveUp(this.#client);
  }

  async #isConnected(): Promise<boolean> {
    if (this.#client !== null) return true;
    this.doing = "connecting";
    const { ports } = this.#parts;
    const client = clientOf(ports[this.#at]!);
    const forget = (): void => {
      if (this.#client === client) this.#client = null;
    };
    client.on("end", forget);
    try {
      await client.connect();
      this.#client = client;
      return true;
    } catch {
      client.end().catch(() => {});
      this.#at = (this.#at + 1) % ports.length;
      await delay(RECONNECT_MS);
      return false;
    }
  }

  async #transfer(): Promise<void> {
    const { ledger, bank, random } = this.#parts;
    const client = this.#client!;
    const entry = ledger.begin(planTransfer(ledger.nextId(), bank, random), this.#at, performance.now());
    this.doing = `transfer ${entry.transfer.id}`;
    const givingUp = setTimeout(() => this.#giveUp(client), GIVE_UP_MS);
    const isSound = await carryOut(client, entry, ledger);
    clearTimeout(givingUp);
    if (!isSound) this.#giveUp(client);
  }

  #giveUp(client: pg.Client): void {
    if (this.#client === client) this.#client = null;
    this.#at = this.#parts.pgxa;
    destroy(client);
  }
}

/** One transfer over all shards through the pgxa at `port`; resolves with null, or with why it was not committed. */
export async function commitOnce(parts: ClientParts): Promise<string | null> {
  const { ledger, bank, random, ports, pgxa } = parts;
  let transfer = planTransfer(ledger.nextId(), bank, random);
  while (transfer.isDoomed || transfer.steps.length < bank.shardIds.length)
    transfer = planTransfer(transfer.id, bank, random);
  const client = clientOf(ports[pgxa]!);
  const givingUp = setTimeout(() => destroy(client), GIVE_UP_MS);
  try {
    await client.connect();
    const entry = ledger.begin(transfer, pgxa, performance.now());
    await carryOut(client, entry, ledger);
    return entry.told === "committed" ? null : entry.words;
  } catch (error) {
    return (error as Error).message;
  } finally {
    clearTimeout(givingUp);
    client.end().catch(() => {});
  }
}

/** Whether the connection is good for more. */
async function carryOut(client: pg.Client, entry: Entry, ledger: Ledger): Promise<boolean> {
  const { transfer } = entry;
  let isCommitSaid = false;
  try {
    await client.query("BEGIN");
    for (const statement of transfer.statements) await client.query(statement);
    isCommitSaid = transfer.end === "COMMIT";
    const { command } = await client.query(transfer.end);
    ledger.end(entry, command === "COMMIT" ? "committed" : "aborted", command, performance.now());
    return true;
  } catch (error) {
    // The system's codes can look like an SQLSTATE: EPIPE.
    const sqlstate = error instanceof pg.DatabaseError ? (error.code ?? null) : null;
    const words = `${sqlstate ?? "no SQLSTATE"}: ${(error as Error).message}`;
    ledger.end(entry, toldBy(sqlstate, isCommitSaid), words, performance.now());
    if (sqlstate === null) return false;
    return client.query("ROLLBACK").then(
      () => true,
      () => false,
    );
  }
}

function clientOf(port: number): pg.Client {
  const client = new pg.Client({
    host: "127.0.0.1",
    port,
    database: DATABASE,
    user: "postgres",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  });
  client.on("error", () => {});
  return client;
}

function destroy(client: pg.Client): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}
