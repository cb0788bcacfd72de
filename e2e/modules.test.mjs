// The page's own modules without a browser: node --test e2e/modules.test.mjs

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { MessageChannel, Worker } from "node:worker_threads";
import { createServer } from "node:http";
import {
  ANSWER_BYTES, createRing, ENTRY, frameBytes, HEADER_BYTES, knock, LARGEST_BYTES, pause, PortReader, PortWriter, RingReader, RingWriter,
  sleptMs, time,
} from "../web/ring.js";
import { Latency } from "../web/latency.js";
import { createMirror, DRAWN, MirrorReader, MirrorWriter } from "../web/mirror.js";
import { ENUMS } from "../web/layout.js";
import { Driver } from "../web/workers/driver.js";
import { plain } from "../web/snapshot.js";
import { reasonShort, reasonWords } from "../web/words.js";

// Atomics.waitAsync does not keep Node alive.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));

/** @param {Uint8Array} heap @param {number} address @param {number} size */
function framesIn(heap, address, size) {
  const view = new DataView(heap.buffer, heap.byteOffset);
  const frames = [];
  for (let at = address; at < address + size; ) {
    const length = view.getUint32(at + 8, true);
    const payload = heap.slice(at + HEADER_BYTES, at + HEADER_BYTES + length);
    const padding = heap.slice(at + HEADER_BYTES + length, at + frameBytes(length));
    assert.ok(padding.every((byte) => byte === 0), "padding is zero");
    frames.push({ recv: view.getBigInt64(at, true), stream: view.getUint16(at + 12, true), kind: view.getUint16(at + 14, true), payload });
    at += frameBytes(length);
  }
  return frames;
}

