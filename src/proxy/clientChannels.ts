/**
 * What one client listens to.
 *
 * LISTEN and UNLISTEN count when their transaction has committed, as with Postgres: what they say is noted, with the
 * group of answers it belongs to, and `settle` makes it so or forgets it. A channel is heard from before its LISTEN is
 * sent, so that nothing is missed after it.
 *
 * Notifications reach the client while it is in no transaction; what comes meanwhile waits here, up to a limit. What
 * the client notifies itself comes from its own server connection where that listens too, in its place before
 * ReadyForQuery, and from the hub; it is told once.
 *
 * Invariant: a client is told everything in the order in which the shard committed it, whether it came from the hub or
 * from the client's own connection. The hub's copy of an own one says what comes before it; where the connection is
 * faster than the hub, what the connection says is kept until that copy is there.
 */
import { detach } from "../base/detach.ts";
import { Fault } from "../base/fault.ts";
import type { ChannelListener, NotificationHub } from "../pool/notificationHub.ts";
import type { ServerConnection } from "../pool/serverConnection.ts";
import type { Notification } from "../wire/backendReaders.ts";
import { notificationResponse } from "../wire/backendWriters.ts";
import type { ClientSide } from "./clientSide.ts";
import { isSame, NotificationQueue, type Teller, type Waiting } from "./notificationQueue.ts";
import { asRefusal } from "./refusal.ts";
import type { Rest } from "./rest.ts";
import type { Session } from "./session.ts";

/** A client that does not read is given up when so much waits for it. */
const WAITING_BYTES_MAX = 8 * 1024 * 1024;

export interface ChannelsHost extends Session {
  readonly client: ClientSide;
  /** The client for which the backend `pid` of `shard` notifies, as clients know it; else the pid itself. */
  notifierOf(shard: number, pid: number): number;
  /** The client's server connection, if it is the backend `pid` and tells what is notified there. */
  ownConnection(pid: number): ServerConnection | null;
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

interface Heard {
  readonly key: string;
  readonly message: Buffer;
}

/** What a connection told before the hub did. */
interface Owed {
  /** The backend's. */
  readonly pid: number;
  readonly message: Buffer;
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
  /** Made for who listens only. */
  #waiting: NotificationQueue | null = null;
  /** The client's stream keeps these, and what follows them. */
  #owed: Owed[] = [];
  #isCatchingUp = false;
  /** The client has not taken what was written. */
  #isBehind = false;
  /** Set while another process may still be writing to the client. */
  #isHeld = false;
  /** Shards of which another process tells the client, and what came from there. */
  readonly #deaf = new Set<number>();
  #late: Heard[] = [];
  #lateBytes = 0;

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
    this.#owed = [];
    this.#dropAllBut(new Set());
  }

  /** The channels that are listened to, if all is settled: nothing waits, nothing is to be decided. Else null. */
  get settled(): readonly ShardChannel[] | null {
    const all = [...this.#subscriptions.values()];
    const isSettled = all.every(({ isLive }) => isLive) && all.length === this.#committed.size;
    if (!isSettled || this.#changes.length > 0 || this.#isBehind) return null;
    if (this.#waiting?.isEmpty === false || this.#owed.length > 0) return null;
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
    this.#waiting?.keep((key) => this.#subscriptions.get(key)?.shard !== shard);
  }

  /** The client is this process's, perhaps again. */
  resume(): void {
    this.#deaf.clear();
    for (const { key, message } of this.#late.splice(0)) this.#waiting?.push(key, message, "hub");
    this.#lateBytes = 0;
    this.#isHeld = false;
    this.flush();
  }

  /** Something of the client's has ended: sends what waits, if the client may have it now. */
  flush(): void {
    if (this.#rest.isWatched) this.#rest.note(this.#host);
    if (this.#waiting === null || this.#waiting.isEmpty || this.#owed.length > 0) return;
    if (this.#isBehind || this.#isHeld || !this.#host.isQuiet) return;
    for (const message of this.#told(this.#waiting.take())) this.#host.client.outbox.put(message);
    this.#isBehind = !this.#host.client.outbox.flush();
  }

  onClientDrain(): void {
    this.#isBehind = false;
    this.flush();
  }

  /** The client's own notification came on its server connection: what the client, `notifier`, is told now, or null. */
  ownNotification(shard: number, notifier: number, { pid, channel, payload }: Notification): Buffer | null {
    if (!this.isListening(shard, channel)) return null;
    const message = notificationResponse(notifier, channel, payload);
    if (this.#owed.length === 0) {
      const before = this.#waiting?.cut(keyOf(shard, channel), message) ?? null;
      if (before !== null) return Buffer.concat([...this.#told(before), message]);
    }
    this.#owed.push({ pid, message });
    this.#host.client.stream.keep(message);
    this.#host.ownConnection(pid)?.pauseReading(); // until the stream drains
    if (!this.#isCatchingUp) detach(this.#catchUp(shard), "the hub has passed it on, or lost its session");
    return null;
  }

  /** Waits for the hub; a copy that it still has not passed on was lost with its session. */
  async #catchUp(shard: number): Promise<void> {
    this.#isCatchingUp = true;
    while (this.#owed.length > 0) {
      const last = this.#owed.at(-1)!;
      await this.hubs[shard]!.settle();
      this.#tellOwed(this.#owed.indexOf(last));
    }
    this.#isCatchingUp = false;
  }

  /** Tells what came before the own notifications up to `index`, and these. */
  #tellOwed(index: number): void {
    if (index < 0) return;
    this.#owed.splice(0, index + 1);
    const { stream, isOver } = this.#host.client;
    if (!isOver) stream.release(this.#told(this.#waiting?.take() ?? []), this.#owed[0]?.message ?? null);
  }

  #told(waiting: readonly Waiting[]): readonly Buffer[] {
    const messages = waiting.flatMap(({ message }) => message ?? []);
    // A connection did not tell what only it has.
    if (messages.length < waiting.length) this.#host.client.refuse(new Fault("session.notifications_full"));
    return messages;
  }

  #dropAllBut(keys: ReadonlySet<string | null>): void {
    for (const [key, subscription] of this.#subscriptions) {
      if (keys.has(key)) continue;
      this.#subscriptions.delete(key);
      this.hubs[subscription.shard]!.unlisten(subscription.channel, subscription);
    }
    this.#waiting?.keep((key) => keys.has(key));
  }

  #take({ shard, channel, isLive }: Subscription, pid: number, payload: string): void {
    const { client } = this.#host;
    if (!isLive || client.isOver) return;
    const key = keyOf(shard, channel);
    const message = notificationResponse(this.#host.notifierOf(shard, pid), channel, payload);
    const owedAt = this.#owed.findIndex((own) => own.pid === pid && isSame(own.message, message));
    if (owedAt >= 0) return this.#tellOwed(owedAt);
    this.#waiting ??= new NotificationQueue();
    if (this.#deaf.has(shard)) {
      this.#late.push({ key, message });
      this.#lateBytes += message.length;
    } else this.#waiting.push(key, message, this.#tellerOf(pid, channel));
    if (this.#waiting.bytes + this.#lateBytes > WAITING_BYTES_MAX) {
      this.close();
      return client.refuse(new Fault("session.notifications_full"));
    }
    this.flush();
  }

  #tellerOf(pid: number, channel: string): Teller {
    const own = this.#host.ownConnection(pid);
    if (own === null) return "hub";
    return own.listening.has(channel) ? "connection" : "either";
  }
}
