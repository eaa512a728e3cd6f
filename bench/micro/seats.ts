/** Seats of a pool: the right to a connection, taken and given back, when there is one and when others wait. */
import { Fault } from "../../src/base/fault.ts";
import { systemEnvironment } from "../../src/cli/systemEnvironment.ts";
import { type SeatLimits, Seats, type Seeker } from "../../src/pool/seats.ts";
import { NO_CLIENT } from "../../src/pool/share.ts";
import type { Micro } from "./micro.ts";

const LIMITS: SeatLimits = {
  max: 20,
  reserve: 0,
  reserveTimeoutMs: 0,
  noticeAfterMs: 0,
  checkoutTimeoutMs: 15_000,
  queueMax: 10_000,
};

const seatsFor = (max: number): Seats =>
  new Seats({
    limits: { ...LIMITS, max },
    clock: systemEnvironment.clock,
    fault: (id) => new Fault(id),
    about: () => "",
  });

const free: Micro = {
  name: "seat-free",
  about: "a seat taken and given back while there are others",
  setUp() {
    const seats = seatsFor(LIMITS.max);
    let taken = 0;
    return {
      run(times) {
        for (let i = 0; i < times; i++) {
          if (seats.tryTake(NO_CLIENT.share)) taken += 1;
          seats.give(NO_CLIENT.share);
        }
      },
      counts: () => ({ taken }),
    };
  },
};

/** So many clients go round: each gives its seat back, and queues again. */
const queued = (waiting: number): Micro => ({
  name: `seat-queued-${waiting}`,
  about: `a seat that goes from one client to the next of ${waiting} that wait`,
  setUp() {
    const seats = seatsFor(1);
    let served = 0;
    const seeker: Seeker = {
      onSeat: () => void (served += 1),
      onRefused() {},
    };
    seats.tryTake(NO_CLIENT.share);
    for (let i = 0; i < waiting; i++) seats.take(NO_CLIENT, seeker);
    return {
      run(times) {
        for (let i = 0; i < times; i++) {
          seats.give(NO_CLIENT.share);
          seats.take(NO_CLIENT, seeker);
        }
      },
      counts: () => ({ served }),
      close: () => seats.refuseAll(() => new Fault("login.shutting_down")),
    };
  },
});

export const SEATS: readonly Micro[] = [free, queued(1), queued(480)];
