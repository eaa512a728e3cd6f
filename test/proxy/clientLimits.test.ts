/** Room for clients. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseConfig } from "../../src/config/load.ts";
import { ClientLimits } from "../../src/proxy/clientLimits.ts";

const configured = (sections: string) =>
  parseConfig(
    `database: bank\nshards: [{ name: east, host: h, user: u }]\nauth: { method: trust }\n${sections}`,
    "pgxa.yaml",
    {},
  );

const client = (user: string) => ({ user, database: "bank", address: "10.0.0.1" });
const onConsole = { user: "admin", database: null, address: "10.0.0.1" };

describe("limits on clients", () => {
  it("leave a few places on the console when all others are taken", () => {
    const limits = new ClientLimits(configured("limits: { clients_max: 2, address_clients_max: 2 }"));
    for (const user of ["a", "b"]) limits.add(client(user));
    assert.throws(() => limits.check(client("c")), { id: "login.too_many_clients" });
    for (let i = 0; i < 5; i += 1) {
      limits.check(onConsole);
      limits.add(onConsole);
    }
    assert.throws(() => limits.check(onConsole), { id: "login.too_many_clients" });
    limits.remove(onConsole);
    limits.check(onConsole);
  });

  it("are none where they are 0, and forget who has gone", () => {
    const limits = new ClientLimits(
      configured("limits: { user_clients_max: 1 }\nusers: [{ name: free, clients_max: 0 }]"),
    );
    for (let i = 0; i < 100; i += 1) {
      limits.check(client("free"));
      limits.add(client("free"));
    }
    limits.add(client("other"));
    assert.throws(() => limits.check(client("other")), /too many connections for role "other"/);
    limits.remove(client("other"));
    limits.check(client("other"));
  });

  it("hold as they are told anew, and nobody has to go", () => {
    const limits = new ClientLimits(configured(""));
    for (let i = 0; i < 3; i += 1) limits.add(client("a"));
    limits.reconfigure(configured("limits: { database_clients_max: 2 }"));
    assert.throws(() => limits.check(client("b")), /too many connections for database "bank"/);
    limits.reconfigure(configured(""));
    limits.check(client("b"));
  });
});
