// Pure.
/**
 * The hash of a certificate that both ends of TLS can name without having agreed on it: `tls-server-end-point`.
 *
 * It is made with the hash of the certificate's own signature; MD5 and SHA-1 are replaced by SHA-256. Where the
 * signature has no hash of its own (Ed25519, Ed448) nothing is defined, and there is no channel binding.
 * https://www.rfc-editor.org/rfc/rfc5929#section-4.1
 */
import { createHash } from "node:crypto";

/** Signature algorithms, by the bytes of their object identifiers in hexadecimal. */
const SIGNATURES: Readonly<Record<string, string>> = {
  "2a864886f70d010104": "sha256", // md5WithRSAEncryption
  "2a864886f70d010105": "sha256", // sha1WithRSAEncryption
  "2a864886f70d01010e": "sha224",
  "2a864886f70d01010b": "sha256",
  "2a864886f70d01010c": "sha384",
  "2a864886f70d01010d": "sha512",
  "2a8648ce3d0401": "sha256", // ecdsa-with-SHA1
  "2a8648ce3d040301": "sha224",
  "2a8648ce3d040302": "sha256",
  "2a8648ce3d040303": "sha384",
  "2a8648ce3d040304": "sha512",
};
/** RSA with PSS says in its parameters which hash it is; SHA-1 if nothing. */
const RSA_PSS = "2a864886f70d01010a";
const HASHES: Readonly<Record<string, string>> = {
  "2b0e03021a": "sha256", // SHA-1
  "608648016503040204": "sha224",
  "608648016503040201": "sha256",
  "608648016503040202": "sha384",
  "608648016503040203": "sha512",
};

const SEQUENCE = 0x30;
const OBJECT_IDENTIFIER = 0x06;
const FIRST_PARAMETER = 0xa0;

/** `certificate` is in DER; null if it has no such hash, or cannot be read. */
export function endPointHash(certificate: Buffer): Buffer | null {
  const algorithm = hashOf(certificate);
  return algorithm === null ? null : createHash(algorithm).update(certificate).digest();
}

/** `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, parameters }, signature }` */
function hashOf(certificate: Buffer): string | null {
  const whole = element(certificate, 0, SEQUENCE);
  const signed = whole && element(certificate, whole.start, SEQUENCE);
  const algorithm = signed && element(certificate, signed.end, SEQUENCE);
  const identifier = algorithm && element(certificate, algorithm.start, OBJECT_IDENTIFIER);
  if (!identifier) return null;
  const name = certificate.toString("hex", identifier.start, identifier.end);
  return name === RSA_PSS ? pssHash(certificate, identifier.end) : (SIGNATURES[name] ?? null);
}

/** `RSASSA-PSS-params ::= SEQUENCE { [0] hashAlgorithm SEQUENCE { OID, … } DEFAULT sha1, … }` */
function pssHash(certificate: Buffer, at: number): string | null {
  const parameters = element(certificate, at, SEQUENCE);
  if (parameters === null) return null;
  const first = element(certificate, parameters.start, FIRST_PARAMETER);
  if (first === null || first.start >= parameters.end) return "sha256";
  const algorithm = element(certificate, first.start, SEQUENCE);
  const identifier = algorithm && element(certificate, algorithm.start, OBJECT_IDENTIFIER);
  if (!identifier) return null;
  return HASHES[certificate.toString("hex", identifier.start, identifier.end)] ?? null;
}

/** Where the content of the element at `at` is; null if it is not one with that tag, or not whole. */
function element(
  der: Buffer,
  at: number,
  tag: number,
): { readonly start: number; readonly end: number } | null {
  if (at + 2 > der.length || der[at] !== tag) return null;
  const first = der[at + 1]!;
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  const start = at + 2 + lengthBytes;
  if (lengthBytes > 4 || start > der.length) return null;
  const length = lengthBytes === 0 ? first : der.readUIntBE(at + 2, lengthBytes);
  return start + length > der.length ? null : { start, end: start + length };
}
