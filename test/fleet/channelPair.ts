/** Both ends of a channel in one process, with what is said cloned as between two. */
import { Channel, type Envelope } from "../../src/fleet/channel.ts";

export function channelPair(): readonly [Channel, Channel] {
  const pair: [Channel, Channel] = [
    new Channel((sent, handle) => to(1, sent, handle)),
    new Channel((sent, handle) => to(0, sent, handle)),
  ];
  const to = (end: 0 | 1, sent: Envelope, handle: object | undefined): void => {
    const copy = structuredClone(sent);
    queueMicrotask(() => pair[end].receive(copy, handle));
  };
  return pair;
}
