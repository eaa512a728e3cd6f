/**
 * What one client listens to.
 *
 * LISTEN and UNLISTEN count when their transaction has committed, as with Postgres: what they say is noted, with the
 * group of answers it belongs to, and `settle` makes it so or forgets it. A channel is heard from before its LISTEN is
 * sent, so that nothing is missed after it.
 *
 * Notifications reach the client while it is in no transaction; what comes meanwhile waits here, up to a limit. What
 * the client notifies itself comes from its own server connection where that listens too, in its place before
 * ReadyForQuery, and the hub's copy of it is dropped.
 */
import { Fault } from "../base/fault.ts";
import type { ChannelListener, NotificationHub } from "../pool/notificationHub.ts";
import { notificationResponse } from "../wire/backendWriters.ts";
import type { ClientSide } from "./clientSide.ts";
import { asRefusal } from "./refusal.ts";
import type { Rest } from "./rest.ts";
import type { Session } from "./session.ts";

/** A client that does not read is given up when so much waits for it. */
const WAITING_BYTES_MAX = 8 * 1024 * 1024;

export interface ChannelsHost extends Session {
  readonly client: ClientSide;
  /** The client for which the backend `pid` of `shard` notifies, as clients know it; else the pid itself. */
  notifierOf(shard: number, pid: number): number;
  /** Whether the backend `pid` of `shard` notifies for this client, and tells it so itself. */
  hearsItself(shard: number, pid: number, channel: string): boolean;
}

interface ChannelsParts {
  readonly hubs: readonly NotificationHub[];
  readonly rest: Rest;
}

interface Subscription extends ChannelListener {
  readonly shard: number;
  readonly channel: string;
  /** Whether the hub listens for it; what comes before that was notified before its LISTEN. */
  isLive: boolean;
}

/** A channel of a shard. */
export interface ShardChannel {
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
  readonly message: Buffer;
}

const keyOf = (shard: number, channel: string): string => `${shard} ${channel}`;

export class ClientChannels {
  readonly #host: ChannelsHost;
  /** In the order of the shards. */
  readonly hubs: readonly NotificationHub[];
  readonly #rest: Rest;
  /** All that is heard, committed or not yet. */
  readonly #subscriptions = new Map<string, Subscription>();
  #committed: ReadonlySet<string> = new Set();
  #changes: Change[] = [];
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  /** The client has not taken what was written. */
  #isBehind = false;
  /** Set while another process may still be writing to the client. */
  #isHeld = false;
  /** Shards of which another process tells the client, and what came from there. */
  readonly #deaf = new Set<number>();
  #late: Waiting[] = [];

  constructor(host: ChannelsHost, { hubs, rest }: ChannelsParts) {
    this.#host = host;
    this.hubs = hubs;
    this.#rest = rest;
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
      isLive: false,
      onNotification: (pid, _channel, payload) => this.#take(subscription, pid, payload),
    };
    const key = keyOf(shard, channel);
    this.#subscriptions.set(key, subscription);
    try {
      await this.hubs[shard]!.listen(channel, subscription);
    } catch (error) {
      this.#subscriptions.delete(key);
      throw error;
    }
    subscription.isLive = true;
    if (this.#subscriptions.get(key) !== subscription) this.hubs[shard]!.unlisten(channel, subscription);
  }

  /** The same for a client that is ended if it cannot be. */
  async listenOrRefuse(shard: number, channel: string): Promise<void> {
    try {
      await this.listen(shard, channel);
    } catch (error) {
      const refusal = asRefusal(error);
      if (refusal instanceof Fault) this.#host.client.refuse(refusal);
    }
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

  /** The channels that are listened to, if all is settled: nothing waits, nothing is to be decided. Else null. */
  get settled(): readonly ShardChannel[] | null {
    const all = [...this.#subscriptions.values()];
    const isSettled = all.every(({ isLive }) => isLive) && all.length === this.#committed.size;
    if (!isSettled || this.#changes.length > 0 || this.#waiting.length > 0 || this.#isBehind) return null;
    return all.map(({ shard, channel }) => ({ shard, channel }));
  }

  /** Listens to what the client listened to in another process, and sends it nothing until `go`; rejects with a Fault. */
  async restore(channels: readonly ShardChannel[]): Promise<void> {
    this.#isHeld = true;
    for (const { shard, channel } of channels) await this.listen(shard, channel);
    this.#committed = new Set(channels.map(({ shard, channel }) => keyOf(shard, channel)));
  }

  /** What comes from `shard` from now on is told by another process, unless `resume` comes. */
  deafen(shard: number): void {
    this.#deaf.add(shard);
  }

  /** What came from `shard` up to now was told by another process. */
  forgetWaiting(shard: number): void {
    this.#keepWaiting(({ key }) => this.#subscriptions.get(key)?.shard !== shard);
  }

  /** The client is this process's, perhaps again. */
  resume(): void {
    this.#deaf.clear();
    this.#waiting.push(...this.#late.splice(0));
    this.#isHeld = false;
    this.flush();
  }

  /** Something of the client's has ended: sends what waits, if the client may have it now. */
  flush(): void {
    if (this.#rest.isWatched) this.#rest.note(this.#host);
    if (this.#waiting.length === 0 || this.#isBehind || this.#isHeld || !this.#host.isQuiet) return;
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
  ownNotification(shard: number, pid: number, channel: string, payload: string): Buffer | null {
    return this.isListening(shard, channel) ? notificationResponse(pid, channel, payload) : null;
  }

  #dropAllBut(keys: ReadonlySet<string | null>): void {
    for (const [key, subscription] of this.#subscriptions) {
      if (keys.has(key)) continue;
      this.#subscriptions.delete(key);
      this.hubs[subscription.shard]!.unlisten(subscription.channel, subscription);
    }
    this.#keepWaiting(({ key }) => keys.has(key));
  }

  #keepWaiting(isKept: (one: Waiting) => boolean): void {
    this.#waiting = this.#waiting.filter(isKept);
    this.#waitingBytes = this.#waiting.reduce((bytes, { message }) => bytes + message.length, 0);
  }

  #take({ shard, channel, isLive }: Subscription, pid: number, payload: string): void {
    const { client } = this.#host;
    if (!isLive || client.isOver || this.#host.hearsItself(shard, pid, channel)) return;
    const message = notificationResponse(this.#host.notifierOf(shard, pid), channel, payload);
    const queue = this.#deaf.has(shard) ? this.#late : this.#waiting;
    queue.push({ key: keyOf(shard, channel), message });
    this.#waitingBytes += message.length;
    if (this.#waitingBytes > WAITING_BYTES_MAX) {
      this.close();
      return client.refuse(new Fault("session.notifications_full"));
    }
    this.flush();
  }
}
