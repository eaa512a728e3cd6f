/**
 * Bugs that are put in on purpose, to see that the explorer finds them: each by wrapping an interface of the real code, as
 * somebody might have written it.
 */
import type { DecisionLog } from "../../src/txn/decisionLog.ts";
import type { BranchConnection, ControlReply } from "../../src/txn/participant.ts";
import type { ShardControl } from "../../src/txn/shardControl.ts";
import { type Configuration, writers } from "./configurations.ts";

export interface Plant {
  readonly name: string;
  /** What somebody might have thought. */
  readonly thought: string;
  readonly configuration: Configuration;
}

/** `decide` answers before its record is durable, so the decision may come after phase 2. */
const decidesLater = (decisions: DecisionLog): DecisionLog => {
  const { decide } = decisions;
  decisions.decide = (gtrid, outcome, participants) => {
    const durable = decide.call(decisions, gtrid, outcome, participants);
    return outcome === "commit" ? Promise.resolve("commit") : durable;
  };
  return decisions;
};

function fencesNothing(control: ShardControl): void {
  control.fence = async () => {};
}

/** A prepared transaction that is not there must have been committed. */
function takesMissingForCommitted(control: ShardControl): void {
  control.evidence = async () => "committed";
  const { finish } = control;
  control.finish = async (verb, gid) => {
    const came = await finish.call(control, verb, gid);
    return came.kind === "missing" ? { kind: "done" } : came;
  };
}

/** No answer is an error like any other. */
function takesSilenceForNo(connection: BranchConnection): BranchConnection {
  return {
    shard: connection.shard,
    pid: connection.pid,
    backendStart: connection.backendStart,
    timeline: connection.timeline,
    get isInTransaction() {
      return connection.isInTransaction;
    },
    run: async (sql, timeoutMs) => refusedIfLost(await connection.run(sql, timeoutMs)),
    runBehind: async (first, values, sql, timeoutMs) =>
      refusedIfLost(await connection.runBehind(first, values, sql, timeoutMs)),
  };
}

function refusedIfLost(reply: ControlReply): ControlReply {
  if (reply.kind !== "lost") return reply;
  const error = { severity: "ERROR", sqlstate: "XX000", message: reply.reason };
  return { kind: "error", error, status: "I" };
}

export const PLANTS: readonly Plant[] = [
  {
    name: "decision after phase 2",
    thought: "The log is synced in the background; phase 2 need not wait for it.",
    configuration: {
      name: "two participants, file log, one crash",
      world: {
        ...{ shards: 2, processes: ["p"], log: "file", budget: { crash: 1 } },
        alterations: { decisions: decidesLater },
      },
      plan: writers(2),
    },
  },
  {
    name: "unconditional update",
    thought: "Whoever decides writes the row, whatever stands in it.",
    configuration: {
      name: "two participants, shard log, one lost connection",
      world: {
        ...{ shards: 2, processes: ["p", "q"], log: "shard", budget: { loss: 1 } },
        rules: { lastWriterWins: true },
      },
      plan: writers(2),
    },
  },
  {
    name: "missing fence",
    thought: "The connection is closed, so nothing can come of it any more.",
    configuration: {
      name: "two participants, file log, one lost connection",
      world: {
        ...{ shards: 2, processes: ["p"], log: "file", budget: { loss: 1 } },
        alterations: { control: fencesNothing },
      },
      plan: writers(2),
    },
  },
  {
    name: "42704 as success",
    thought: "It is not prepared any more, so somebody has committed it.",
    configuration: {
      name: "two participants, file log, one failover",
      world: {
        ...{ shards: 2, processes: ["p"], log: "file", budget: { failover: 1 } },
        alterations: { control: takesMissingForCommitted },
      },
      plan: writers(2),
    },
  },
  {
    name: "unknown as no",
    thought: "A shard that does not answer has not done it.",
    configuration: {
      name: "two participants, shard log, one lost connection",
      world: {
        ...{ shards: 2, processes: ["p", "q"], log: "shard", budget: { loss: 1 } },
        alterations: { connection: takesSilenceForNo },
      },
      plan: writers(2),
    },
  },
];
