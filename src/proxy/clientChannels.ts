/**
 * What one client listens to.
 *
 * LISTEN and UNLISTEN count when their transaction has committed, as with Postgres: what they say is noted, with the
 * group of answers it belongs to, and `settle` makes it so or forgets it. A channel is heard from before its LISTEN is
 * sent, so that nothing is missed after it.
 *
 * Notifications reach the client while it is in no transaction; what comes meanwhile waits here, up to a limit. What
 * the client notifies itself may come from its own server connection, in its place before ReadyForQuery, and then the
 * hub's copy of it is dropped.
 */
import { Fault } from "../base/fault.ts";
import type { ChannelListener, NotificationHub } from "../pool/notificationHub.ts";
import { notificationResponse } from "../wire/backendWriters.ts";
import type { ClientSide } from "./clientSide.ts";

/** A client that does not read is given up when so much waits for it. */
const WAITING_BYTES_MAX = 8 * 1024 * 1024;
/** How many notifications the hub may still owe that the client has had. */
const OWN_MAX = 10_000;

export interface ChannelsHost {
  readonly client: ClientSide;
  /** Whether the client is in no transaction, and no answer is under way. */
  readonly isQuiet: boolean;
  /** The client for which the backend `pid` of `shard` notifies, as clients know it; else the pid itself. */
  notifierOf(shard: number, pid: number): number;
}

interface Subscription extends ChannelListener {
  readonly shard: number;
  readonly channel: string;
}

interface Change {
  readonly kind: "listen" | "unlisten";
  /** Of a channel; null is every one. */
  readonly key: string | null;
  readonly group: number;
}

interface Waiting {
  readonly key: string;
  readonly payload: string;
  readonly message: Buffer;
}

const keyOf = (shard: number, channel: string): string => `${shard} ${channel}`;

export class ClientChannels {
  readonly #host: ChannelsHost;
  readonly #hubs: readonly NotificationHub[];
  /** All that is heard, committed or not yet. */
  readonly #subscriptions = new Map<string, Subscription>();
  #committed: ReadonlySet<string> = new Set();
  #changes: Change[] = [];
  /** How often the hub still owes what the client has had from its own connection. */
  readonly #own = new Map<string, number>();
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  /** The client has not taken what was written. */
  #isBehind = false;

  constructor(host: ChannelsHost, hubs: readonly NotificationHub[]) {
    this.#host = host;
    this.#hubs = hubs;
  }

  isListening(shard: number, channel: string): boolean {
    return this.#subscriptions.has(keyOf(shard, channel));
  }

  /** The channels of `shard` that are heard. */
  channelsOf(shard: number): readonly string[] {
    const all = [...this.#subscriptions.values()];
    return all.filter((one) => one.shard === shard).map(({ channel }) => channel);
  }

  /** Begins to hear `channel`, whose LISTEN is to be sent; rejects with a Fault. */
  async listen(shard: number, channel: string): Promise<void> {
    const subscription: Subscription = {
      shard,
      channel,
      onNotification: (pid, _channel, payload) => this.#take(shard, pid, channel, payload),
    };
    const key = keyOf(shard, channel);
    this.#subscriptions.set(key, subscription);
    try {
      await this.#hubs[shard]!.listen(channel, subscription);
    } catch (error) {
      this.#subscriptions.delete(key);
      throw error;
    }
    if (!this.#subscriptions.has(key)) this.#hubs[shard]!.unlisten(channel, subscription);
  }

  /** LISTEN is sent with group `group` of the client's. */
  noteListen(shard: number, channel: string, group = 0): void {
    this.#changes.push({ kind: "listen", key: keyOf(shard, channel), group });
  }

  /** The same for UNLISTEN; null is every channel. The shard is the first. */
  noteUnlisten(channel: string | null, group = 0): void {
    this.#changes.push({ kind: "unlisten", key: channel === null ? null : keyOf(0, channel), group });
  }

  get hasChanges(): boolean {
    return this.#changes.length > 0;
  }

  /** The transaction that ends with group `group` committed, or did not. */
  settle(isCommitted: boolean, group = 0): void {
    if (this.#changes.length === 0) return;
    const committed = new Set(this.#committed);
    const later = this.#changes.filter((change) => change.group > group);
    for (const change of isCommitted ? this.#changes : []) {
      if (change.group > group) continue;
      if (change.key === null) committed.clear();
      else if (change.kind === "listen") committed.add(change.key);
      else committed.delete(change.key);
    }
    this.#committed = committed;
    this.#changes = later;
    this.#dropAllBut(new Set([...committed, ...later.map(({ key }) => key)]));
  }

  close(): void {
    this.#changes = [];
    this.#dropAllBut(new Set());
  }

  /** Sends what waits, if the client may have it now. */
  flush(): void {
    if (this.#waiting.length === 0 || this.#isBehind || !this.#host.isQuiet) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const { message } of waiting) this.#host.client.outbox.put(message);
    this.#isBehind = !this.#host.client.outbox.flush();
  }

  onClientDrain(): void {
    this.#isBehind = false;
    this.flush();
  }

  /** The client's own notification came on its server connection: what it is told now, or null. */
  takeOwn(shard: number, pid: number, channel: string, payload: string): Buffer | null {
    const key = keyOf(shard, channel);
    if (!this.#subscriptions.has(key) || this.#own.size >= OWN_MAX) return null;
    const at = this.#waiting.findIndex((one) => one.key === key && one.payload === payload);
    const known = `${key}\0${payload}`;
    if (at >= 0) this.#waiting.splice(at, 1);
    else this.#own.set(known, (this.#own.get(known) ?? 0) + 1);
    return notificationResponse(pid, channel, payload);
  }

  #dropAllBut(keys: ReadonlySet<string | null>): void {
    for (const [key, subscription] of this.#subscriptions) {
      if (keys.has(key)) continue;
      this.#subscriptions.delete(key);
      this.#hubs[subscription.shard]!.unlisten(subscription.channel, subscription);
    }
    this.#waiting = this.#waiting.filter(({ key }) => keys.has(key));
  }

  #take(shard: number, pid: number, channel: string, payload: string): void {
    const { client } = this.#host;
    if (client.isOver || this.#hadOwn(keyOf(shard, channel), payload)) return;
    const message = notificationResponse(this.#host.notifierOf(shard, pid), channel, payload);
    this.#waiting.push({ key: keyOf(shard, channel), payload, message });
    this.#waitingBytes += message.length;
    if (this.#waitingBytes > WAITING_BYTES_MAX) {
      this.close();
      return client.refuse(new Fault("session.notifications_full"));
    }
    this.flush();
  }

  #hadOwn(key: string, payload: string): boolean {
    const known = `${key}\0${payload}`;
    const count = this.#own.get(known) ?? 0;
    if (count > 1) this.#own.set(known, count - 1);
    else this.#own.delete(known);
    return count > 0;
  }
}
