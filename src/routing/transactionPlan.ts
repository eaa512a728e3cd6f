// Pure.
/** Transaction control: BEGIN and its characteristics, savepoints, the two ends. */
import { Fault } from "../base/fault.ts";
import type { Plan } from "./plan.ts";
import { type Fields, flag, integer, type Node, node, nodes, struct, text } from "./syntax.ts";

export function planTransaction(fields: Fields): Plan {
  const name = text(fields, "savepoint_name");
  const chain = flag(fields, "chain");
  const kind = text(fields, "kind");
  switch (kind) {
    case "TRANS_STMT_BEGIN":
    case "TRANS_STMT_START":
      return {
        kind: "begin",
        characteristics: renderCharacteristics(nodes(fields, "options")),
        tag: kind === "TRANS_STMT_BEGIN" ? "BEGIN" : "START TRANSACTION",
      };
    case "TRANS_STMT_COMMIT":
      return { kind: "commit", chain };
    case "TRANS_STMT_ROLLBACK":
      return { kind: "rollback", chain };
    case "TRANS_STMT_SAVEPOINT":
      return { kind: "savepoint", name };
    case "TRANS_STMT_RELEASE":
      return { kind: "release", name };
    case "TRANS_STMT_ROLLBACK_TO":
      return { kind: "rollbackTo", name };
    default:
      throw new Fault("session.unsupported", {
        message: "two-phase commit is pgxa's own affair",
        detail: "PREPARE TRANSACTION, COMMIT PREPARED and ROLLBACK PREPARED would interfere with it.",
        hint: "Use COMMIT: it is atomic over all shards.",
      });
  }
}

/** ` ISOLATION LEVEL SERIALIZABLE, READ ONLY` and the like; empty for none. */
export function renderCharacteristics(options: readonly Node[]): string {
  const parts = options.map(({ fields }) => characteristic(text(fields, "defname"), node(fields, "arg")));
  return parts.length === 0 ? "" : ` ${parts.join(", ")}`;
}

function characteristic(name: string, argument: Node | null): string {
  const fields = argument?.fields ?? {};
  const isOn = integer(struct(fields, "ival") ?? {}, "ival") !== 0;
  switch (name) {
    case "transaction_isolation":
      return `ISOLATION LEVEL ${text(struct(fields, "sval") ?? {}, "sval").toUpperCase()}`;
    case "transaction_read_only":
      return isOn ? "READ ONLY" : "READ WRITE";
    case "transaction_deferrable":
      return isOn ? "DEFERRABLE" : "NOT DEFERRABLE";
    default:
      throw new Fault("session.unsupported", {
        message: "this transaction characteristic is not supported with several shards",
        detail: "A snapshot belongs to one shard.",
      });
  }
}
