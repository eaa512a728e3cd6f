/**
 * What the demo tells of a recovery: it listens to pgxa's own log for what the resolver settled.
 */
import type { Log } from "../observe/log.ts";

export class RecoveryReport {
  committed = 0;
  rolledBack = 0;
  /** Passes everything on to the log it was made for. */
  readonly log: Log;

  constructor(log: Log) {
    this.log = {
      ...log,
      info: (event, fields) => {
        if (event === "resolver.resolved") this.#count(fields as { readonly outcome?: string } | undefined);
        log.info(event, fields);
      },
    };
  }

  toString(): string {
    return `${this.committed} committed, ${this.rolledBack} rolled back`;
  }

  #count(fields: { readonly outcome?: string } | undefined): void {
    if (fields?.outcome === "commit") this.committed += 1;
    else this.rolledBack += 1;
  }
}
