/** What a worker does for console and metrics of all: for compose.ts. */
import type { Operations } from "../admin/operations.ts";
import { KNOWN_TO_EACH, takeFacts } from "../admin/workers/facts.ts";
import { MergedSources } from "../admin/workers/mergedSources.ts";
import { carryOut, databaseOf } from "../admin/workers/orders.ts";
import { ownFamilies } from "../admin/workers/scraping.ts";
import { SharedOperations } from "../admin/workers/sharedOperations.ts";
import { ALL_FACTS, CARRY_OUT, OWN_FACTS } from "../admin/workers/topics.ts";
import type { Membership } from "../fleet/crew.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { ConsoleView } from "./consoleView.ts";
import type { Operator } from "./operator.ts";

export interface PartOfAll {
  readonly view: ConsoleView;
  readonly metrics: Metrics;
}

/** Answers its parent from now on; returns what its console is to perform operators' orders by. */
export function takePart(
  { parent }: Membership,
  { view, metrics }: PartOfAll,
  operator: Operator,
): Operations {
  const from = { sources: view, counted: () => ownFamilies(metrics.registry) };
  parent.serve(OWN_FACTS, (names) => takeFacts(from, names));
  parent.serve(CARRY_OUT, ({ order, isKnown }) => {
    const database = databaseOf(order);
    if (isKnown && database !== null) operator.expect(database);
    return carryOut(operator, order);
  });
  view.everywhere = async (names) => {
    const asked = names.filter((name) => !KNOWN_TO_EACH.has(name));
    const [own, all] = await Promise.all([
      takeFacts(
        from,
        names.filter((name) => KNOWN_TO_EACH.has(name)),
      ),
      asked.length === 0 ? {} : parent.ask(ALL_FACTS, asked),
    ]);
    return new MergedSources({ ...own, ...all }, () => view.wallMs());
  };
  return new SharedOperations(operator, parent);
}
