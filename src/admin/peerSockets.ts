// Pure.
/** PgBouncer's SHOW CLIENTS, SERVERS and SOCKETS, which have the same columns. */
import type { Column } from "../wire/backendWriters.ts";
import { columns, type Row, row, utcTime } from "./consoleTable.ts";
import type { ClientView, ServerView, Shown } from "./views.ts";

const COLUMNS =
  "type:text user database replication state addr port:int4 local_addr:text local_port:int4 connect_time:text " +
  "request_time wait:int4 wait_us close_needed ptr:text link remote_pid:int4 tls:text application_name " +
  "prepared_statements:int4 id";
const BUFFERS = "recv_pos:int4 pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail";

/** `isLong`: with those of buffers, which pgxa has none of. */
export const socketColumns = (isLong: boolean): readonly Column[] =>
  columns(isLong ? `${COLUMNS} ${BUFFERS}` : COLUMNS);

const NO_BUFFERS = BUFFERS.split(" ").map(() => 0);

export const clientPtr = (pid: number): string => `client:${pid}`;

/** `onlyActive`: with something running. In the long form states say whose they are. */
export function sockets(
  sources: Shown,
  withClients: boolean,
  withServers: boolean,
  isLong: boolean,
  onlyActive = false,
): readonly Row[] {
  const isShown = ({ state }: ClientView | ServerView): boolean => !onlyActive || state !== "idle";
  const clients = withClients ? sources.clients().filter(isShown) : [];
  const servers = withServers ? sources.servers().filter(isShown) : [];
  return [
    ...clients.map((client) => clientRow(client, isLong)),
    ...servers.map((server) => serverRow(server, isLong)),
  ];
}

function clientRow(client: ClientView, isLong: boolean): Row {
  const { endpoint, waitMs } = client;
  return row(
    "C",
    client.user,
    client.database,
    "none",
    isLong ? (client.state === "waiting" ? "cl_waiting" : "cl_active") : client.state,
    endpoint.address,
    endpoint.port,
    endpoint.localAddress,
    endpoint.localPort,
    utcTime(client.connectedAtMs),
    utcTime(client.requestedAtMs),
    Math.floor(waitMs / 1_000),
    Math.floor((waitMs % 1_000) * 1_000),
    0,
    clientPtr(client.pid),
    client.link ?? "",
    0,
    "",
    client.applicationName,
    client.statements,
    client.pid,
    ...(isLong ? NO_BUFFERS : []),
  );
}

function serverRow(server: ServerView, isLong: boolean): Row {
  const { endpoint } = server;
  return row(
    "S",
    server.user,
    server.database,
    "none",
    isLong ? `sv_${server.state}` : server.state,
    endpoint.address,
    endpoint.port,
    endpoint.localAddress,
    endpoint.localPort,
    utcTime(server.connectedAtMs),
    utcTime(server.requestedAtMs),
    0,
    0,
    0,
    server.id,
    server.client === null ? "" : clientPtr(server.client),
    server.pid,
    "",
    "",
    server.statements,
    server.pid,
    ...(isLong ? NO_BUFFERS : []),
  );
}
