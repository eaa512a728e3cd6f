import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { FaultId } from "../../src/base/catalogue.ts";
import { Fault } from "../../src/base/fault.ts";
import { md5Password } from "../../src/wire/md5Password.ts";
import { type ClientBinding, ScramClient } from "../../src/wire/scramClient.ts";
import * as keys from "../../src/wire/scramKeys.ts";
import { buildScramSecret, formatScramSecret, parseScramSecret } from "../../src/wire/scramSecret.ts";
import { ScramServer } from "../../src/wire/scramServer.ts";
import { scriptedRandom } from "./scriptedRandom.ts";

const SALT = Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64");
const MOCK_KEY = Buffer.alloc(32, 1);
const SECRET = buildScramSecret("pencil", SALT, 64);
const ADA = { name: "ada", secret: SECRET };

const server = (user: ConstructorParameters<typeof ScramServer>[0] = ADA): ScramServer =>
  new ScramServer(user, MOCK_KEY, scriptedRandom("server"));
const client = (password = "pencil"): ScramClient => new ScramClient(password, scriptedRandom("client"));
const is =
  (id: FaultId, detail = /./) =>
  (error: unknown): boolean =>
    error instanceof Fault && error.id === id && detail.test(`${error.message} ${error.detail ?? ""}`);
const bytes = (text: string): Buffer => Buffer.from(text);

/** Both sides to the end; the server's last message, null if it refused. */
function exchange(from: ScramClient, to: ScramServer): Buffer | null {
  return to.final(bytes(from.respond(to.first(bytes(from.first())))));
}

