/** The rules of the house that a machine can check: imports, sizes, purity, what a file begins with. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { describe, it } from "node:test";
import { bare, functions } from "./support/sourceCode.ts";

const ROOT = resolve(import.meta.dirname, "..");
const LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;
const ARCHITECTURE_LINES_MAX = 300;

const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");
const sources = globSync("src/**/*.ts", { cwd: ROOT }).sort();
const exclude = ["**/node_modules/**"]; // of test/drivers
const code = [...sources, ...globSync("{test,bench,examples}/**/*.ts", { cwd: ROOT, exclude })].sort();

const folderOf = (file: string): string => file.split("/")[1]!;
const importsOf = (text: string): string[] =>
  [...text.matchAll(/^(?:import|export)\s[^;]*?from\s+"([^"]+)"|^import\s+"([^"]+)"/gms)].map(
    (match) => (match[1] ?? match[2])!,
  );
const isPure = (file: string): boolean => read(file).startsWith("// Pure.");
const isUntouched = (file: string): boolean => isPure(file) || ["wire", "routing"].includes(folderOf(file));

/** The matrix of ARCHITECTURE.md: folder to the folders it may import from. */
function matrix(): ReadonlyMap<string, ReadonlySet<string>> {
  const table = /## Who may import whom\n([\s\S]*?)\n## /.exec(read("ARCHITECTURE.md"))?.[1] ?? "";
  const rows = [...table.matchAll(/^\| `(\w+)` \|(.*)\|$/gm)];
  const folders = rows.map((row) => row[1]!);
  return new Map(
    rows.map(([, folder, cell = ""]) => {
      const named = [...cell.matchAll(/`(\w+)`/g)].map((match) => match[1]!);
      return [folder!, new Set(cell.includes("all of the above") ? folders : named)];
    }),
  );
}

