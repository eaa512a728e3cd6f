/**
 * A synchronous standby that does not exist: commits and PREPARE TRANSACTION on a shard wait for it, having done all else.
 *
 * Commits wait once the shard's checkpointer has read the setting, and that may be later than when sessions show
 * it; so a commit of this module's own shows whether they do.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { TestShard } from "./shards.ts";

const NAMES = "synchronous_standby_names";
const WAIT_MS_MAX = 15_000;
/** A transaction that writes to the log and changes nothing. */
const PROBE = "SELECT pg_catalog.pg_logical_emit_message(true, 'probe', '')";

type Session = Awaited<ReturnType<TestShard["connect"]>>;

/** From when it resolves on, commits on `shard` wait for the standby. */
export async function wantStandby(shard: TestShard): Promise<void> {
  const [control, probe] = await Promise.all([shard.connect(), shard.connect()]);
  try {
    await control.query(`ALTER SYSTEM SET ${NAMES} = 'nobody'`);
    await control.query("SELECT pg_reload_conf()");
    const { rows } = await probe.query("SELECT pg_backend_pid() AS pid");
    const untilMs = performance.now() + WAIT_MS_MAX;
    while (!(await waits(control, probe, rows[0].pid)))
      if (performance.now() > untilMs) throw new Error("commits never wait for the standby");
  } finally {
    await Promise.all([control.end(), probe.end()]);
  }
}

/** Whether a commit of `probe`, whose process id is `pid`, waits; it does not when this resolves. */
async function waits(control: Session, probe: Session, pid: number): Promise<boolean> {
  let isDone = false;
  const writing = probe.query(PROBE).finally(() => (isDone = true));
  while (!isDone) {
    const waiting = `FROM pg_stat_activity WHERE pid = ${pid} AND wait_event = 'SyncRep'`;
    const { rowCount } = await control.query(`SELECT pg_cancel_backend(pid) ${waiting}`);
    if (rowCount === 0) continue;
    await writing; // cancelling ends the wait, and the commit stands
    return true;
  }
  return false;
}

/** From when it resolves on they do not, and who waited goes on. */
export async function wantNoStandby(shard: TestShard): Promise<void> {
  const control = await shard.connect();
  try {
    await control.query(`ALTER SYSTEM RESET ${NAMES}`);
    await control.query("SELECT pg_reload_conf()");
    const untilMs = performance.now() + WAIT_MS_MAX;
    for (;;) {
      const { rows } = await control.query(
        `SELECT current_setting('${NAMES}') = '' AND NOT EXISTS
          (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep') AS is_over`,
      );
      if (rows[0].is_over) return;
      if (performance.now() > untilMs) throw new Error("commits still wait for the standby");
      await delay(5);
    }
  } finally {
    await control.end();
  }
}
