/**
 * A disk that loses what disks lose, chosen by a seeded chance.
 *
 * What is synced is durable. Of the rest a crash keeps any first part, cut at any byte, or any of its sectors, with zeros
 * where the others would be; and of the names made, changed and removed in a directory that was not synced any subset.
 * A sync that fails keeps some sectors, too, and those that it lost stay lost although a later sync succeeds
 * (https://wiki.postgresql.org/wiki/Fsync_Errors). Until a crash everybody reads what was written.
 *
 * Each process has a view of its own (`process()`): once it is killed, nothing that it has begun goes on.
 */
import { basename, dirname } from "node:path";
import { Fault } from "../../src/base/fault.ts";
import type { LogDisk, LogFile, OwnerLock, SyncKind } from "../../src/txn/fileLog/logDisk.ts";
import type { SeededRandom } from "../sim/seededRandom.ts";

const SECTOR_BYTES = 512;

export interface DiskFaults {
  /** Of each write: it takes only a first part, as POSIX allows. */
  shortWrites: number;
  /** Of each write and sync: it fails with EIO. */
  writeErrors: number;
  syncErrors: number;
  /** Of each creation, removal and renaming. */
  nameErrors: number;
  /** What all files may have together: beyond it, writes take what fits and then fail with ENOSPC. */
  capacityBytes: number;
}

interface Node {
  /** What processes read. */
  live: Buffer;
  /** What a crash leaves for sure. */
  durable: Buffer;
  /** Since the last sync: bytes put at an offset, or a new length. */
  pending: (Put | Cut)[];
  /** Null for a file. */
  readonly directory: Directory | null;
}

interface Put {
  readonly at: number;
  readonly bytes: Buffer;
}

interface Cut {
  readonly length: number;
}

type Names = Map<string, Node>;

interface Directory {
  live: Names;
  durable: Names;
  pending: NameChange[];
}

/** One change of names, which happens as a whole, in one directory or in two. */
interface NameChange {
  isDone: boolean;
  readonly apply: () => void;
}

export class SimulatedDisk {
  readonly faults: DiskFaults = {
    shortWrites: 0,
    writeErrors: 0,
    syncErrors: 0,
    nameErrors: 0,
    capacityBytes: Number.POSITIVE_INFINITY,
  };
  readonly random: SeededRandom;
  readonly #root: Node = newDirectory();
  readonly #owners = new Map<string, DiskProcess>();
  readonly #processes = new Set<DiskProcess>();
  /** Awaited in every operation that takes time: here the simulation may do something else. */
  readonly pause: () => Promise<void>;
  /** How many syncs were asked for. */
  syncs = 0;

  constructor(random: SeededRandom, pause: () => Promise<void> = () => Promise.resolve()) {
    this.random = random;
    this.pause = pause;
  }