describe("imports", () => {
  it("go only where the matrix of ARCHITECTURE.md allows", () => {
    const allowed = matrix();
    for (const file of sources) {
      for (const target of importsOf(read(file)).filter((path) => path.startsWith("."))) {
        const imported = relative(ROOT, join(ROOT, dirname(file), target));
        const [from, to] = [folderOf(file), folderOf(imported)];
        assert.ok(from === to || allowed.get(from)?.has(to), `${file} imports ${imported}`);
      }
    }
  });

  it("are written with their extension and find a file", () => {
    for (const file of code) {
      for (const target of importsOf(read(file)).filter((path) => path.startsWith("."))) {
        assert.match(target, /\.ts$/, `${file} imports ${target}`);
        assert.ok(existsSync(join(ROOT, dirname(file), target)), `${file} imports ${target}`);
      }
    }
  });

  it("use every runtime dependency, and no package that is none", () => {
    const { dependencies } = JSON.parse(read("package.json")) as { dependencies: Record<string, string> };
    const packageOf = (path: string): string =>
      path
        .split("/")
        .slice(0, path.startsWith("@") ? 2 : 1)
        .join("/");
    const used = new Set(
      sources
        .flatMap((file) => importsOf(read(file)))
        .filter((path) => !/^(\.|node:)/.test(path))
        .map(packageOf),
    );
    const resolved = sources.flatMap((file) =>
      [...read(file).matchAll(/resolve\("([^"]+)"\)/g)].map((match) => packageOf(match[1]!)),
    );
    const all = new Set([...used, ...resolved.filter((name) => !name.startsWith("."))]);
    for (const name of Object.keys(dependencies)) {
      const isUsed = all.has(name) || sources.some((file) => read(file).includes(`@${name}/`));
      assert.ok(isUsed, `${name} is a dependency and nothing imports it`);
    }
    for (const name of used) assert.ok(name in dependencies, `${name} is imported and is no dependency`);
  });
});

describe("files", () => {
  it("are no longer than 400 lines", () => {
    for (const file of code) assert.ok(read(file).split("\n").length <= LINES_MAX, file);
  });

  it("have names that say what is in them", () => {
    for (const file of code)
      assert.ok(!["index.ts", "utils.ts", "types.ts", "helpers.ts"].includes(basename(file)), file);
  });

  it("begin with what they are for", () => {
    for (const file of sources) assert.match(read(file), /^(#![^\n]*\n)?(\/\/ Pure\.\n)?\/\*\*/, file);
  });

  it("export by name", () => {
    for (const file of code) assert.doesNotMatch(bare(read(file)), /^export default/m, file);
  });

  it("have functions of at most 70 lines", () => {
    for (const file of code) {
      for (const { line, lines, head } of functions(bare(read(file)))) {
        const isGroup = /^\s*(describe|suite)\(/.test(head); // of tests, each a function of its own
        assert.ok(isGroup || lines <= FUNCTION_LINES_MAX, `${file}:${line} has a function of ${lines} lines`);
      }
    }
  });

  it("make no object at module level that lives and changes", () => {
    for (const file of sources) {
      const text = bare(read(file));
      assert.doesNotMatch(text, /^(export )?let /m, file);
      const made = [...text.matchAll(/^(?:export )?const \w+(?:: [^=\n]+)? = new (\w+)/gm)].map(
        (match) => match[1]!,
      );
      for (const name of made)
        assert.match(
          name,
          /^(Set|Map|Uint8Array|Uint32Array|RegExp|MessageBuilder)$/,
          `${file} makes a ${name}`,
        );
    }
  });
});

describe("pure files", () => {
  const pure = sources.filter(isUntouched);

  it("touch no socket, file, timer, clock or chance", () => {
    for (const file of pure) {
      assert.deepEqual(importsOf(read(file)).filter(touchesWorld), [], file);
      assert.doesNotMatch(
        bare(read(file)),
        /\b(Date|setTimeout|setInterval|setImmediate|process|performance|randomBytes|randomUUID|fetch)\b|Math\.random/,
        file,
      );
    }
  });

  it("take code only from files that do not either", () => {
    // Of the command's own files some share constants with those that act.
    for (const file of pure.filter((name) => folderOf(name) !== "cli")) {
      for (const used of valuesUsedBy(file)) {
        assert.deepEqual(importsOf(read(used)).filter(touchesWorld), [], `${file} uses ${used}`);
      }
    }
  });
});

const touchesWorld = (path: string): boolean => /^node:(?!(crypto|buffer)$)/.test(path);

/** The files whose code, not only types, `file` imports, however far away. */
function valuesUsedBy(file: string, seen = new Set<string>()): ReadonlySet<string> {
  const imports = [...read(file).matchAll(/^import (?!type\b)[^;]*?from "(\.[^"]+)"/gm)];
  for (const [, path] of imports) {
    const used = join(dirname(file), path!);
    if (seen.has(used)) continue;
    seen.add(used);
    valuesUsedBy(used, seen);
  }
  return seen;
}

describe("documents", () => {
  it("keep ARCHITECTURE.md short", () => {
    assert.ok(read("ARCHITECTURE.md").split("\n").length < ARCHITECTURE_LINES_MAX);
  });

  it("name files that exist", () => {
    const text = read("ARCHITECTURE.md");
    const named = [...text.matchAll(/`((?:src\/)?[a-z]+\/[A-Za-z/]+\.ts)`/g)].map((match) => match[1]!);
    for (const path of named) {
      const file = path.startsWith("src/") || path.startsWith("test/") ? path : `src/${path}`;
      assert.ok(existsSync(join(ROOT, file)), `ARCHITECTURE.md names ${path}`);
    }
  });

  it("have links that lead somewhere", () => {
    for (const file of ["README.md", "ARCHITECTURE.md", ...globSync("docs/*.md", { cwd: ROOT })]) {
      for (const [, target = ""] of read(file).matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)) {
        assert.ok(existsSync(join(ROOT, dirname(file), target)), `${file} links to ${target}`);
      }
    }
  });

  it("and code name no path of somebody's machine", () => {
    const tracked = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
      cwd: ROOT,
      encoding: "utf8",
    });
    for (const file of tracked
      .split("\n")
      .filter((name) => name !== "" && name !== "test/rules.test.ts" && existsSync(join(ROOT, name)))) {
      assert.doesNotMatch(read(file), /\/(?:work|root|home)\/[a-z]/, file);
    }
  });
});
