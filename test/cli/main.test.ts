/** The command line of pgxa: what it understands, what it says about what it does not, and its exit codes. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { readConfigOptions } from "../../src/cli/configOption.ts";
import { run } from "./command.ts";

describe("the options of commands with a file", () => {
  const read = (...args: string[]) => readConfigOptions("check", args, true);

  it("are the file, JSON and help", () => {
    assert.deepEqual(read("--config", "a.yaml"), { kind: "run", file: "a.yaml", isJson: false });
    assert.deepEqual(read("--config=a.yaml", "--json"), { kind: "run", file: "a.yaml", isJson: true });
    assert.deepEqual(read("-c", "a.yaml"), { kind: "run", file: "a.yaml", isJson: false });
    assert.deepEqual(read("-h"), { kind: "help" });
  });

  const WRONG: readonly (readonly [args: string, says: RegExp])[] = [
    ["", /needs --config FILE. config\/pgxa\.yaml is an example/],
    ["--confg a", /there is no option --confg. Did you mean --config\? See pgxa check --help/],
    ["--frobnicate", /there is no option --frobnicate. See/],
    ["-x", /there is no option -x/],
    ["--config", /--config needs a file's name/],
    ["--config --json", /--config needs a file's name/],
    ["--config=", /--config needs a file's name/],
    ["--json=yes -c a", /--json takes no value/],
    ["-c a b", /"b" is one word too many/],
  ];
  for (const [args, says] of WRONG) {
    it(`may not be "${args}"`, () => {
      const options = read(...args.split(" ").filter((word) => word !== ""));
      assert.ok(options.kind === "wrong");
      assert.match(options.says, says);
    });
  }

  it("have JSON only where there is some", () => {
    assert.equal(readConfigOptions("up", ["--json", "-c", "a"], false).kind, "wrong");
  });
});

describe("pgxa", () => {
  let directory = "";
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "pgxa-main-"));
    writeFileSync(join(directory, "wrong.yaml"), "databse: bank\n");
  });
  after(() => rmSync(directory, { recursive: true }));

  const CASES: readonly (readonly [args: string, code: number, stdout: RegExp, stderr: RegExp])[] = [
    ["", 0, /Usage: pgxa COMMAND/, /^$/],
    ["--help", 0, /Usage: pgxa COMMAND/, /^$/],
    ["help up", 0, /Usage: pgxa up --config FILE/, /^$/],
    ["check --help", 0, /Exit code: 0 if nothing failed/, /^$/],
    ["help demo", 0, /--fresh/, /^$/],
    ["--version", 0, /^\d+\.\d+\.\d+\n$/, /^$/],
    ["chek", 2, /^$/, /there is no command chek. Did you mean check\?/],
    ["--versoin", 2, /^$/, /there is no option --versoin. Did you mean --version\?/],
    ["frobnicate", 2, /^$/, /pgxa help lists all there is/],
    ["up", 2, /^$/, /needs --config FILE/],
    ["up -c not-there.yaml", 2, /^$/, /there is no configuration file not-there\.yaml\nGive the path/],
    ["demo --config not-there.yaml", 2, /^$/, /there is no configuration file not-there\.yaml/],
    ["check -c wrong.yaml", 2, /^$/, /wrong\.yaml:1:1: databse is no option. Did you mean database\?/],
  ];
  for (const [args, code, stdout, stderr] of CASES) {
    it(`answers "${args}" with ${code}`, async () => {
      const words = args.split(" ").filter((word) => word !== "");
      const found = await run(words.map((word) => (word === "wrong.yaml" ? join(directory, word) : word)));
      assert.match(found.stderr, stderr);
      assert.match(found.stdout, stdout);
      assert.equal(found.code, code);
    });
  }
});
