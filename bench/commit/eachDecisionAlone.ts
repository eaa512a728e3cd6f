/**
 * Given to pgxa with `--import`: takes group commit away from its decision log of files, to show what it is worth. The
 * next decision is not begun before the one before it is on the disk.
 */
import { FileLog } from "../../src/txn/fileLog/fileLog.ts";

const decide = FileLog.prototype.decide;
const last: { done: Promise<unknown> } = { done: Promise.resolve() };

FileLog.prototype.decide = function (gtrid, outcome, participants) {
  const decided = last.done.then(() => decide.call(this, gtrid, outcome, participants));
  last.done = decided.catch(() => {}); // whoever asked is told
  return decided;
};