  /** A process that uses this disk. */
  process(): DiskProcess {
    const process = new DiskProcess(this, this.#owners);
    this.#processes.add(process);
    return process;
  }

  /** The machine stops: every process is gone, and what was not durable may be. */
  crash(): void {
    for (const process of this.#processes) process.kill();
    this.#processes.clear();
    this.#crash(this.#root, new Set());
  }

  /** The bytes of a file, to be looked at or damaged; what is returned is what `damage` makes of them. */
  damage(path: string, damage: (bytes: Buffer) => Buffer): void {
    const node = this.find(path);
    node.live = damage(Buffer.from(node.live));
    node.durable = node.live;
    node.pending = [];
  }

  get usedBytes(): number {
    const sum = (node: Node): number =>
      node.directory === null
        ? node.live.length
        : [...node.directory.live.values()].reduce((bytes, child) => bytes + sum(child), 0);
    return sum(this.#root);
  }

  /** Throws ENOENT. */
  find(path: string): Node {
    let node = this.#root;
    for (const name of path.split("/").filter((part) => part !== "")) {
      const next = node.directory?.live.get(name);
      if (next === undefined) throw systemError("ENOENT", path);
      node = next;
    }
    return node;
  }

  directory(path: string): Directory {
    const { directory } = this.find(path);
    if (directory === null) throw systemError("ENOTDIR", path);
    return directory;
  }

  /** Gives `name` in `directory` to `node`, or takes it from whoever has it. */
  change(...sets: readonly { readonly directory: Directory; name: string; node: Node | null }[]): void {
    for (const { directory, name, node } of sets) put(directory.live, name, node);
    const apply = (): void => {
      for (const { directory, name, node } of sets) put(directory.durable, name, node);
    };
    const change: NameChange = { isDone: false, apply };
    for (const directory of new Set(sets.map((set) => set.directory))) directory.pending.push(change);
  }

  /** A sync of `node` ends with an error: some of it is durable, the rest never will be. */
  failSync(node: Node): void {
    node.durable = this.#keepSome(node);
    node.pending = [];
  }

  #crash(node: Node, seen: Set<Node>): void {
    if (seen.has(node)) return;
    seen.add(node);
    const { directory } = node;
    if (directory === null) {
      node.durable = this.#keepSome(node);
      node.live = node.durable;
      node.pending = [];
      return;
    }
    const isPrefix = this.random.chance(0.5);
    const kept = this.random.below(directory.pending.length + 1);
    for (const [i, change] of directory.pending.entries()) {
      if (!change.isDone && (isPrefix ? i < kept : this.random.chance(0.5))) change.apply();
      change.isDone = true;
    }
    directory.pending = [];
    // Of the live names only those of nodes that have gone may matter: their changes are not of interest any more.
    for (const child of directory.durable.values()) this.#crash(child, seen);
    directory.live = new Map(directory.durable);
  }

  /** What the platter has of a file: all that is durable, and of what is pending what chance leaves. */
  #keepSome({ durable, pending }: Node): Buffer {
    if (pending.length === 0) return durable;
    const kept = pending.slice(0, this.random.below(pending.length + 1));
    const whole = applyAll(durable, kept);
    const safeBytes = Math.min(
      durable.length,
      whole.length,
      ...kept.map((one) => ("length" in one ? one.length : one.at)),
    );
    switch (this.random.below(3)) {
      case 0:
        return whole;
      case 1:
        return whole.subarray(0, safeBytes + this.random.below(whole.length - safeBytes + 1));
      default:
        return this.#loseSectors(whole, safeBytes);
    }
  }

  #loseSectors(whole: Buffer, safeBytes: number): Buffer {
    const bytes = Buffer.from(whole.subarray(0, safeBytes + this.random.below(whole.length - safeBytes + 1)));
    for (let at = safeBytes; at < bytes.length; ) {
      const end = Math.min(bytes.length, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
      if (this.random.chance(0.5)) bytes.fill(0, at, end);
      at = end;
    }
    return bytes;
  }
}

/** The disk as one process has it. */
export class DiskProcess implements LogDisk {
  readonly #disk: SimulatedDisk;
  readonly #owners: Map<string, DiskProcess>;
  isAlive = true;

  constructor(disk: SimulatedDisk, owners: Map<string, DiskProcess>) {
    this.#disk = disk;
    this.#owners = owners;
  }

