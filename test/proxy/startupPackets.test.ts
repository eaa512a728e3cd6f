/** Startup packets that are alike are read once. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { StartupPackets } from "../../src/proxy/startupPackets.ts";
import { startup } from "../../src/wire/frontendWriters.ts";

const packet = (name: string): Buffer =>
  startup(
    [
      ["user", "ann"],
      ["application_name", name],
    ],
    0,
  );

describe("startup packets that are alike", () => {
  test("are one message, with one reading of what they set", () => {
    const packets = new StartupPackets();
    const first = packets.read(packet("a"));
    const second = packets.read(packet("a"));
    assert.equal(first, second);
    assert.equal(packets.settingsOf(first), packets.settingsOf(second));
    assert.deepEqual([...packets.settingsOf(first).startup], [["application_name", "a"]]);
  });

  test("and others are others", () => {
    const packets = new StartupPackets();
    assert.equal(packets.read(packet("b")).parameters.get("application_name"), "b");
    assert.equal(packets.read(packet("c")).parameters.get("application_name"), "c");
  });

  test("are forgotten when there are many, the oldest first", () => {
    const packets = new StartupPackets();
    const first = packets.read(packet("0"));
    for (let i = 1; i < 500; i += 1) packets.read(packet(String(i)));
    assert.equal(packets.read(packet("0")), first);
    packets.read(packet("500"));
    assert.notEqual(packets.read(packet("0")), first);
  });

  test("are read anew each time if they are long", () => {
    const packets = new StartupPackets();
    const long = packet("x".repeat(2_000));
    assert.notEqual(packets.read(long), packets.read(long));
  });

  test("are refused each time if they say nothing", () => {
    const packets = new StartupPackets();
    const nobody = Buffer.from([0, 0, 0, 9, 0, 3, 0, 0, 0]);
    for (let i = 0; i < 2; i += 1) assert.throws(() => packets.read(nobody), { id: "login.no_user" });
  });
});
