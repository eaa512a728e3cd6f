/**
 * The entry of a load process: a child that does what its parent orders and reports back.
 *
 * Load runs in processes of its own, so that its processor time is kept apart from pgxa's and one busy event
 * loop does not slow the other.
 */
import { conserve } from "./conserveLoad.ts";
import type { LoadOrder, LoadReply } from "./loadProcess.ts";
import type { TransferClient } from "./transferClients.ts";
import { openClients, runClients, type TransferOrder } from "./transferLoad.ts";

interface Session {
  readonly order: TransferOrder;
  readonly clients: readonly TransferClient[];
}

/** The clients opened by the first order stay for the next. */
const session: { current: Session | null } = { current: null };

async function obey(order: LoadOrder): Promise<LoadReply> {
  switch (order.kind) {
    case "open":
      session.current = { order: order.transfers, clients: await openClients(order.transfers) };
      return { kind: "opened" };
    case "run": {
      const { clients, order: opened } = session.current!;
      return {
        kind: "measured",
        measurement: await runClients(clients, opened.accounts, order.seconds, order.ending),
      };
    }
    case "conserve":
      return { kind: "conserved", report: await conserve(order.order) };
  }
}

process.on("message", (order: LoadOrder) => {
  obey(order)
    .catch((error: Error): LoadReply => ({ kind: "failed", message: error.message }))
    .then((reply) => process.send!(reply));
});
// The parent is gone: nobody is left to report to.
process.on("disconnect", () => process.exit(0));
