/**
 * Certificates for tests, made here and now: an authority, and what it signs.
 *
 * Node has no call for that and `openssl` is not everywhere, so the bytes are put together by hand.
 * https://www.rfc-editor.org/rfc/rfc5280#section-4.1
 */
import { constants, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export type Signature =
  | "ecdsa-sha256"
  | "ecdsa-sha384"
  | "rsa-sha1"
  | "rsa-sha512"
  | "rsa-pss-sha384"
  | "ed25519";

export interface Identity {
  readonly commonName: string;
  /** PEM. */
  readonly certificate: string;
  /** PEM. */
  readonly key: string;
}

export interface CertificateOptions {
  readonly commonName: string;
  readonly organization?: string;
  /** A second common name. */
  readonly alias?: string;
  /** Host names and IPv4 addresses it is for. */
  readonly hosts?: readonly string[];
}

const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const SEQUENCE = 0x30;
const SET = 0x31;
const TRUE = Buffer.from([0x01, 0x01, 0xff]);
const NULL = Buffer.from([0x05, 0x00]);
const DAY_MS = 86_400_000;
const SHA384 = "608648016503040202";

export class Authority {
  readonly #name: string;
  readonly #keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly #signature: Signature;
  /** PEM. */
  readonly certificate: string;

  constructor(name: string, signature: Signature = "ecdsa-sha256") {
    this.#name = name;
    this.#signature = signature;
    this.#keys = newKeys(signature);
    const constraints = extension("551d13", der(SEQUENCE, TRUE));
    this.certificate = this.#sign(nameOf({ commonName: name }), this.#keys.publicKey, constraints);
  }

  /** A certificate for `options`, and its key. */
  issue(options: CertificateOptions): Identity {
    const { publicKey, privateKey } = newKeys("ecdsa-sha256");
    const hosts = (options.hosts ?? []).map((host) =>
      /^[\d.]+$/.test(host)
        ? der(0x87, Buffer.from(host.split(".").map(Number)))
        : der(0x82, Buffer.from(host)),
    );
    const extensions = hosts.length === 0 ? null : extension("551d11", der(SEQUENCE, ...hosts));
    return {
      commonName: options.commonName,
      certificate: this.#sign(nameOf(options), publicKey, extensions),
      key: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    };
  }

  #sign(subject: Buffer, publicKey: KeyObject, extensions: Buffer | null): string {
    const time = (ms: number): Buffer =>
      der(UTC_TIME, Buffer.from(`${new Date(ms).toISOString().replace(/[-:T]/g, "").slice(2, 14)}Z`));
    const algorithm = ALGORITHMS[this.#signature];
    const body = der(
      SEQUENCE,
      der(0xa0, der(0x02, Buffer.from([2]))),
      der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
      algorithm,
      nameOf({ commonName: this.#name }),
      der(SEQUENCE, time(Date.now() - DAY_MS), time(Date.now() + 30 * DAY_MS)),
      subject,
      publicKey.export({ type: "spki", format: "der" }),
      ...(extensions === null ? [] : [der(0xa3, der(SEQUENCE, extensions))]),
    );
    const signature = signed(body, this.#keys.privateKey, this.#signature);
    const whole = der(SEQUENCE, body, algorithm, der(BIT_STRING, Buffer.from([0]), signature));
    const lines = whole
      .toString("base64")
      .match(/.{1,64}/g)!
      .join("\n");
    return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
  }
}

/** Writes `NAME.crt` and `NAME.key` into `directory`, the key as libpq wants it: for its owner alone. */
export function writeIdentity(
  directory: string,
  name: string,
  identity: Identity,
): { readonly certFile: string; readonly keyFile: string } {
  const [certFile, keyFile] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
  writeFileSync(certFile, identity.certificate);
  writeFileSync(keyFile, identity.key, { mode: 0o600 });
  return { certFile, keyFile };
}

const identifier = (hex: string): Buffer => der(0x06, Buffer.from(hex, "hex"));
const PSS_PARAMETERS = der(
  SEQUENCE,
  der(0xa0, der(SEQUENCE, identifier(SHA384), NULL)),
  der(0xa1, der(SEQUENCE, identifier("2a864886f70d010108"), der(SEQUENCE, identifier(SHA384), NULL))),
  der(0xa2, der(0x02, Buffer.from([48]))),
);
const ALGORITHMS: Readonly<Record<Signature, Buffer>> = {
  "ecdsa-sha256": der(SEQUENCE, identifier("2a8648ce3d040302")),
  "ecdsa-sha384": der(SEQUENCE, identifier("2a8648ce3d040303")),
  "rsa-sha1": der(SEQUENCE, identifier("2a864886f70d010105"), NULL),
  "rsa-sha512": der(SEQUENCE, identifier("2a864886f70d01010d"), NULL),
  "rsa-pss-sha384": der(SEQUENCE, identifier("2a864886f70d01010a"), PSS_PARAMETERS),
  ed25519: der(SEQUENCE, identifier("2b6570")),
};

function newKeys(signature: Signature): { publicKey: KeyObject; privateKey: KeyObject } {
  if (signature === "ed25519") return generateKeyPairSync("ed25519");
  return signature.startsWith("rsa")
    ? generateKeyPairSync("rsa", { modulusLength: 2048 })
    : generateKeyPairSync("ec", { namedCurve: "P-256" });
}

function signed(body: Buffer, key: KeyObject, signature: Signature): Buffer {
  if (signature === "ed25519") return sign(null, body, key);
  const hash = signature.slice(signature.lastIndexOf("-") + 1);
  if (signature !== "rsa-pss-sha384") return sign(hash, body, key);
  return sign(hash, body, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 });
}

function nameOf({ commonName, organization, alias }: CertificateOptions): Buffer {
  const part = (id: string, text: string): Buffer =>
    der(SET, der(SEQUENCE, identifier(id), der(UTF8_STRING, Buffer.from(text))));
  const parts = organization === undefined ? [] : [part("55040a", organization)];
  if (alias !== undefined) parts.push(part("550403", alias));
  return der(SEQUENCE, ...parts, part("550403", commonName));
}

const extension = (id: string, value: Buffer): Buffer =>
  der(SEQUENCE, identifier(id), der(OCTET_STRING, value));

function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(content);
  const length = bytes.length;
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), bytes]);
}
