// Pure.
/**
 * Self time by function out of a V8 CPU profile.
 * https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile
 */

/** The parts of a `.cpuprofile` file that are read here. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    /** The nodes it called. */
    readonly children?: readonly number[];
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  /** The node that ran at each sample. */
  readonly samples: readonly number[];
  /** The µs before each sample. */
  readonly timeDeltas: readonly number[];
}

export interface SelfTime {
  readonly name: string;
  /** File and line, or empty for what is not JavaScript. */
  readonly place: string;
  readonly selfMs: number;
  /** Of the time in which the process did anything, 0 to 1. */
  readonly share: number;
}

/** Only the last `us` of it. */
export function endOf(profile: CpuProfile, us: number): CpuProfile {
  let from = profile.samples.length;
  for (let left = us; from > 0 && left > 0; left -= profile.timeDeltas[from] ?? 0) from -= 1;
  return {
    nodes: profile.nodes,
    samples: profile.samples.slice(from),
    timeDeltas: profile.timeDeltas.slice(from),
  };
}

/** Functions by falling self time; idle time is not counted. Places are told relative to `root`, a file URL. */
export function selfTimes(profile: CpuProfile, root: string): SelfTime[] {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const selfUs = new Map<string, { name: string; place: string; us: number }>();
  let busyUs = 0;
  profile.samples.forEach((id, index) => {
    const frame = frames.get(id);
    if (frame === undefined || frame.functionName === "(idle)") return;
    const name = frame.functionName || "(anonymous)";
    const place = frame.url === "" ? "" : `${frame.url.replace(root, "")}:${frame.lineNumber + 1}`;
    const us = profile.timeDeltas[index] ?? 0;
    const entry = selfUs.get(`${name} ${place}`) ?? { name, place, us: 0 };
    selfUs.set(`${name} ${place}`, { ...entry, us: entry.us + us });
    busyUs += us;
  });
  return [...selfUs.values()]
    .map(({ name, place, us }) => ({ name, place, selfMs: us / 1000, share: busyUs > 0 ? us / busyUs : 0 }))
    .toSorted((a, b) => b.selfMs - a.selfMs);
}

/** The first `count` of them, one a line. */
export function profileTable(times: readonly SelfTime[], count: number): string {
  const lines = times
    .slice(0, count)
    .map(({ name, place, selfMs, share }) =>
      `${(share * 100).toFixed(1).padStart(5)} %  ${selfMs.toFixed(0).padStart(6)} ms  ${name}  ${place}`.trimEnd(),
    );
  return lines.join("\n");
}
