// Percentiles of the newest measurements of one stage.

const SAMPLES = 2048; // a power of two

export class Latency {
  constructor() {
    this.samples = new Float64Array(SAMPLES);
    this.sorted = new Float64Array(SAMPLES);
    this.count = 0;
  }

  /** @param {number} microseconds */
  add(microseconds) {
    this.samples[this.count++ & (SAMPLES - 1)] = microseconds;
  }

  clear() {
    this.count = 0;
  }

  /** @returns {[number, number]} p50 and p99 in microseconds; zero before the first measurement */
  percentiles() {
    const size = Math.min(this.count, SAMPLES);
    if (size === 0) return [0, 0];
    const sorted = this.sorted.subarray(0, size);
    sorted.set(this.samples.subarray(0, size));
    sorted.sort();
    return [sorted[size >> 1], sorted[Math.min(size - 1, Math.floor(size * 0.99))]];
  }
}
