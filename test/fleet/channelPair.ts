/** Both ends of a channel in one process, with what is said cloned as between two. */
import { Channel, type Envelope } from "../../src/fleet/channel.ts";

export function channelPair(): readonly [Channel, Channel] {
  const pair: [Channel, Channel] = [new Channel((sent) => to(1, sent)), new Channel((sent) => to(0, sent))];
  const to = (end: 0 | 1, sent: Envelope): void => {
    const copy = structuredClone(sent);
    queueMicrotask(() => pair[end].receive(copy, undefined));
  };
  return pair;
}
