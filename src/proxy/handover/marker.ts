/**
 * The place in a shard's stream of notifications up to which the old process of an online restart tells a client, and
 * from which on the new one does.
 *
 * A shard tells all its listeners the same notifications in the same order. So one more, on a channel that only the two
 * processes listen to, divides them: nothing is lost, and nothing told twice. The new process sends it once it listens to
 * the client's channels.
 * https://www.postgresql.org/docs/current/sql-notify.html
 */
import type { Clock } from "../../base/environment.ts";
import { Fault } from "../../base/fault.ts";
import type { ChannelListener, NotificationHub } from "../../pool/notificationHub.ts";

const TIMEOUT_MS = 5_000;

export class Marker {
  readonly #name: string;
  readonly #hubs: readonly NotificationHub[];
  readonly #listeners: { readonly hub: NotificationHub; readonly listener: ChannelListener }[] = [];
  /** Resolves when it came from every shard. */
  #passed: Promise<unknown> = Promise.resolve();
  readonly #clock: Clock;

  constructor(name: string, hubs: readonly NotificationHub[], clock: Clock) {
    this.#name = name;
    this.#hubs = hubs;
    this.#clock = clock;
  }

  /** Listens for it on `shards`; `onPassed` is told of each where it has come by. Rejects with a Fault. */
  async listen(shards: readonly number[], onPassed: (shard: number) => void): Promise<void> {
    const passed = shards.map((shard) => {
      let resolve = (): void => {};
      const isPast = new Promise<void>((done) => {
        resolve = done;
      });
      const listener: ChannelListener = {
        onNotification() {
          onPassed(shard);
          resolve();
        },
      };
      this.#listeners.push({ hub: this.#hubs[shard]!, listener });
      return isPast;
    });
    this.#passed = Promise.all(passed);
    await Promise.all(this.#listeners.map(({ hub, listener }) => hub.listen(this.#name, listener)));
  }

  async send(): Promise<void> {
    await Promise.all(this.#listeners.map(({ hub }) => hub.notify(this.#name)));
  }

  /** Resolves when it has come by everywhere; rejects with a Fault if it has not for some seconds. */
  async passed(): Promise<void> {
    if (this.#listeners.length === 0) return;
    let stop = (): void => {};
    const late = new Promise<never>((_resolve, reject) => {
      const timer = this.#clock.after(TIMEOUT_MS, () => {
        reject(
          new Fault("session.listen_failed", { detail: "A notification of pgxa's own did not arrive." }),
        );
      });
      stop = () => timer.cancel();
    });
    try {
      await Promise.race([this.#passed, late]);
    } finally {
      stop();
    }
  }

  close(): void {
    for (const { hub, listener } of this.#listeners.splice(0)) hub.unlisten(this.#name, listener);
  }
}

/** The shards of `channels`, once each. */
export const shardsOf = (channels: readonly { readonly shard: number }[]): readonly number[] => [
  ...new Set(channels.map(({ shard }) => shard)),
];
