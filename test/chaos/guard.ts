/**
 * Ends what a run started if the run itself is killed: a shell (shellAtEnd.ts). It ends every process that works in the run's directory, twice, for one that was just being started;
 * where there is no /proc, those that pid files name.
 */
import { shellAtEnd } from "../support/shellAtEnd.ts";

const SCRIPT = `
end_all() {
  if [ -d /proc/self ]; then
    for process in /proc/[0-9]*; do
      [ "$(readlink "$process/cwd" 2>/dev/null)" = "$0" ] && kill -KILL "\${process#/proc/}"
    done
  else
    for file in "$0"/*.pid; do [ -f "$file" ] && kill -KILL "$(cat "$file")"; done
  fi
}
end_all
[ -f "$0/mounts" ] && while read -r directory; do umount -l "$directory"; done <"$0/mounts"
sleep 1
end_all
exit 0`;

/** Guards `home`; the returned function lets it go, when nothing of the run is left. */
export const guard = (home: string): (() => Promise<void>) => shellAtEnd(SCRIPT, home);
