/** What the startup packet sets: parameters and `options`, as libpq writes them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Fault } from "../../src/base/fault.ts";
import { settingsOf } from "../../src/pool/settings.ts";
import { ClientParameters } from "../../src/proxy/clientParameters.ts";

const startup = (entries: Record<string, string>): ReadonlyMap<string, string> =>
  new ClientParameters(new Map(Object.entries({ user: "u", database: "d", ...entries }))).startup;

describe("a client's startup", () => {
  it("sets what it names, and not who and where", () => {
    assert.deepEqual(
      [...startup({ application_name: "psql", DateStyle: "ISO" })],
      [
        ["application_name", "psql"],
        ["DateStyle", "ISO"],
      ],
    );
  });

  const OPTIONS: readonly (readonly [string, readonly (readonly [string, string])[]])[] = [
    ["-c statement_timeout=5s", [["statement_timeout", "5s"]]],
    ["-cstatement_timeout=5s", [["statement_timeout", "5s"]]],
    ["--statement-timeout=5s", [["statement_timeout", "5s"]]],
    [
      "-c search_path=a,\\ b -c work_mem=1MB",
      [
        ["search_path", "a, b"],
        ["work_mem", "1MB"],
      ],
    ],
    ["", []],
  ];
  for (const [options, expected] of OPTIONS) {
    it(`reads options ${JSON.stringify(options)}`, () =>
      assert.deepEqual([...startup({ options })], expected));
  }

  it("refuses options that it does not understand", () => {
    assert.throws(() => startup({ options: "-x" }), Fault);
  });

  it("quotes values, so that they are values only", () => {
    assert.equal(
      settingsOf([["a", "o'clock\\"]]),
      "SELECT pg_catalog.set_config('a',  E'o''clock\\\\', false)",
    );
  });
});

describe("text that is read to be routed", () => {
  const check = (told: Record<string, string>, text: string): void => {
    const parameters = new ClientParameters(new Map());
    for (const [name, value] of Object.entries(told)) parameters.noteTold(name, value);
    const bytes = Buffer.from(text, "latin1");
    parameters.checkText(bytes, 0, bytes.length);
  };
  const refused = (id: string) => (error: unknown) => error instanceof Fault && error.id === id;

  it("must be UTF-8 as soon as it is more than ASCII", () => {
    check({ client_encoding: "UTF8" }, "\u00c3\u00a9");
    check({ client_encoding: "LATIN1" }, "SELECT 1");
    assert.throws(
      () => check({ client_encoding: "LATIN1" }, "\u00c3\u00a9"),
      refused("session.invalid_encoding"),
    );
  });

  it("must have the literals of the SQL standard as soon as a backslash is in it", () => {
    check({ standard_conforming_strings: "off" }, "SELECT 'a'");
    assert.throws(
      () => check({ standard_conforming_strings: "off" }, "SELECT 'a\\'"),
      refused("session.unsupported"),
    );
  });
});