/** Deterministic. @param {number} seed */
function random(seed) {
  let state = seed;
  return () => (state = (state * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff;
}

test("a frame that is larger than a drain's limit comes by itself", () => {
  const ring = createRing(8192);
  const [writer, reader] = [new RingWriter(ring), new RingReader(ring)];
  const heap = new Uint8Array(8192);
  for (const length of [10, 3000, 20, 30, 2500, 1200]) {
    writer.push(1n, 0, 0, new Uint8Array(length).fill(length & 255));
    writer.commit();
  }
  const got = [];
  for (let size; (size = reader.drain(heap, 0, 512)) > 0; ) got.push(framesIn(heap, 0, size).map(({ payload }) => payload.length));
  assert.deepEqual(got, [[10], [3000], [20, 30], [2500], [1200]]);
});

test("frames come out as they went in, across many wraps and at every limit", async () => {
  for (const limit of [512, 700, 4096]) {
    const ring = createRing(4096);
    const [writer, reader] = [new RingWriter(ring), new RingReader(ring)];
    const heap = new Uint8Array(8192 + 64);
    const next = random(limit);
    const sent = [];
    const got = [];
    for (let at = 0; at < 5000; at++) {
      const payload = Uint8Array.from({ length: Math.floor(next() * 400) }, (_, index) => index + at);
      while (!writer.fits(frameBytes(payload.length))) {
        writer.commit();
        const size = reader.drain(heap, 64, limit);
        assert.ok(size > 0);
        const frames = framesIn(heap, 64, size);
        assert.equal(frames.length, reader.frames);
        got.push(...frames);
      }
      writer.push(BigInt(at) * 1_000_000_007n, at & 15, at & 1, payload);
      sent.push({ recv: BigInt(at) * 1_000_000_007n, stream: at & 15, kind: at & 1, payload });
      if (next() < 0.3) writer.commit();
    }
    writer.close();
    for (let size; (size = reader.drain(heap, 64, limit)) > 0; ) got.push(...framesIn(heap, 64, size));
    assert.ok(reader.ended);
    assert.deepEqual(got, sent);
  }
});

test("what is not committed is not seen, and an empty ring is not ended until it is closed", () => {
  const ring = createRing(4096);
  const [writer, reader] = [new RingWriter(ring), new RingReader(ring)];
  const heap = new Uint8Array(4096);
  writer.push(1n, 0, 0, new Uint8Array(3));
  assert.equal(reader.drain(heap, 0, 4096), 0);
  writer.commit();
  assert.equal(reader.drain(heap, 0, 4096), 24);
  assert.equal(reader.waitCount, 1);
  assert.equal(reader.ended, false);
  writer.close();
  assert.equal(reader.ended, true);
});

test("a knock wakes the reader, and one that came before keeps it awake", { timeout: 60_000 }, async () => {
  const ring = createRing(4096);
  const reader = new RingReader(ring);
  knock(ring);
  reader.wait(1e9, 0);
  assert.equal(reader.knocks, 1);
  const module = new URL("../web/ring.js", import.meta.url).href;
  const source = `
    import { workerData } from "node:worker_threads";
    const { knock } = await import(workerData.module);
    setTimeout(() => knock(workerData.ring), 20);`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { workerData: { ring, module } });
  reader.wait(1e9, 1);
  assert.equal(reader.knocks, 2);
  await worker.terminate();
});

test("a full ring makes the writer wait, and nothing is lost between two threads", { timeout: 60_000 }, async () => {
  const ring = createRing(1 << 14);
  const count = 200_000;
  const source = `
    import { workerData } from "node:worker_threads";
    const alive = setInterval(() => {}, 1000);
    const { RingWriter, frameBytes } = await import(workerData.module);
    const writer = new RingWriter(workerData.ring);
    const payload = new Uint8Array(64);
    for (let at = 0; at < workerData.count; at++) {
      const size = at % 61;
      if (!writer.fits(frameBytes(size))) await writer.room(frameBytes(size));
      payload.fill(at & 255);
      writer.push(BigInt(at), 0, 0, payload.subarray(0, size));
      if (at % 7 === 0) writer.commit();
    }
    writer.close();
    clearInterval(alive);`;
  const module = new URL("../web/ring.js", import.meta.url).href;
  const address = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
  const worker = new Worker(address, { workerData: { ring, module, count } });
  const reader = new RingReader(ring);
  const heap = new Uint8Array(1 << 14);
  let next = 0;
  while (!reader.ended) {
    const size = reader.drain(heap, 0, 1 << 14);
    for (const frame of framesIn(heap, 0, size)) {
      assert.equal(frame.recv, BigInt(next));
      assert.equal(frame.payload.length, next % 61);
      assert.ok(frame.payload.every((byte) => byte === (next & 255)));
      next += 1;
    }
    if (size === 0) await reader.wait(20);
  }
  assert.equal(next, count);
  await worker.terminate();
});

test("the port carries the same frames without shared memory", async () => {
  const { port1, port2 } = new MessageChannel();
  const [writer, reader] = [new PortWriter(/** @type {any} */ (port1)), new PortReader(/** @type {any} */ (port2))];
  const heap = new Uint8Array(1 << 23);
  const sent = [];
  const got = [];
  const reading = (async () => {
    while (!reader.ended) {
      const size = reader.drain(heap, 0, 1 << 17);
      if (size === 0) await reader.wait(20);
      else got.push(...framesIn(heap, 0, size));
    }
  })();
  for (let at = 0; at < 400; at++) {
    const payload = new Uint8Array((at * 977) % 90_000).fill(at);
    if (!writer.fits(frameBytes(payload.length))) await writer.room(frameBytes(payload.length));
    writer.push(BigInt(at), 1, 0, payload);
    sent.push({ recv: BigInt(at), stream: 1, kind: 0, payload });
  }
  writer.close();
  await reading;
  assert.deepEqual(got, sent);
  port1.close();
});

for (const shared of [true, false]) {
  test(`the reader gets the newest whole state, ${shared ? "shared" : "by message"}`, () => {
    const memory = shared ? createMirror() : null;
    /** @type {MirrorReader} */
    let reader;
    const writer = new MirrorWriter(memory, (message) => reader.receive(structuredClone(message)));
    reader = new MirrorReader(memory, () => writer.acknowledged());
    /** @type {number[]} */
    const times = [];
    const signals = new Float32Array(32);
    const poll = () =>
      reader.poll((time, mid, equity, score, drawn) => {
        times.push(time);
        assert.deepEqual([mid, equity, score], [time + 0.5, -time, 0.25]);
        assert.deepEqual([...drawn], DRAWN.map((signal) => time * 32 + signal));
      });
    assert.equal(poll(), null);
    for (let at = 1; at <= 100; at++) {
      writer.slot.bytes.fill(at);
      signals.forEach((_, signal) => (signals[signal] = at * 32 + signal));
      writer.point(at, at + 0.5, -at, 0.25, signals);
      writer.publish();
      if (at % 3 === 0) {
        const slot = poll();
        assert.ok(slot);
        assert.ok(slot.bytes.every((byte) => byte === slot.bytes[0]), "not torn");
        if (shared) assert.equal(slot.bytes[0], at);
        assert.equal(poll(), null);
      }
    }
    writer.publish();
    poll();
    writer.publish();
    poll();
    assert.deepEqual(times, Array.from({ length: 100 }, (_, at) => at + 1));
  });
}

test("percentiles", () => {
  const latency = new Latency();
  assert.deepEqual(latency.percentiles(), [0, 0]);
  for (let round = 0; round < 4; round++) for (let at = 1; at <= 1000; at++) latency.add(round === 0 ? 5e6 : at);
  const [p50, p99] = latency.percentiles(); // of the newest 2,048: the first round is forgotten
  assert.ok(Math.abs(p50 / 501 - 1) < 1 / 16, `p50 ${p50}`);
  assert.ok(Math.abs(p99 / 991 - 1) < 1 / 16, `p99 ${p99}`);
});

test("plain decimals", () => {
  for (const [units, decimals, text] of /** @type {[bigint, number, string][]} */ ([
    [618000n, 1, "61800"], [-5n, 3, "-0.005"], [0n, 8, "0"], [123456789n, 8, "1.23456789"], [100n, 0, "100"], [9007199254740993n, 2, "90071992547409.93"],
  ])) {
    assert.equal(plain(units, decimals), text);
  }
});

test("every reason has words of its own, long and short", () => {
  const [long, short] = [new Set(), new Set()];
  for (const [name, reason] of Object.entries(ENUMS.cwts_reason)) {
    for (const position of [-1, 0, 1]) {
      const words = reasonWords(reason, 0.3, { enter: 0.25, exit: 0.05 }, { syncReason: 2, position });
      assert.doesNotMatch(words, /reason \d|undefined|NaN/, name);
      long.add(words);
    }
    assert.doesNotMatch(reasonShort(reason), /reason/, name);
    short.add(reasonShort(reason));
  }
  assert.equal(short.size, Object.keys(ENUMS.cwts_reason).length);
  assert.ok(long.size >= short.size);
});

test("time passes for the engine although the session drops what comes", () => {
  const { RAW, TIMER } = ENUMS.cwts_kind;
  const heap = new Uint8Array(4096);
  const view = new DataView(heap.buffer);
  const [input, taken] = [2048, /** @type {number} */ (1)]; // what `look` says of a message that the engine is to have
  /** @type {number[]} */
  let fed = [];
  let says = 0;
  const driver = new Driver({
    session: { look: () => says, passed() {}, events: () => false, take: () => "[]" },
    heap: () => heap,
    drained: 0,
    input,
    inputBytes: 2048,
    feed(bytes) {
      fed.push(...framesIn(heap, input, bytes).map(({ kind }) => kind));
      return 0;
    },
    act() {},
  });
  /** @param {number} second @param {number} kind */
  const comes = (second, kind) => {
    heap.fill(0);
    view.setBigInt64(0, BigInt(second * 1e9), true);
    view.setUint32(8, 2, true);
    view.setUint16(14, kind, true);
    fed = [];
    driver.process(frameBytes(2));
    return fed;
  };
  assert.deepEqual(comes(1, ENTRY.TICK), []);
  assert.deepEqual(comes(2, RAW), [], "dropped");
  assert.deepEqual(comes(2, ENTRY.TICK), [TIMER]);
  says = taken;
  assert.deepEqual(comes(3, RAW), [RAW]);
  says = 0;
  assert.deepEqual(comes(3, ENTRY.TICK), [], "a message brought the time");
  assert.deepEqual(comes(4, ENTRY.TICK), [TIMER]);
});

test("the time of stamps and ages goes on while the machine sleeps, and never back", (context) => {
  const real = Date.now;
  let slept = 0;
  context.mock.method(Date, "now", () => real() + slept);
  const before = time();
  assert.ok(Math.abs(before - real()) < 5000);
  slept = 7_200_000; // performance.now() may stand still meanwhile
  const after = time();
  assert.ok(after - before >= slept - 5000);
  assert.ok(Math.abs(sleptMs() - slept) < 5000);
  slept = 3_600_000; // somebody sets the clock back
  assert.ok(time() >= after);
  slept = 7_201_000; // or a little forward
  assert.ok(time() - after < 1000 && time() >= after);
});

test("after an overflow nothing is written over what was not read yet: what was late waits for room, in order", { timeout: 60_000 }, async () => {
  globalThis.addEventListener ??= () => {}; // of a worker; Node has none
  const { Sockets } = await import("../web/workers/sockets.js");
  const kB = 1 << 10;
  for (const sizes of [
    [1900, 1900, 1900], // the third is late, although nothing was lost
    [1900, 1900, 2500, 1900, 1900, 1900, 10], // one that fits no ring counts as lost; more is late than there is room for
  ]) {
    const server = createServer(({ url }, response) => {
      const index = Number(url?.slice(1));
      response.end(Buffer.alloc(sizes[index] * kB, index + 1));
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
    const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
    const ring = createRing();
    const [writer, reader] = [new RingWriter(ring), new RingReader(ring)];
    const sockets = new Sockets(writer);
    const heap = new Uint8Array(2 * LARGEST_BYTES);
    /** @type {[number, number, number][]} kind, request or how many were lost, bytes of the answer */
    const got = [];
    try {
      for (const [request, size] of sizes.entries()) {
        const [tail, late, lost] = [writer.tail, sockets.late.length, sockets.lost];
        sockets.carry([{ kind: "fetch", request, url: `http://127.0.0.1:${port}/${request}` }]);
        while (writer.tail - tail < size * kB && sockets.late.length === late && sockets.lost === lost) await pause(10);
      }
      for (let ticks = 0; ticks < 5; ) { // quiet, but for the ticks that come ten times a second
        for (const { kind, payload } of framesIn(heap, 0, reader.drain(heap, 0, LARGEST_BYTES))) {
          ticks = kind === ENTRY.TICK ? ticks + 1 : 0;
          if (kind === ENTRY.TICK) continue;
          const first = new DataView(payload.buffer).getUint32(0, true);
          const body = payload.subarray(ANSWER_BYTES);
          assert.ok(kind === ENTRY.LOST || body.every((byte) => byte === first + 1), "it is whole");
          got.push([kind, first, kind === ENTRY.LOST ? 0 : body.length / kB]);
        }
        await pause(10);
      }
    } finally {
      sockets.close();
      server.close();
      server.closeAllConnections();
    }
    const answers = sizes.map((size, request) => [ENTRY.FETCHED, request, size]);
    const oversized = sizes.indexOf(2500);
    assert.deepEqual(got, oversized < 0 ? answers : answers.with(oversized, [ENTRY.LOST, 1, 0]));
  }
});
