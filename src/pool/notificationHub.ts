/**
 * The one session on a shard that listens for all clients, so that a client that listens needs no server connection of
 * its own.
 *
 * A channel is listened to from its first client to its last. When the session is lost it comes back by itself, with
 * growing and uneven pauses, and listens to all channels again; what was notified meanwhile is gone, as it is for a
 * client of Postgres whose connection broke.
 */
import type { Client, Notification } from "pg";
import { detach } from "../base/detach.ts";
import type { Environment, Timer } from "../base/environment.ts";
import { Fault } from "../base/fault.ts";
import type { ShardConfig } from "../config/config.ts";
import type { Log } from "../observe/log.ts";
import { controlClient, endClient } from "./controlClient.ts";
import type { ShardHealth } from "./health/shardHealth.ts";
import { atPrimary } from "./health/shardRoute.ts";

const TIMEOUT_MS = 5_000;
const PAUSE_MIN_MS = 100;
const PAUSE_MAX_MS = 5_000;

export interface ChannelListener {
  /** `pid`: the process id of the backend that notified. */
  onNotification(pid: number, channel: string, payload: string): void;
}

export class NotificationHub {
  readonly #shard: ShardConfig;
  readonly #environment: Environment;
  readonly #log: Log;
  readonly #health: ShardHealth;
  readonly #unwatch: () => void;
  readonly #listeners = new Map<string, Set<ChannelListener>>();
  #client: Promise<Client> | null = null;
  #pauseMs = PAUSE_MIN_MS;
  #timer: Timer | null = null;
  #isClosed = false;

  constructor(shard: ShardConfig, environment: Environment, log: Log, health: ShardHealth) {
    this.#shard = shard;
    this.#health = health;
    this.#unwatch = health.watch({
      onRerouted: () => this.#leave(),
      onGivenUp: (host) => {
        if (health.isCurrent(host)) this.#leave();
      },
    });
    this.#environment = environment;
    this.#log = log;
  }

  /** Resolves once nothing that is notified on `channel` from now on is missed; rejects with a Fault. */
  async listen(channel: string, listener: ChannelListener): Promise<void> {
    const known = this.#listeners.get(channel);
    if (known !== undefined) known.add(listener);
    else this.#listeners.set(channel, new Set([listener]));
    try {
      const client = await (this.#client ?? this.#open());
      await client.query(`LISTEN ${quoted(channel)}`);
    } catch (error) {
      this.unlisten(channel, listener);
      const detail = `Shard "${this.#shard.id}": ${(error as Error).message}.`;
      throw new Fault("session.listen_failed", { detail });
    }
  }

  unlisten(channel: string, listener: ChannelListener): void {
    const listeners = this.#listeners.get(channel);
    if (listeners === undefined || !listeners.delete(listener) || listeners.size > 0) return;
    this.#listeners.delete(channel);
    const quiet = this.#client?.then((client) => {
      if (!this.#listeners.has(channel)) return client.query(`UNLISTEN ${quoted(channel)}`);
    });
    quiet?.catch(() => {}); // a session that is lost listens to nothing
  }

  /** Notifies all that listen to `channel`, here and in other processes; rejects with the shard's or driver's error. */
  async notify(channel: string): Promise<void> {
    const client = await (this.#client ?? this.#open());
    await client.query(`NOTIFY ${quoted(channel)}`);
  }

  /** Resolves when everything that was notified before has been passed on. */
  async settle(): Promise<void> {
    if (this.#listeners.size === 0) return;
    // Before it says that it is ready, a session tells what was notified meanwhile.
    const settled = this.#client?.then((client) => client.query("SELECT 1"));
    await settled?.catch(() => {}); // what a lost session has not heard is gone
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#unwatch();
    this.#timer?.cancel();
    const client = this.#client;
    this.#client = null;
    await client?.then(endClient, () => {});
  }

  #open(): Promise<Client> {
    const client = controlClient(atPrimary(this.#shard, this.#health), "pgxa notifications", TIMEOUT_MS);
    client.on("error", () => this.#lose(opening));
    client.on("end", () => this.#lose(opening));
    client.on("notification", (notification) => this.#pass(notification));
    const opening = client.connect().then(async () => {
      for (const channel of this.#listeners.keys()) await client.query(`LISTEN ${quoted(channel)}`);
      this.#pauseMs = PAUSE_MIN_MS;
      return client;
    });
    this.#client = opening;
    opening.catch(() => {
      detach(endClient(client), "nobody waits for it");
      this.#lose(opening);
    });
    return opening;
  }

  /** The session leads to a server that is the primary no more, or has stopped answering. */
  #leave(): void {
    const left = this.#client;
    if (left === null) return;
    this.#lose(left);
    left.then(endClient, () => {});
  }

  #lose(opening: Promise<Client>): void {
    if (this.#client !== opening) return;
    this.#client = null;
    if (this.#isClosed || this.#listeners.size === 0) return;
    this.#log.warn("listen.lost", { shard: this.#shard.id, channels: this.#listeners.size });
    const pauseMs = this.#pauseMs * (0.5 + this.#environment.random.fraction());
    this.#pauseMs = Math.min(2 * this.#pauseMs, PAUSE_MAX_MS);
    this.#timer?.cancel();
    this.#timer = this.#environment.clock.after(pauseMs, () => {
      if (this.#client === null && !this.#isClosed) detach(this.#reopen(), "it is tried again");
    });
  }

  async #reopen(): Promise<void> {
    try {
      await this.#open();
      this.#log.info("listen.restored", { shard: this.#shard.id, channels: this.#listeners.size });
    } catch {
      // told of by #lose, which tries again
    }
  }

  #pass({ processId, channel, payload }: Notification): void {
    for (const listener of this.#listeners.get(channel) ?? []) {
      listener.onNotification(processId, channel, payload ?? "");
    }
  }
}

const quoted = (channel: string): string => `"${channel.replaceAll('"', '""')}"`;
