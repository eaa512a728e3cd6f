/**
 * The one way to start a promise that nobody awaits.
 *
 * `why` says what makes it right not to wait. A rejection is not swallowed: it is thrown again outside the
 * promise, where it ends the process like any other broken invariant.
 */
export function detach(promise: Promise<unknown>, why: string): void {
  promise.catch((error: unknown) => {
    queueMicrotask(() => {
      throw new Error(`detached work failed (${why})`, { cause: error });
    });
  });
}