  /** As kill -9 does it: what was written stays readable, and its locks are free. */
  kill(): void {
    this.isAlive = false;
    for (const [directory, owner] of this.#owners) if (owner === this) this.#owners.delete(directory);
  }

  async list(directory: string): Promise<readonly string[]> {
    await this.#turn();
    return [...this.#disk.directory(directory).live.keys()];
  }

  async read(path: string): Promise<Buffer> {
    await this.#turn();
    const node = this.#disk.find(path);
    if (node.directory !== null) throw systemError("EISDIR", path);
    return Buffer.from(node.live);
  }

  async create(path: string): Promise<LogFile> {
    await this.#turn();
    this.#mayFail(path);
    const directory = this.#disk.directory(dirname(path));
    if (directory.live.has(basename(path))) throw systemError("EEXIST", path);
    const node: Node = { live: Buffer.alloc(0), durable: Buffer.alloc(0), pending: [], directory: null };
    this.#disk.change({ directory, name: basename(path), node });
    return this.#file(node, path);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#turn();
    this.#mayFail(from);
    const node = this.#disk.find(from);
    this.#disk.change(
      { directory: this.#disk.directory(dirname(from)), name: basename(from), node: null },
      { directory: this.#disk.directory(dirname(to)), name: basename(to), node },
    );
  }

  async remove(path: string): Promise<void> {
    await this.#turn();
    this.#mayFail(path);
    this.#disk.find(path);
    this.#disk.change({ directory: this.#disk.directory(dirname(path)), name: basename(path), node: null });
  }

  async makeDirectory(path: string): Promise<void> {
    await this.#turn();
    const directory = this.#disk.directory(dirname(path));
    if (directory.live.has(basename(path))) throw systemError("EEXIST", path);
    this.#disk.change({ directory, name: basename(path), node: newDirectory() });
  }

  async removeDirectory(path: string): Promise<void> {
    await this.#turn();
    if (this.#disk.directory(path).live.size > 0) throw systemError("ENOTEMPTY", path);
    this.#disk.change({ directory: this.#disk.directory(dirname(path)), name: basename(path), node: null });
  }

  async syncDirectory(path: string): Promise<void> {
    const directory = this.#disk.directory(path);
    const changes = [...directory.pending];
    await this.#turn();
    if (this.#disk.random.chance(this.#disk.faults.syncErrors)) throw systemError("EIO", path);
    for (const change of changes) {
      if (!change.isDone) change.apply();
      change.isDone = true;
    }
    directory.pending = directory.pending.filter(({ isDone }) => !isDone);
  }

  async own(directory: string): Promise<OwnerLock> {
    await this.#turn();
    await this.#makeDurably(directory);
    if (!this.isAlive) await new Promise(() => {}); // killed meanwhile, it takes nothing
    if (this.#owners.has(directory)) throw new Fault("log.owned", { detail: `${directory}.` });
    this.#owners.set(directory, this);
    return {
      release: async () => {
        if (this.#owners.get(directory) === this) this.#owners.delete(directory);
      },
    };
  }

  async #makeDurably(path: string): Promise<void> {
    if (path === dirname(path)) return;
    await this.#makeDurably(dirname(path));
    try {
      this.#disk.find(path);
    } catch {
      await this.makeDirectory(path);
      await this.syncDirectory(dirname(path));
    }
  }

  #file(node: Node, path: string): LogFile {
    const disk = this.#disk;
    return {
      write: (bytes) => this.#write(node, path, bytes),
      sync: async (kind: SyncKind) => {
        if (kind === "none") return;
        disk.syncs += 1;
        const count = node.pending.length;
        await this.#turn();
        if (disk.random.chance(disk.faults.syncErrors)) {
          disk.failSync(node);
          throw systemError("EIO", path);
        }
        node.durable = applyAll(node.durable, node.pending.splice(0, count));
      },
      truncate: async (length: number) => {
        await this.#turn();
        const cut: Cut = { length };
        node.live = apply(node.live, cut);
        node.pending.push(cut);
      },
      close: () => this.#turn(),
    };
  }

  #write(node: Node, path: string, bytes: Uint8Array): number {
    const { faults, random, usedBytes } = this.#disk;
    if (!this.isAlive) throw systemError("EIO", path);
    const isShort = bytes.length > 1 && random.chance(faults.shortWrites);
    const wanted = isShort ? 1 + random.below(bytes.length - 1) : bytes.length;
    const room = Math.max(0, Math.min(wanted, faults.capacityBytes - usedBytes));
    if (room === 0) throw systemError("ENOSPC", path);
    if (random.chance(faults.writeErrors)) throw systemError("EIO", path);
    const one: Put = { at: node.live.length, bytes: Buffer.from(bytes.subarray(0, room)) };
    node.live = apply(node.live, one);
    node.pending.push(one);
    return room;
  }

  #mayFail(path: string): void {
    if (this.#disk.random.chance(this.#disk.faults.nameErrors)) throw systemError("EIO", path);
  }

  /** Whatever takes time; never ends in a process that is gone. */
  async #turn(): Promise<void> {
    if (this.isAlive) await this.#disk.pause();
    if (!this.isAlive) await new Promise(() => {});
  }
}

const newDirectory = (): Node => ({
  live: Buffer.alloc(0),
  durable: Buffer.alloc(0),
  pending: [],
  directory: { live: new Map(), durable: new Map(), pending: [] },
});

function put(names: Names, name: string, node: Node | null): void {
  if (node === null) names.delete(name);
  else names.set(name, node);
}

const applyAll = (bytes: Buffer, pending: readonly (Put | Cut)[]): Buffer => pending.reduce(apply, bytes);

function apply(bytes: Buffer, one: Put | Cut): Buffer {
  const length = "length" in one ? one.length : Math.max(bytes.length, one.at + one.bytes.length);
  const next = Buffer.alloc(length);
  bytes.copy(next, 0, 0, Math.min(bytes.length, length));
  if ("at" in one) one.bytes.copy(next, one.at);
  return next;
}

function systemError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: simulated, '${path}'`), { code });
}