describe("the keys of SCRAM-SHA-256", () => {
  it("give the proof and the signature of RFC 7677's example", () => {
    const nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const authMessage = `n=user,r=rOprNGfwEbeRWgbNEkqO,r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=${nonce}`;
    const salted = keys.saltedPassword("pencil", SALT, 4096);
    const clientKey = keys.clientKeyOf(salted);
    const proof = keys.xor(clientKey, keys.hmac(keys.hash(clientKey), authMessage));
    const signature = keys.hmac(keys.serverKeyOf(salted), authMessage);
    assert.equal(proof.toString("base64"), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    assert.equal(signature.toString("base64"), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
  });
});

describe("a SCRAM exchange", () => {
  it("convinces both sides if they have the same password", () => {
    const asking = client();
    const final = exchange(asking, server());
    assert.ok(final !== null);
    asking.verify(final);
  });

  it("succeeds with the right password and with no other", () => {
    const password = fc.string({ unit: "binary", maxLength: 12 });
    const property = fc.property(password, password, (right, tried) => {
      const secret = buildScramSecret(right, SALT, 1);
      assert.ok(exchange(client(right), server({ name: "ada", secret })) !== null);
      const isSameToBoth = keys.saltedPassword(tried, SALT, 1).equals(keys.saltedPassword(right, SALT, 1));
      assert.equal(exchange(client(tried), server({ name: "ada", secret })) !== null, isSameToBoth);
    });
    fc.assert(property);
  });

  it("does not tell that a user does not exist", () => {
    const nobody = { name: "nobody", secret: null };
    const first = (user: typeof nobody | typeof ADA) =>
      server(user).first(bytes(client().first())).toString();
    assert.match(first(nobody), /^r=[^,]+,s=[A-Za-z0-9+/]{22}==,i=4096$/);
    assert.equal(first(nobody), first(nobody));
    assert.notEqual(first(nobody), first({ ...nobody, name: "another" }));
    assert.equal(exchange(client(), server(nobody)), null);
  });

  it("binds what a client says of channels that it could bind to", () => {
    const [from, to] = [client(), server()];
    const first = from.first().replace(/^n,,/, "y,,");
    const answer = from.respond(to.first(bytes(first)));
    assert.throws(() => to.final(bytes(answer)), is("protocol.violation", /channel binding/));
  });
});

describe("the SCRAM server", () => {
  it("takes a first message with a name, which it does not look at, and with extensions", () => {
    for (const first of ["n,,n=,r=abc", "y,,n=*,r=abc", "n,,n=somebody=2Celse,r=abc,x=new,y=1"]) {
      assert.match(server().first(bytes(first)).toString(), /^r=abc[^,]+,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=64$/);
    }
  });

  it("accepts y,, of a client that saw no offer of channel binding", () => {
    const to = server();
    const serverFirst = to.first(bytes("y,,n=,r=abc")).toString();
    const nonce = /^r=([^,]+)/.exec(serverFirst)![1]!;
    const withoutProof = `c=${bytes("y,,").toString("base64")},r=${nonce}`;
    const clientKey = keys.clientKeyOf(keys.saltedPassword("pencil", SALT, 64));
    const signature = keys.hmac(keys.hash(clientKey), `n=,r=abc,${serverFirst},${withoutProof}`);
    const final = to.final(bytes(`${withoutProof},p=${keys.xor(clientKey, signature).toString("base64")}`));
    assert.match(final?.toString() ?? "", /^v=/);
  });

  it("refuses what it does not support, and ends the connection", () => {
    for (const first of ["n,a=admin,n=,r=abc", "n,,m=ext,n=,r=abc"]) {
      assert.throws(() => server().first(bytes(first)), is("login.scram_unsupported"));
    }
    assert.throws(
      () => server().first(bytes("p=tls-unique,,n=,r=abc")),
      is("protocol.violation", /without channel binding/),
    );
  });

  it("refuses a malformed first message", () => {
    for (const first of [
      "",
      "n",
      "n,,",
      "n=x,,n=,r=abc",
      "x,,n=,r=abc",
      "n,,r=abc",
      "n,,n=",
      "n,,n=,r=",
      "n,,n=,r=\u00e9",
      "n,,n=,r=a c",
      "n,,n=,r=abc,",
      "n,,n=,r=abc,junk",
      "n,,n=,r=abc\0",
    ]) {
      assert.throws(() => server().first(bytes(first)), is("protocol.violation"), JSON.stringify(first));
    }
  });

  it("refuses a final message out of turn", () => {
    const proof = Buffer.alloc(32).toString("base64");
    assert.throws(() => server().final(bytes(`c=biws,r=abc,p=${proof}`)), is("protocol.violation"));
  });

  it("refuses a malformed final message", () => {
    const to = server();
    const nonce = /^r=([^,]+)/.exec(to.first(bytes("n,,n=,r=abc")).toString())![1]!;
    const proof = Buffer.alloc(32).toString("base64");
    for (const [final, why] of [
      ["", /client-final/],
      [`c=biws,r=${nonce}`, /client-final/],
      [`c=biws,r=${nonce},p=abc`, /client-final/],
      [`c=biws,r=${nonce},p=${proof},x=1`, /client-final/],
      [`r=${nonce},c=biws,p=${proof}`, /client-final/],
      [`c=biws,r=abc,p=${proof}`, /Nonce/],
      [`c=biws,r=${nonce}x,p=${proof}`, /Nonce/],
      [`c=eSws,r=${nonce},p=${proof}`, /channel binding/],
    ] as const) {
      assert.throws(() => to.final(bytes(final)), is("protocol.violation", why), final);
    }
    assert.equal(to.final(bytes(`c=biws,r=${nonce},p=${proof}`)), null);
  });

  it("throws nothing but a fault, whatever bytes come", () => {
    const property = fc.property(fc.uint8Array({ maxLength: 60 }), fc.string(), (noise, text) => {
      for (const data of [noise, bytes(`n,,n=,r=${text}`), bytes(`c=biws,r=${text}`)]) {
        for (const read of [(to: ScramServer) => to.first(data), (to: ScramServer) => to.final(data)]) {
          try {
            read(server());
          } catch (error) {
            assert.ok(error instanceof Fault, String(error));
          }
        }
      }
    });
    fc.assert(property);
  });
});

describe("the SCRAM client", () => {
  const NONCE = /r=(.+)$/.exec(client().first())![1]!;

  it("names no user: the startup message did", () =>
    assert.match(client().first(), /^n,,n=,r=[A-Za-z0-9+/]{24}$/));

  it("refuses a server that does not keep to the exchange", () => {
    const salt = SALT.toString("base64");
    for (const first of [
      "",
      "e=other-error",
      `r=${NONCE},s=${salt},i=4096`,
      `r=another,s=${salt},i=4096`,
      `r=${NONCE}x,s=,i=4096`,
      `r=${NONCE}x,s=${salt}`,
      `r=${NONCE}x,s=${salt},i=0`,
      `r=${NONCE}x,s=${salt},i=-1`,
      `r=${NONCE}x,s=${salt},i=4096.5`,
      `r=${NONCE}x,s=${salt},i=0x10`,
      `r=${NONCE}x,s=${salt},i=2000000000`,
      `m=ext,r=${NONCE}x,s=${salt},i=4096`,
    ]) {
      assert.throws(() => client().respond(bytes(first)), is("protocol.server_violation"), first);
    }
  });

  it("is not convinced by a server that does not know the secret", () => {
    const wrong = Buffer.alloc(32).toString("base64");
    for (const final of ["", "v=", `v=${wrong}`, "v=abc", "e=invalid-proof"]) {
      const asking = client();
      exchange(asking, server());
      assert.throws(() => asking.verify(bytes(final)), is("protocol.server_violation"), final);
    }
  });

  it("is not convinced before it gave its own proof", () => {
    const final = `v=${Buffer.alloc(32).toString("base64")}`;
    assert.throws(() => client().verify(bytes(final)), is("protocol.server_violation"));
  });
});

describe("a SCRAM secret", () => {
  it("is written and read as Postgres keeps it", () => {
    const text = formatScramSecret(SECRET);
    assert.match(text, /^SCRAM-SHA-256\$64:W22ZaJ0SNY7soEsUEjb6gQ==\$[^:]{44}:[^:]{44}$/);
    assert.deepEqual(parseScramSecret(text), SECRET);
  });

  it("is nothing else", () => {
    const text = formatScramSecret(SECRET);
    for (const other of [
      "",
      "pencil",
      "md5abc",
      text.slice(0, -1),
      `${text}x`,
      `${text}\n`,
      text.replace("$64:", "$0:"),
      text.replace("$64:", "$x:"),
      text.replace("256", "1"),
    ]) {
      assert.equal(parseScramSecret(other), null, other);
    }
  });
});

describe("an md5 answer", () => {
  it("is the salted digest of password and user", () => {
    const inner = createHash("md5").update("geheimada").digest("hex");
    const outer = createHash("md5")
      .update(inner)
      .update(Buffer.from([1, 2, 3, 255]))
      .digest("hex");
    assert.equal(md5Password("ada", "geheim", Buffer.from([1, 2, 3, 255])), `md5${outer}`);
  });
});

describe("a SCRAM exchange with channel binding", () => {
  const certificate = createHash("sha256").update("certificate").digest();
  const another = createHash("sha256").update("another").digest();
  const plusServer = () => new ScramServer(ADA, MOCK_KEY, scriptedRandom("server"), certificate);
  const bound = (binding: ClientBinding) => new ScramClient("pencil", scriptedRandom("client"), binding);

  it("offers it first where there is a certificate, and not at all where there is none", () => {
    assert.deepEqual(plusServer().mechanisms, ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]);
    assert.deepEqual(server().mechanisms, ["SCRAM-SHA-256"]);
  });

  it("convinces both sides if they see the same certificate", () => {
    const [from, to] = [bound(certificate), plusServer()];
    const final = to.final(bytes(from.respond(to.first(bytes(from.first()), keys.SCRAM_PLUS_MECHANISM))));
    assert.ok(final !== null);
    from.verify(final);
  });

  it("ends where somebody in between shows a certificate of their own", () => {
    const [from, to] = [bound(another), plusServer()];
    const response = from.respond(to.first(bytes(from.first()), keys.SCRAM_PLUS_MECHANISM));
    assert.throws(() => to.final(bytes(response)), is("login.channel_binding", /check failed/));
  });

  it("ends where somebody in between took the offer away", () => {
    const [from, to] = [bound("unoffered"), plusServer()];
    assert.throws(() => to.first(bytes(from.first())), is("login.channel_binding", /negotiation/));
    assert.ok(exchange(bound("unoffered"), server()) !== null, "without the offer it is a client's right");
  });

  it("lets a client that cannot bind do without", () => {
    assert.ok(exchange(bound("none"), plusServer()) !== null);
  });

  it("refuses a first message that is not of the mechanism chosen", () => {
    for (const first of ["n,,n=,r=abc", "y,,n=,r=abc"]) {
      const refused = is("protocol.violation", /does not include channel binding data/);
      assert.throws(() => plusServer().first(bytes(first), keys.SCRAM_PLUS_MECHANISM), refused);
    }
    const message = bytes("p=tls-server-end-point,,n=,r=abc");
    assert.throws(() => plusServer().first(message), is("protocol.violation", /without channel binding/));
  });

  it("refuses every kind of binding but to the certificate", () => {
    const message = bytes("p=tls-unique,,n=,r=abc");
    const refused = is("protocol.violation", /unsupported SCRAM channel-binding type/);
    assert.throws(() => plusServer().first(message, keys.SCRAM_PLUS_MECHANISM), refused);
  });
});

describe("the keys a client logged in with", () => {
  it("are known to the server after a success, and log in elsewhere with the same secret", () => {
    const to = server();
    assert.equal(to.keys, null);
    assert.ok(exchange(client(), to) !== null);
    const passedOn = new ScramClient(to.keys!, scriptedRandom("pgxa"));
    const final = exchange(passedOn, server());
    assert.ok(final !== null);
    passedOn.verify(final);
  });

  it("are not known after a failure", () => {
    const to = server();
    assert.equal(exchange(client("pen"), to), null);
    assert.equal(to.keys, null);
  });

  it("do not log in where the password is the same and the salt another", () => {
    const to = server();
    exchange(client(), to);
    const elsewhere = { name: "ada", secret: buildScramSecret("pencil", Buffer.alloc(16, 7), 64) };
    assert.equal(exchange(new ScramClient(to.keys!, scriptedRandom("pgxa")), server(elsewhere)), null);
  });
});
