/**
 * pg_prepared_statements: a client sees its own statements under the names it gave them, and no other client's.
 *
 * On a server connection statements of many clients stand under names of pgxa's. In a text that reads the view, the
 * view is replaced by a query of it; and what the client has prepared and the connection lacks is prepared first.
 */
import type { ServerConnection } from "../pool/serverConnection.ts";
import { literal } from "../pool/settings.ts";
import { parse } from "../routing/parse.ts";
import { type Fields, integer, type Node, struct, text as textOf, walk } from "../routing/syntax.ts";

const VIEW = "pg_prepared_statements";
const MENTIONED = /pg_prepared_statements/i;
const WRITTEN = /^(?:"?pg_catalog"?\s*\.\s*)?"?pg_prepared_statements"?/i;

/** Statements that read now; what CREATE VIEW or PREPARE keeps is read another time. */
const READING: ReadonlySet<string> = new Set([
  "SelectStmt",
  "InsertStmt",
  "UpdateStmt",
  "DeleteStmt",
  "ExplainStmt",
  "DeclareCursorStmt",
  "CreateTableAsStmt",
]);
/** Where a query may stand instead of a name: not behind TABLE or ONLY. */
const IN_FROM = /(?:\b(?:from|join|using|lateral)|[,(])\s*$/i;

/** Its columns behind the name, with the version that brought each. */
const COLUMNS: readonly (readonly [name: string, since: number])[] = [
  ["statement", 0],
  ["prepare_time", 0],
  ["parameter_types", 0],
  ["result_types", 16],
  ["from_sql", 0],
  ["generic_plans", 14],
  ["custom_plans", 14],
];

/** Whether `text` may read the view; cheap. */
export const mayReadPrepared = (text: string): boolean => MENTIONED.test(text);

/** `text` with the view as the client is to see it; `names`: its statements' names on `connection`, and its own. */
export function withOwnPrepared(
  text: string,
  connection: ServerConnection,
  names: Iterable<readonly [there: string, own: string]>,
): string {
  const places = placesIn(text);
  if (places.length === 0) return text;
  const own = ownView(Number.parseInt(connection.parameters.get("server_version") ?? "0", 10), names);
  let bytes = Buffer.from(text);
  // From the end, so that the places before stay where they are.
  for (const { at, hasAlias } of places.sort((a, b) => b.at - a.at)) {
    if (!IN_FROM.test(bytes.toString("utf8", 0, at))) continue;
    const written = WRITTEN.exec(bytes.toString("utf8", at))?.[0];
    if (written === undefined) continue;
    const rest = bytes.subarray(at + Buffer.byteLength(written));
    bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(hasAlias ? own : `${own} AS ${VIEW}`), rest]);
  }
  return bytes.toString();
}

interface Place {
  /** In bytes. */
  readonly at: number;
  readonly hasAlias: boolean;
}

function placesIn(text: string): Place[] {
  const places: Place[] = [];
  const look = ({ type, fields }: Node): true => {
    if (type === "RangeVar" && isView(fields)) {
      places.push({ at: integer(fields, "location"), hasAlias: struct(fields, "alias") !== null });
    }
    return true;
  };
  try {
    for (const { node } of parse(text)) {
      if (READING.has(node.type)) walk(node.fields, look);
    }
  } catch {
    return []; // the shard says what is wrong with it
  }
  return places;
}

const isView = (fields: Fields): boolean =>
  textOf(fields, "relname") === VIEW && ["", "pg_catalog"].includes(textOf(fields, "schemaname"));

function ownView(version: number, names: Iterable<readonly [there: string, own: string]>): string {
  const columns = COLUMNS.filter(([, since]) => version >= since).map(([name]) => `p.${name}`);
  const pairs = [...names].map(([there, own]) => `(${literal(there)}, ${literal(own)})`);
  const values = pairs.length === 0 ? "SELECT '', '' WHERE false" : `VALUES ${pairs.join(", ")}`;
  return `(SELECT o.name, ${columns.join(", ")} FROM pg_catalog.${VIEW} AS p JOIN (${values}) AS o (there, name) ON p.name = o.there)`;
}
