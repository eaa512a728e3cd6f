/*
 * Adds a millisecond to every flush of the programs that it is preloaded into: what a real disk or a replica that
 * must confirm takes, on a machine whose own disk confirms at once.
 *
 *     LD_PRELOAD=/path/slowFlush.so postgres …
 *
 * The flush itself is done as ever. How long is added is set in µs by PGXA_BENCH_FLUSH_US.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long added_us(void) {
  static long known = -1;
  if (known < 0) {
    const char *text = getenv("PGXA_BENCH_FLUSH_US");
    known = text == NULL ? 1000 : atol(text);
  }
  return known;
}

static int slowly(int result) {
  int reported = errno;
  struct timespec left = {.tv_sec = added_us() / 1000000, .tv_nsec = added_us() % 1000000 * 1000};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
  errno = reported;
  return result;
}

int fsync(int fd) { return slowly((int)syscall(SYS_fsync, fd)); }

int fdatasync(int fd) { return slowly((int)syscall(SYS_fdatasync, fd)); }
