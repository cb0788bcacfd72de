// Percentiles of the newest measurements of one stage: a histogram of log-linear buckets, 16 to the octave as in the kernel,
// over a ring of samples. Adding costs two increments and no percentile sorts anything.

const SAMPLES = 2048; // a power of two
const OCTAVES = 32;
const STEPS = 16;
const NS = new Float64Array(1);
const BITS = new Uint32Array(NS.buffer);

/** @param {number} microseconds @returns {number} */
function bucketOf(microseconds) {
  NS[0] = Math.min(Math.max(microseconds * 1000, 1), 2 ** OCTAVES - 1);
  return (BITS[1] >>> 16) - (1023 << 4); // the exponent and the first four bits after the point
}

/** The middle of a bucket. @param {number} bucket @returns {number} microseconds */
function valueOf(bucket) {
  return (2 ** Math.floor(bucket / STEPS) * (1 + ((bucket % STEPS) + 0.5) / STEPS)) / 1000;
}

export class Latency {
  constructor() {
    this.samples = new Uint16Array(SAMPLES); // buckets
    this.buckets = new Uint32Array(OCTAVES * STEPS);
    this.count = 0;
  }

  /** @param {number} microseconds */
  add(microseconds) {
    const at = this.count++ & (SAMPLES - 1);
    if (this.count > SAMPLES) this.buckets[this.samples[at]] -= 1;
    const bucket = bucketOf(microseconds);
    this.samples[at] = bucket;
    this.buckets[bucket] += 1;
  }

  clear() {
    this.count = 0;
    this.buckets.fill(0);
  }

  /** @returns {[number, number]} p50 and p99 in microseconds, to one part in 32; zero before the first measurement */
  percentiles() {
    const size = Math.min(this.count, SAMPLES);
    if (size === 0) return [0, 0];
    /** @param {number} rank from 0 */
    const ranked = (rank) => {
      let bucket = 0;
      for (let below = this.buckets[0]; below <= rank; below += this.buckets[bucket]) bucket += 1;
      return valueOf(bucket);
    };
    return [ranked(size >> 1), ranked(Math.min(size - 1, Math.floor(size * 0.99)))];
  }
}
