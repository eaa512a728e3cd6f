/** What happens to connections: between clients and pgxa, and between pgxa and the shards. */
import type { Fault, Scene, Strike } from "./fault.ts";
import { repeatedly } from "./fault.ts";
import type { Cut, Forwarder, Heal, Silence } from "./forwarder.ts";

type Side = "client" | "shard";

/** The links that are struck: one, or all of one pgxa on that side. One phase strikes a network once. */
function links({ stage, random, struck }: Scene, side: Side): readonly Forwarder[] {
  const part = `network of ${side}s`;
  if (struck.has(part)) return [];
  struck.add(part);
  const { front, back } = random.pick(stage.pgxas);
  if (side === "client") return [front];
  return random.chance(0.3) ? back : [random.pick(back)];
}

const namesOf = (chosen: readonly Forwarder[]): string => chosen.map(({ name }) => name).join(", ");

const cut =
  (side: Side) =>
  async (scene: Scene): Promise<Strike> => {
    const { random } = scene;
    const chosen = links(scene, side);
    const how: Cut = random.chance(0.5) ? "rst" : "fin";
    const share = random.chance(0.5) ? 1 : 0.4;
    const work = async (): Promise<void> => {
      for (const link of chosen) link.cut(how, () => Math.random() < share);
    };
    const stop = repeatedly(work, 250);
    return { what: `${namesOf(chosen)}, ${how}, ${share === 1 ? "all" : "some"}`, heal: stop };
  };

const silence =
  (side: Side, which: Silence) =>
  async (scene: Scene): Promise<Strike> => {
    const { random } = scene;
    const chosen = links(scene, side);
    const how: Heal = random.chance(0.6) ? "deliver" : "reset";
    const isWhole = random.chance(0.5);
    for (const link of chosen) link.silence(which, () => isWhole || Math.random() < 0.5, isWhole);
    const heal = async (): Promise<void> => {
      for (const link of chosen) link.heal(how);
    };
    const later = how === "deliver" ? "delivered late" : "reset";
    return { what: `${namesOf(chosen)}, ${isWhole ? "all" : "some"}, ${later}`, heal };
  };

async function slow(scene: Scene): Promise<Strike> {
  const { random } = scene;
  const chosen = links(scene, "shard");
  const delayMs = 20 + random.below(300);
  for (const link of chosen) link.slow(delayMs, () => true);
  const heal = async (): Promise<void> => {
    for (const link of chosen) link.heal("deliver");
  };
  return { what: `${namesOf(chosen)}, ${delayMs} ms`, heal };
}

const LONG: readonly [number, number] = [1_500, 5_000];

export const NETWORK_FAULTS: readonly Fault[] = [
  {
    name: "link-cut",
    about: "connections between pgxa and shards are cut (RST or FIN), again and again",
    lastsMs: [500, 3_000],
    strike: cut("shard"),
  },
  {
    name: "link-silent",
    about:
      "between pgxa and shards nothing arrives in either direction; later it does, or the connection is reset",
    lastsMs: LONG,
    strike: silence("shard", "both"),
  },
  {
    name: "link-requests",
    about: "what pgxa sends to shards does not arrive, until it does after all, or the connection is reset",
    lastsMs: LONG,
    strike: silence("shard", "requests"),
  },
  {
    name: "link-replies",
    about: "what shards answer does not arrive, until it does after all, or the connection is reset",
    lastsMs: LONG,
    strike: silence("shard", "replies"),
  },
  {
    name: "link-slow",
    about: "everything between pgxa and shards takes up to 320 ms longer",
    lastsMs: [1_000, 3_000],
    strike: slow,
  },
  {
    name: "client-cut",
    about: "connections of clients are cut (RST or FIN), again and again",
    lastsMs: [500, 3_000],
    strike: cut("client"),
  },
  {
    name: "client-silent",
    about: "between clients and pgxa nothing arrives in either direction",
    lastsMs: LONG,
    strike: silence("client", "both"),
  },
  {
    name: "client-requests",
    about: "what clients send does not arrive",
    lastsMs: LONG,
    strike: silence("client", "requests"),
  },
  {
    name: "client-replies",
    about: "what pgxa answers does not arrive",
    lastsMs: LONG,
    strike: silence("client", "replies"),
  },
];
