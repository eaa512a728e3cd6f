// Pure.
/** The configured tables, found by the names that statements use. */

import type { ShardId } from "../base/brands.ts";
import { Fault } from "../base/fault.ts";
import type { KeyType, TableConfig } from "../config/config.ts";
import { hashOfText } from "./keyValue.ts";
import { shardOfHash } from "./partitionHash.ts";
import type { KeySource, ShardIndex } from "./plan.ts";

/** A table as the planner sees it; `catalog` is the system's own. */
export type Table = TableConfig | { readonly kind: "catalog" };

export class Tables {
  readonly #shards: readonly ShardId[];
  readonly #byName = new Map<string, TableConfig[]>();
  /** The type of all shard keys, if they have one in common. */
  readonly commonKeyType: KeyType | null;

  constructor(shards: readonly ShardId[], tables: readonly TableConfig[]) {
    this.#shards = shards;
    for (const table of tables) {
      this.#byName.set(table.name, [...(this.#byName.get(table.name) ?? []), table]);
    }
    const keyTypes = new Set(tables.map((table) => (table.kind === "sharded" ? table.keyType : null)));
    keyTypes.delete(null);
    const [only] = keyTypes;
    this.commonKeyType = keyTypes.size === 1 ? (only ?? null) : null;
  }

  get shardCount(): number {
    return this.#shards.length;
  }

  /** The table that `schema` (empty: none given) and `name` mean; throws `route.unknown_table`. */
  find(schema: string, name: string): Table {
    if (schema === "pg_catalog" || schema === "information_schema") return { kind: "catalog" };
    const named = this.#byName.get(name) ?? [];
    const matching = schema === "" ? named : named.filter((table) => table.schema === schema);
    if (matching.length === 1) return matching[0]!;
    if (matching.length === 0 && schema === "" && name.startsWith("pg_")) return { kind: "catalog" };
    const full = schema === "" ? name : `${schema}.${name}`;
    if (matching.length > 1) {
      throw new Fault("route.unknown_table", {
        message: `table "${full}" is ambiguous`,
        detail: `The routing configuration has it in ${matching.map((table) => table.schema).join(" and ")}.`,
        hint: "Name the schema in the statement.",
      });
    }
    throw new Fault("route.unknown_table", {
      message: `table "${full}" is not in the routing configuration`,
      detail: "pgxa does not know which shards have its rows.",
      hint: 'Add it to "tables" in the configuration, or say where the statement goes: /* pgxa: shard=NAME */.',
    });
  }

  /** The shard of that name; a Fault if there is none. */
  shardByName(name: string): ShardIndex | Fault {
    const index = this.#shards.indexOf(name as ShardId);
    if (index >= 0) return index;
    return new Fault("route.unknown_shard", {
      message: `there is no shard "${name}"`,
      hint: `The shards are ${this.#shards.join(", ")}.`,
    });
  }

  /** The shard of a key value of the type that all sharded tables share; a Fault if it cannot be told. */
  shardByKey(text: string): ShardIndex | Fault {
    if (this.commonKeyType === null) {
      return new Fault("route.unsupported", {
        message: "a key alone does not say where the statement goes",
        detail: "The sharded tables have keys of different types, or there are none.",
        hint: "Name the shard instead: pgxa.shard.",
      });
    }
    try {
      return this.shardOfText(this.commonKeyType, text);
    } catch (error) {
      if (error instanceof Fault) return error;
      throw error;
    }
  }

  shardOfText(type: KeyType, text: string): ShardIndex {
    return shardOfHash(hashOfText(type, text), this.shardCount);
  }

  literalKey(type: KeyType, text: string): KeySource {
    return { kind: "literal", shard: this.shardOfText(type, text) };
  }
}
