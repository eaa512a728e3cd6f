// Pure.
/**
 * All workers as one pgxa: `Shown` made of their merged facts, so that whatever shows one process shows them all.
 *
 * Who shows something says before which facts it takes (shows.ts); another one is not here.
 */
import { invariant } from "../../base/invariant.ts";
import type { WaitRow } from "../../deadlock/report.ts";
import { Buckets } from "../../observe/buckets.ts";
import { noTotals } from "../../observe/traffic.ts";
import { averagesOf } from "../statistics.ts";
import type * as view from "../views.ts";
import { withCheckouts } from "./checkouts.ts";
import type { ClientGroup, FactName, Facts, OperationFacts } from "./facts.ts";

const NOWHERE: view.EndpointView = { address: "", port: 0, localAddress: "", localPort: 0 };

export class MergedSources implements view.Shown {
  readonly #facts: Partial<Facts>;
  readonly #wallMs: () => number;

  constructor(facts: Partial<Facts>, wallMs: () => number) {
    this.#facts = facts;
    this.#wallMs = wallMs;
  }

  #get<Name extends FactName>(name: Name): Facts[Name] {
    const fact = this.#facts[name];
    invariant(fact !== undefined, `the fact "${name}" was asked for`);
    return fact as Facts[Name];
  }

  wallMs(): number {
    return this.#wallMs();
  }

  get version(): string {
    return this.#get("version");
  }

  // --- what was counted ---

  get traffic(): view.Shown["traffic"] {
    const facts = this.#facts;
    const get = (): Facts["refusals"] => this.#get("refusals");
    invariant(facts.traffic !== undefined, 'the fact "traffic" was asked for');
    return {
      databases: facts.traffic,
      get refusals() {
        return get();
      },
    };
  }

  get statistics(): view.Shown["statistics"] {
    const averages = this.#get("averages");
    return { of: (database) => averagesOf(averages.get(database) ?? noTotals()) };
  }

  get lockWaits(): Buckets {
    return this.#get("lockWaits") ?? new Buckets();
  }

  planCache = (): view.PlanCacheView => this.#get("planCache");
  commits = (): view.CommitView | null => this.#get("commits");

  // --- clients and connections ---

  clients(): readonly view.ClientView[] {
    const { clients, clientGroups } = this.#facts;
    return clients ?? (clientGroups === undefined ? this.#get("clients") : clientGroups.flatMap(membersOf));
  }

  databases(): readonly view.DatabaseView[] {
    const databases = this.#get("databases");
    const { checkouts } = this.#facts;
    return checkouts === undefined ? databases : withCheckouts(databases, checkouts);
  }

  handshakes = (): number => this.#get("handshakes");
  servers = (): readonly view.ServerView[] => this.#get("servers");
  users = (): readonly view.UserView[] => this.#get("users");
  pins = (): readonly view.PinView[] => this.#get("pins");

  // --- transactions ---

  transactions = (): readonly view.TransactionView[] => this.#get("transactions");
  decisions = (): readonly view.DecisionView[] => this.#get("decisions");
  inDoubt = (): readonly view.InDoubtView[] => this.#get("inDoubt");
  deadlocks = () => this.#get("deadlocks");
  heuristicVerdicts = (): Readonly<Record<string, string>> => this.#get("verdicts").of;

  heuristicCounts(): Readonly<Record<string, number>> {
    const { names, of } = this.#get("verdicts");
    const counts: Record<string, number> = Object.fromEntries(names.map((name) => [name, 0]));
    for (const verdict of Object.values(of)) counts[verdict] = (counts[verdict] ?? 0) + 1;
    return counts;
  }

  async heuristics(): Promise<readonly view.HeuristicView[]> {
    return this.#get("heuristics");
  }

  /** Whom it keeps waiting is told by the backend's number where it is another worker's client. */
  async inDoubtNow(): Promise<readonly view.InDoubtDetails[]> {
    const clientOf = this.#holders();
    return this.#get("inDoubtNow").map((one) => ({
      ...one,
      waiters: one.waiters.map((waiter) => {
        const client = clientOf(one.shard, Number(/^pid (\d+)$/.exec(waiter)?.[1]));
        return client === null ? waiter : `client ${client}`;
      }),
    }));
  }

  async waits(): Promise<readonly WaitRow[]> {
    return this.#get("waits");
  }

  /** Whose server connection it is, of a backend. */
  #holders(): (shard: string, pid: number) => number | null {
    const clients = new Map(
      this.servers().map(({ shard, pid, client }) => [`${shard} ${pid}`, client] as const),
    );
    return (shard, pid) => clients.get(`${shard} ${pid}`) ?? null;
  }

  // --- the configuration, and how it is ---

  shards = (): readonly view.ShardView[] => this.#get("shards");
  routes = (): readonly view.RouteView[] => this.#get("routes");
  options = (): readonly view.OptionView[] => this.#get("options");
  memory = (): view.MemoryView => this.#get("memory");
  workers = (): view.WorkersView => this.#get("workers");

  limits(): view.LimitsView {
    return this.#get("limits") ?? { clientsMax: 0, serverLifetimeMs: 0 };
  }

  get isDraining(): boolean {
    return this.#get("isDraining");
  }

  get operations(): view.OperationsView | null {
    const facts: OperationFacts | null = this.#get("operations");
    if (facts === null) return null;
    return {
      state: facts.state,
      isPaused: (database) => facts.paused.includes(database),
      isDisabled: (database) => facts.disabled.includes(database),
    };
  }
}

/** As many as there are, which nothing tells apart but how long they wait. */
const membersOf = ({ user, database, state, count, waitMs }: ClientGroup): readonly view.ClientView[] =>
  Array.from({ length: count }, () => ({
    pid: 0,
    user,
    database,
    state,
    endpoint: NOWHERE,
    applicationName: "",
    connectedAtMs: 0,
    requestedAtMs: 0,
    waitMs,
    statements: 0,
    link: null,
  }));
