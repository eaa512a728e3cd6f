// Pure.
/**
 * The wait-for graph and what in it is deadlocked.
 *
 * It is an AND-OR graph. Whoever waits for locks needs *all* their holders to go; whoever waits for a connection of a
 * pool needs *any* holder of one to go. What does not appear as waiting goes by itself, sooner or later.
 *
 * Reduction finds deadlock in both kinds: strike everyone who does not wait, then again and again everyone whose wait
 * is satisfied by those struck. What remains can never go. (Knapp, "Deadlock detection in distributed databases",
 * ACM Computing Surveys 19(4), 1987, on the AND-OR model.)
 */

export type NodeId = string;

export interface Wait {
  /** `all`: until every one of `on` is gone; `any`: until one of them is. */
  readonly kind: "all" | "any";
  readonly on: readonly NodeId[];
}

/** Who waits for whom. Who is only waited for need not appear. */
export type WaitForGraph = ReadonlyMap<NodeId, Wait>;

/** A deadlock: its members, who gives way, and one circle of waits through that one. */
export interface Deadlock {
  readonly members: ReadonlySet<NodeId>;
  /** Null if none is chosen. */
  readonly victim: NodeId | null;
  /** Each waits for the next, the last for the first; begins with the victim. */
  readonly circle: readonly NodeId[];
}

/** Those who can never go by themselves: deadlocked, or waiting for the deadlocked. In time linear in the edges. */
export function findStuck(graph: WaitForGraph): ReadonlySet<NodeId> {
  const missing = new Map<NodeId, number>();
  const waiters = new Map<NodeId, NodeId[]>();
  const struck: NodeId[] = [];
  for (const [node, wait] of graph) {
    const on = new Set(wait.on);
    missing.set(node, wait.kind === "all" ? on.size : Math.min(1, on.size));
    if (on.size === 0) struck.push(node);
    for (const target of on) {
      const known = waiters.get(target);
      if (known !== undefined) known.push(node);
      else {
        waiters.set(target, [node]);
        if (!graph.has(target)) struck.push(target);
      }
    }
  }
  const stuck = new Set(graph.keys());
  for (let node = struck.pop(); node !== undefined; node = struck.pop()) {
    stuck.delete(node);
    for (const waiter of waiters.get(node) ?? []) {
      const left = missing.get(waiter)! - 1;
      missing.set(waiter, left);
      if (left === 0) struck.push(waiter);
    }
  }
  return stuck;
}

/**
 * Every deadlock in the graph, each with the victim that `choose` takes among its members: broken one after the other
 * until nobody is stuck. Disjoint ones lose one victim each. One that `choose` leaves to others counts as broken by them,
 * so that those found behind it are deadlocks in any case.
 */
export function findDeadlocks(
  graph: WaitForGraph,
  choose: (members: ReadonlySet<NodeId>) => NodeId | null,
): readonly Deadlock[] {
  const found: Deadlock[] = [];
  const left = new Map(graph);
  for (;;) {
    const stuck = findStuck(left);
    if (stuck.size === 0) return found;
    for (const core of terminalComponents(left, stuck)) {
      const members = new Set(core);
      const victim = choose(members);
      found.push({ members, victim, circle: circleFrom(left, members, victim ?? core[0]!) });
      for (const node of victim === null ? core : [victim]) left.delete(node);
    }
  }
}

/**
 * Whether any other of the deadlocked `members` could go if `node` did. One who only stands in a queue in front of others
 * is deadlocked with them, and holds nothing together.
 */
export function isOfUse(node: NodeId, members: ReadonlySet<NodeId>, graph: WaitForGraph): boolean {
  const others = [...members].filter((member) => member !== node);
  const left = new Map(
    others.map((member) => {
      const { kind, on } = graph.get(member)!;
      return [member, { kind, on: on.filter((to) => members.has(to)) }];
    }),
  );
  return findStuck(left).size < left.size;
}

/**
 * The parts of the stuck whose members wait only for each other, as far as they wait for the stuck: where breaking has
 * to begin, since the others wait for these. (Tarjan's strongly connected components, without recursion.)
 */
function terminalComponents(graph: WaitForGraph, stuck: ReadonlySet<NodeId>): readonly (readonly NodeId[])[] {
  const targets = (node: NodeId): readonly NodeId[] => graph.get(node)!.on.filter((to) => stuck.has(to));
  const order = new Map<NodeId, number>();
  const low = new Map<NodeId, number>();
  const componentOf = new Map<NodeId, number>();
  const components: NodeId[][] = [];
  const open: NodeId[] = [];
  for (const root of stuck) {
    if (order.has(root)) continue;
    const path: { readonly node: NodeId; readonly to: readonly NodeId[]; next: number }[] = [];
    const enter = (node: NodeId): void => {
      order.set(node, order.size);
      low.set(node, order.get(node)!);
      open.push(node);
      path.push({ node, to: targets(node), next: 0 });
    };
    enter(root);
    while (path.length > 0) {
      const step = path.at(-1)!;
      const to = step.to[step.next];
      step.next += 1;
      if (to === undefined) {
        path.pop();
        const parent = path.at(-1);
        if (parent !== undefined) lower(low, parent.node, low.get(step.node)!);
        if (low.get(step.node) === order.get(step.node))
          components.push(close(step.node, open, componentOf, components.length));
      } else if (!order.has(to)) enter(to);
      else if (!componentOf.has(to)) lower(low, step.node, order.get(to)!);
    }
  }
  return components.filter((component, index) =>
    component.every((node) => targets(node).every((to) => componentOf.get(to) === index)),
  );
}

const lower = (low: Map<NodeId, number>, node: NodeId, value: number): void => {
  if (value < low.get(node)!) low.set(node, value);
};

function close(root: NodeId, open: NodeId[], componentOf: Map<NodeId, number>, index: number): NodeId[] {
  const component = open.splice(open.lastIndexOf(root));
  for (const node of component) componentOf.set(node, index);
  return component;
}

/** A shortest circle of waits from `start` back to it, within `members`. */
function circleFrom(graph: WaitForGraph, members: ReadonlySet<NodeId>, start: NodeId): readonly NodeId[] {
  const cameFrom = new Map<NodeId, NodeId>();
  const queue: NodeId[] = [start];
  for (const node of queue) {
    for (const to of graph.get(node)!.on) {
      if (to === start) return pathTo(node, cameFrom);
      if (!members.has(to) || cameFrom.has(to)) continue;
      cameFrom.set(to, node);
      queue.push(to);
    }
  }
  return [start]; // not reached: every member of a component lies on a circle
}

function pathTo(node: NodeId, cameFrom: ReadonlyMap<NodeId, NodeId>): readonly NodeId[] {
  const path: NodeId[] = [];
  for (let at: NodeId | undefined = node; at !== undefined; at = cameFrom.get(at)) path.push(at);
  return path.reverse();
}
