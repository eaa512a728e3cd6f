/**
 * What one client listens to. Notifications reach it while it is in no transaction, as from Postgres; what comes
 * meanwhile waits here, up to a limit.
 */
import { Fault } from "../base/fault.ts";
import type { ChannelListener, NotificationHub } from "../pool/notificationHub.ts";
import { notificationResponse } from "../wire/backendWriters.ts";
import type { ClientSide } from "./clientSide.ts";

/** A client that does not read is given up when so much waits for it. */
const WAITING_BYTES_MAX = 8 * 1024 * 1024;

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

export class ClientChannels {
  readonly #host: ChannelsHost;
  readonly #hubs: readonly NotificationHub[];
  readonly #subscriptions = new Map<string, Subscription>();
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  /** The client has not taken what was written. */
  #isBehind = false;

  constructor(host: ChannelsHost, hubs: readonly NotificationHub[]) {
    this.#host = host;
    this.#hubs = hubs;
  }

  isListening(shard: number, channel: string): boolean {
    return this.#subscriptions.has(`${shard} ${channel}`);
  }

  /** Rejects with a Fault. */
  async listen(shard: number, channel: string): Promise<void> {
    const subscription: Subscription = {
      shard,
      channel,
      onNotification: (pid, _channel, payload) => this.#take(shard, pid, channel, payload),
    };
    this.#subscriptions.set(`${shard} ${channel}`, subscription);
    try {
      await this.#hubs[shard]!.listen(channel, subscription);
    } catch (error) {
      this.#subscriptions.delete(`${shard} ${channel}`);
      throw error;
    }
    if (!this.isListening(shard, channel)) this.#hubs[shard]!.unlisten(channel, subscription);
  }

  /** Null is every channel. */
  unlisten(channel: string | null): void {
    for (const [key, subscription] of this.#subscriptions) {
      if (channel !== null && subscription.channel !== channel) continue;
      this.#subscriptions.delete(key);
      this.#hubs[subscription.shard]!.unlisten(subscription.channel, subscription);
    }
  }

  /** Sends what waits, if the client may have it now. */
  flush(): void {
    if (this.#waiting.length === 0 || this.#isBehind || !this.#host.isQuiet) return;
    const messages = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const message of messages) this.#host.client.outbox.put(message);
    this.#isBehind = !this.#host.client.outbox.flush();
  }

  onClientDrain(): void {
    this.#isBehind = false;
    this.flush();
  }

  #take(shard: number, pid: number, channel: string, payload: string): void {
    const { client } = this.#host;
    if (client.isOver) return;
    const message = notificationResponse(this.#host.notifierOf(shard, pid), channel, payload);
    this.#waiting.push(message);
    this.#waitingBytes += message.length;
    if (this.#waitingBytes > WAITING_BYTES_MAX) {
      this.#waiting = [];
      this.unlisten(null);
      return client.refuse(new Fault("session.notifications_full"));
    }
    this.flush();
  }
}
