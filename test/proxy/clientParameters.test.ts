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
    ["--", []],
    ["-c a.b-c=d=e", [["a.b_c", "d=e"]]],
    ["-c a.b=\\\n\\\\", [["a.b", "\n\\"]]],
    ["-S 64", [["work_mem", "64"]]],
    ["-S64", [["work_mem", "64"]]],
    [
      "-eS 64 -e",
      [
        ["datestyle", "euro"],
        ["work_mem", "64"],
      ],
    ],
    [
      "-c DateStyle=SQL -e",
      [
        ["DateStyle", "SQL"],
        ["datestyle", "euro, SQL"],
      ],
    ],
    ["-e -c datestyle=ISO,MDY", [["datestyle", "ISO,MDY"]]],
    [
      "-fs -fi -fo -fb -ft -fn -fm -fhash",
      [
        ["enable_seqscan", "false"],
        ["enable_indexscan", "false"],
        ["enable_indexonlyscan", "false"],
        ["enable_bitmapscan", "false"],
        ["enable_tidscan", "false"],
        ["enable_nestloop", "false"],
        ["enable_mergejoin", "false"],
        ["enable_hashjoin", "false"],
      ],
    ],
    [
      "-s -tpa -t plan -texec",
      [
        ["log_statement_stats", "true"],
        ["log_parser_stats", "true"],
        ["log_planner_stats", "true"],
        ["log_executor_stats", "true"],
      ],
    ],
    ["-d 0", [["log_min_messages", "notice"]]],
    ["-dx", [["log_min_messages", "notice"]]],
    ["-d1", [["log_min_messages", "debug1"]]],
    [
      "-d 5",
      [
        ["log_min_messages", "debug5"],
        ["log_statement", "all"],
        ["debug_print_parse", "true"],
        ["debug_print_plan", "true"],
        ["debug_print_rewritten", "true"],
      ],
    ],
    // What single-user mode and the postmaster have, and a server process ignores.
    ["-n -T -E -j -b -D /x -C x -rx -v 3", []],
    // What no client may set: the shard says so.
    [
      "-Fl -N 5 -i",
      [
        ["fsync", "false"],
        ["ssl", "true"],
        ["max_connections", "5"],
        ["listen_addresses", "*"],
      ],
    ],
  ];
  for (const [options, expected] of OPTIONS) {
    it(`reads options ${JSON.stringify(options)}`, () =>
      assert.deepEqual([...startup({ options })], expected));
  }

  it("keeps the date order of the options when only a style is named", () => {
    const names = startup({ options: "-e", DateStyle: "ISO" });
    assert.equal(names.get("DateStyle"), "ISO, euro");
    assert.equal(startup({ options: "-e", DateStyle: "ISO, MDY" }).get("DateStyle"), "ISO, MDY");
  });

  const REFUSED: readonly (readonly [options: string, message: string])[] = [
    ["-x", "invalid command-line argument for server process: -x"],
    ["-o x", "invalid command-line argument for server process: -o"],
    ["abc", "invalid command-line argument for server process: abc"],
    ["-- x", "invalid command-line argument for server process: x"],
    ["-", "invalid command-line argument for server process: -"],
    ["-S", "invalid command-line argument for server process: -S"],
    ["-fx", "invalid command-line argument for server process: -fx"],
    ["-f x", "invalid command-line argument for server process: x"],
    ["-tp", "invalid command-line argument for server process: -tp"],
    ["-c foo", "-c foo requires a value"],
    ["--foo", "--foo requires a value"],
  ];
  for (const [options, message] of REFUSED) {
    it(`refuses options ${JSON.stringify(options)} as Postgres does`, () =>
      assert.throws(
        () => startup({ options }),
        (error: unknown) => error instanceof Fault && error.sqlstate === "42601" && error.message === message,
      ));
  }

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
