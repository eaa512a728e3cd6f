import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { describe, it } from "node:test";
import fc from "fast-check";
import { endPointHash } from "../../src/wire/certificateHash.ts";
import { Authority, type Signature } from "../support/certificates.ts";

describe("the hash of a certificate for channel binding", () => {
  const table: readonly (readonly [Signature, string | null])[] = [
    ["ecdsa-sha256", "sha256"],
    ["ecdsa-sha384", "sha384"],
    ["rsa-sha1", "sha256"],
    ["rsa-sha512", "sha512"],
    ["rsa-pss-sha384", "sha384"],
    ["ed25519", null],
  ];
  for (const [signature, algorithm] of table) {
    it(`is ${algorithm ?? "none"} for a signature of ${signature}`, () => {
      const certificate = new X509Certificate(
        new Authority("a", signature).issue({ commonName: "b" }).certificate,
      );
      const expected = algorithm && createHash(algorithm).update(certificate.raw).digest();
      assert.deepEqual(endPointHash(certificate.raw), expected);
    });
  }

  it("is none for what is no whole certificate", () => {
    const whole = new X509Certificate(new Authority("a").certificate).raw;
    for (let length = 0; length < whole.length; length++) endPointHash(whole.subarray(0, length));
    assert.equal(endPointHash(whole.subarray(0, 100)), null);
    fc.assert(fc.property(fc.uint8Array(), (bytes) => endPointHash(Buffer.from(bytes)) === null));
  });
});
