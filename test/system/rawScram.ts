/** SCRAM-SHA-256 by hand, on a client that speaks the protocol by hand; it shares no code with pgxa's own. */
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { int32, type Message, message, RawClient, startup, text } from "./rawClient.ts";

export const NONCE = "fyko+d2lbbFgONRv9qkxdawL";

/** A SASLInitialResponse; `length` may lie. */
export const initialResponse = (
  data: string,
  mechanism = "SCRAM-SHA-256",
  length = Buffer.byteLength(data),
): Buffer => message("p", text(mechanism), int32(length), Buffer.from(data));

export const response = (data: string): Buffer => message("p", Buffer.from(data));

/** A client that has been asked for SASL. */
export async function askedForSasl(port: number, user: string, database = "bank"): Promise<RawClient> {
  const client = new RawClient(port);
  client.send(startup({ user, database }));
  await client.until("R");
  return client;
}

/** The final message in answer to `serverFirst`, with a proof of `password`. */
export function finalFor(serverFirst: string, password: string): string {
  const [, nonce, salt, iterations] = /^r=(.*),s=(.*),i=(\d+)$/.exec(serverFirst)!;
  const salted = pbkdf2Sync(password, Buffer.from(salt!, "base64"), Number(iterations), 32, "sha256");
  const hmac = (key: Buffer, data: string): Buffer => createHmac("sha256", key).update(data).digest();
  const clientKey = hmac(salted, "Client Key");
  const storedKey = createHash("sha256").update(clientKey).digest();
  const bare = `c=biws,r=${nonce}`;
  const signature = hmac(storedKey, `n=,r=${NONCE},${serverFirst},${bare}`);
  return `${bare},p=${Buffer.from(clientKey.map((byte, i) => byte ^ signature[i]!)).toString("base64")}`;
}

/** The server's first message. */
export async function begun(client: RawClient): Promise<string> {
  client.send(initialResponse(`n,,n=,r=${NONCE}`));
  const [challenge] = await client.until("R");
  return challenge!.body.subarray(4).toString();
}

/** The last message of a connection that is then closed, which is to be an error. */
export async function lastOf(client: RawClient): Promise<Message> {
  const messages = await client.untilClosed();
  client.close();
  return messages.at(-1)!;
}
