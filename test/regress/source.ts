/**
 * Where PostgreSQL's own regression files come from: a directory that is named, or Debian's source package.
 *
 * Output changes with every minor release, so of Debian's sources only those of the very server are taken: its
 * `--version` names the package. apt reads lists of its own in a directory of ours; the machine's are left as they are.
 * The functions in C that many files call are built with gcc. Where that cannot be done the files run without them,
 * and fail alike directly and through pgxa.
 */
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { complaint } from "../../bench/complaint.ts";

const run = promisify(execFile);

export interface RegressionSource {
  /** `src/test/regress` of PostgreSQL's source. */
  readonly files: string;
  /** With regress.so, refint.so and autoinc.so, as far as they are there. */
  readonly library: string;
  /** Every test in the order of the schedule. */
  readonly tests: readonly string[];
}

/** Debian's programs of the newest version that is installed, or null. */
export function findPrograms(): string | null {
  const home = "/usr/lib/postgresql";
  if (!existsSync(home)) return null;
  const versions = readdirSync(home).sort((a, b) => Number(b) - Number(a));
  const isWhole = (bin: string): boolean =>
    ["psql", "initdb", "postgres"].every((name) => existsSync(join(bin, name)));
  return versions.map((version) => join(home, version, "bin")).find(isWhole) ?? null;
}

/** The files for the server in `programs`; `given` is a source tree. A sentence says why there are none. */
export async function findSource(programs: string, given: string | null): Promise<RegressionSource | string> {
  const work = join(tmpdir(), `pgxa-regress-${process.getuid?.() ?? 0}`);
  const tree = given ?? (await debianTree(programs, work).catch((error: unknown) => why(error)));
  const files = existsSync(join(tree, "parallel_schedule")) ? tree : join(tree, "src/test/regress");
  if (!existsSync(join(files, "parallel_schedule"))) {
    return given === null ? tree : `${given} has no src/test/regress/parallel_schedule`;
  }
  return { files, library: await buildLibrary(programs, files), tests: await readSchedule(files) };
}

function why(error: unknown): string {
  return `Debian's source cannot be had: ${complaint("apt-get", String((error as Error).message))}`;
}

/** The unpacked source of the very package that the server is from; a sentence if there is none. */
async function debianTree(programs: string, work: string): Promise<string> {
  const { stdout } = await run(join(programs, "postgres"), ["--version"]);
  const version = /\(Debian (\S+)\)/.exec(stdout)?.[1];
  const major = /PostgreSQL\) (\d+)/.exec(stdout)?.[1];
  if (version === undefined || major === undefined) return `${programs} is not Debian's; give --source DIR`;
  const tree = join(work, version);
  if (existsSync(tree)) return tree;
  const apt = await privateApt(work);
  const aside = `${tree}-${process.pid}`;
  mkdirSync(aside, { recursive: true });
  try {
    await run("apt-get", [...apt, "source", "--download-only", `postgresql-${major}=${version}`], {
      cwd: aside,
    });
    const archive = readdirSync(aside).find((name) => name.includes(".orig.tar."))!;
    await run("tar", ["-xf", archive, "--strip-components=1", "--exclude=*/doc/*"], { cwd: aside });
    await unpackHeaders(apt, aside, `postgresql-server-dev-${major}=${version}`).catch(() => {});
    renameSync(aside, tree);
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
  return tree;
}

/** The headers of the server without the compilers that its package would install. */
async function unpackHeaders(apt: readonly string[], tree: string, name: string): Promise<void> {
  await run("apt-get", [...apt, "download", name], { cwd: tree });
  const file = readdirSync(tree).find((entry) => entry.endsWith(".deb"))!;
  await run("dpkg", ["-x", file, "headers"], { cwd: tree });
}

/** Options that keep apt to lists and caches of its own, with Debian's sources, brought up to date. */
async function privateApt(work: string): Promise<string[]> {
  const home = join(work, "apt");
  for (const part of ["lists/partial", "parts", "cache"]) mkdirSync(join(home, part), { recursive: true });
  const keys = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
  const { stdout } = await run("sh", ["-c", '. /etc/os-release && echo "$VERSION_CODENAME"']);
  const suites = [
    `http://deb.debian.org/debian ${stdout.trim()} main`,
    `http://deb.debian.org/debian-security ${stdout.trim()}-security main`,
  ];
  const lines = suites.flatMap((suite) => [`deb ${keys} ${suite}`, `deb-src ${keys} ${suite}`]);
  writeFileSync(join(home, "sources.list"), `${lines.join("\n")}\n`);
  const options = [
    `Dir::Etc::sourcelist=${join(home, "sources.list")}`,
    `Dir::Etc::sourceparts=${join(home, "parts")}`,
    `Dir::State::lists=${join(home, "lists")}`,
    `Dir::Cache=${join(home, "cache")}`,
    "APT::Sandbox::User=root",
  ].flatMap((option) => ["-o", option]);
  await run("apt-get", [...options, "update", "-qq"]);
  return options;
}

/** Builds what can be built; the directory of it. */
async function buildLibrary(programs: string, files: string): Promise<string> {
  const library = join(files, "pgxa-library");
  const made = join(library, "regress.so");
  mkdirSync(library, { recursive: true });
  for (const name of ["refint.so", "autoinc.so"]) {
    const installed = join(programs, "../lib", name);
    if (existsSync(installed)) cpSync(installed, join(library, name));
  }
  if (!existsSync(made)) {
    const include = ["-I", await headersOf(programs, files), "-I", "/usr/include/postgresql"];
    const source = join(files, "regress.c");
    await run("gcc", ["-O1", "-shared", "-fPIC", ...include, "-o", made, source]).catch(() => {
      console.log("▸ regress.so could not be built (gcc, postgresql-server-dev): some files say less");
    });
  }
  return library;
}

async function headersOf(programs: string, files: string): Promise<string> {
  const major = /postgresql\/(\d+)/.exec(programs)?.[1] ?? "";
  const unpacked = join(files, "../../../headers/usr/include/postgresql", major, "server");
  return existsSync(unpacked) ? unpacked : `/usr/include/postgresql/${major}/server`;
}

async function readSchedule(files: string): Promise<string[]> {
  const { stdout } = await run("cat", [join(files, "parallel_schedule")]);
  const lines = stdout.split("\n").filter((line) => line.startsWith("test:"));
  return lines.flatMap((line) => line.slice("test:".length).trim().split(/\s+/));
}
