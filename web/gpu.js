// The three networks on the GPU, over whole histories: a thin host of networks.wgsl, which wgpu-py runs natively too. Buffers
// are kept from pass to pass, and one readback ends a pass. Never the tick: a round trip takes milliseconds. Runs in a page
// and in a worker.

import { LAYOUT } from "./layout.js";
import { oneLine, Refusal } from "./rpc.js";

/** @typedef {(weights: Uint8Array, features: Float32Array) => Promise<Float32Array> | Float32Array} Run */
/** @typedef {{software?: boolean, shader?: string}} Choice software: an adapter that is really the processor will do; shader: the text */

const SHADER = "/gpu/networks.wgsl";
const NETWORK = LAYOUT.cwts_network;
const INPUTS = NETWORK.fields.mean.count;
const ANSWERS = 5; // cascade up, down; whale up, down; value
const WORKGROUP = 64; // as in networks.wgsl
const MOST_ROWS = 1 << 20; // of one pass: 64 MiB of features
const VALUE_LIMIT = 1000; // basis points, as in network.c
export const MOST_APART = 1e-5; // from SIMD, of 1 + |answer|
const SIGN_FROM = 1e-4; // of an answer: below, its sign says nothing

/** Where a network's numbers lie, in words from its beginning. @returns {Record<string, number>} */
function constants() {
  const place = (/** @type {string} */ name) => NETWORK.fields[name].offset / 4;
  return {
    STRIDE: NETWORK.size / 4, MEAN: place("mean"), SCALE: place("scale"), WEIGHT_1: place("w1"), BIAS_1: place("b1"),
    WEIGHT_2: place("w2"), BIAS_2: place("b2"), LIMIT: place("limit"), VERSION: place("version"), VALUE_LIMIT,
  };
}

/** @returns {Promise<string>} */
async function shaderText() {
  const answer = await fetch(SHADER);
  if (!answer.ok) throw new Error(`${SHADER}: ${answer.status}`);
  return answer.text();
}

/** The networks on one device. Any failure is a Refusal with one line; the caller then works by SIMD. */
export class GpuNetworks {
  /** @param {GPUDevice} device @param {GPUComputePipeline} pipeline @param {string} name */
  constructor(device, pipeline, name) {
    const { limits } = device;
    this.device = device;
    this.pipeline = pipeline;
    this.name = name;
    const held = Math.floor(limits.maxStorageBufferBindingSize / (4 * INPUTS));
    this.mostRows = Math.min(MOST_ROWS, held, limits.maxComputeWorkgroupsPerDimension * WORKGROUP);
    this.room = 0;
    this.lost = "";
    this.weights = device.createBuffer({ size: 3 * NETWORK.size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
    this.batch = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    /** Features, answers, readback. @type {GPUBuffer[]} */
    this.buffers = [];
    /** @type {GPUBindGroup | null} */
    this.group = null;
    device.lost.then(({ message }) => {
      this.lost = oneLine(message || "the device was lost");
    });
  }

  /** @param {Choice} [choice] @returns {Promise<GpuNetworks>} */
  static async open({ software = false, shader } = {}) {
    const { gpu } = navigator;
    if (!gpu) throw new Refusal("this browser has no WebGPU");
    try {
      const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
      if (!adapter) throw new Refusal("no GPU adapter was found");
      const { vendor, architecture, description, isFallbackAdapter } = adapter.info;
      const name = [vendor, architecture || description].filter(Boolean).join(" ") || "unnamed";
      if (isFallbackAdapter && !software) throw new Refusal(`the only GPU adapter is software (${name})`);
      const device = await adapter.requestDevice();
      const module = device.createShaderModule({ code: shader ?? (await shaderText()) });
      const wrong = (await module.getCompilationInfo()).messages.find(({ type }) => type === "error");
      if (wrong) throw new Refusal(`the GPU refuses the shader: line ${wrong.lineNum}: ${oneLine(wrong.message)}`);
      const compute = { module, entryPoint: "run", constants: constants() };
      return new GpuNetworks(device, await device.createComputePipelineAsync({ layout: "auto", compute }), `WebGPU (${name})`);
    } catch (error) {
      throw error instanceof Refusal ? error : new Refusal(`the GPU cannot be used: ${oneLine(error)}`);
    }
  }

  /**
   * Rows of sixteen features to rows of five answers.
   * @param {Uint8Array} weights three cwts_network @param {Float32Array} features @returns {Promise<Float32Array>}
   */
  async run(weights, features) {
    const rows = features.length / INPUTS;
    if (weights.length !== 3 * NETWORK.size || !Number.isInteger(rows)) throw new RangeError("weights or features of another shape");
    const answers = new Float32Array(rows * ANSWERS);
    try {
      for (let from = 0; from < rows; from += this.mostRows) {
        const to = Math.min(from + this.mostRows, rows);
        await this.pass(weights, features.subarray(from * INPUTS, to * INPUTS), answers.subarray(from * ANSWERS, to * ANSWERS));
      }
    } catch (error) {
      throw new Refusal(`the GPU failed: ${this.lost || oneLine(error)}`);
    }
    return answers;
  }

  /** @param {Uint8Array} weights @param {Float32Array} features @param {Float32Array} answers to be filled */
  async pass(weights, features, answers) {
    if (this.lost) throw new Error(this.lost);
    const { device } = this;
    const rows = features.length / INPUTS;
    device.pushErrorScope("validation");
    device.pushErrorScope("out-of-memory");
    this.reserve(rows);
    const [input, output, readback] = this.buffers;
    device.queue.writeBuffer(this.weights, 0, /** @type {any} */ (weights));
    device.queue.writeBuffer(input, 0, /** @type {any} */ (features));
    device.queue.writeBuffer(this.batch, 0, new Uint32Array([rows, 0, 0, 0]));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.pipeline);
    pass.setBindGroup(0, this.group);
    pass.dispatchWorkgroups(Math.ceil(rows / WORKGROUP));
    pass.end();
    encoder.copyBufferToBuffer(output, 0, readback, 0, answers.byteLength);
    device.queue.submit([encoder.finish()]);
    for (const failure of await Promise.all([device.popErrorScope(), device.popErrorScope()])) if (failure) throw failure;
    await readback.mapAsync(GPUMapMode.READ, 0, answers.byteLength);
    answers.set(new Float32Array(readback.getMappedRange(0, answers.byteLength)));
    readback.unmap();
  }

  /** Room for so many rows: a power of two, so that batches that grow seldom make new buffers. @param {number} rows */
  reserve(rows) {
    if (rows <= this.room) return;
    const { device } = this;
    for (const buffer of this.buffers) buffer.destroy();
    this.room = Math.min(this.mostRows, Math.max(1024, 2 ** Math.ceil(Math.log2(rows))));
    const { STORAGE, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
    this.buffers = [
      device.createBuffer({ size: this.room * INPUTS * 4, usage: STORAGE | COPY_DST }),
      device.createBuffer({ size: this.room * ANSWERS * 4, usage: STORAGE | COPY_SRC }),
      device.createBuffer({ size: this.room * ANSWERS * 4, usage: MAP_READ | COPY_DST }),
    ];
    const resources = [this.weights, this.buffers[0], this.buffers[1], this.batch];
    const entries = resources.map((buffer, binding) => ({ binding, resource: { buffer } }));
    this.group = device.createBindGroup({ layout: this.pipeline.getBindGroupLayout(0), entries });
  }
}

/**
 * How far answers are from the reference, as `agreement` in cwts.gpu.history.
 * @param {Float32Array} answers @param {Float32Array} reference
 * @returns {{worst: number, signs: boolean, agrees: boolean}} `worst`: the largest difference, as a part of 1 + |reference|
 */
export function agreement(answers, reference) {
  let worst = 0;
  let signs = answers.length === reference.length;
  reference.forEach((wanted, at) => {
    const apart = Math.abs(answers[at] - wanted) / (1 + Math.abs(wanted));
    if (!(apart <= worst)) worst = Number.isNaN(apart) ? Infinity : apart;
    if (Math.abs(wanted) > SIGN_FROM && Math.sign(answers[at]) !== Math.sign(wanted)) signs = false;
  });
  return { worst, signs, agrees: signs && worst <= MOST_APART };
}

/** The device that worked last. @type {GpuNetworks | null} */
let kept = null;

/**
 * The networks over all rows, on the GPU where that works. Otherwise `tell` hears why, once and in one line, and SIMD does
 * the whole work.
 * @param {Uint8Array} weights three cwts_network @param {Float32Array} features sixteen a row
 * @param {Choice & {simd: Run, tell?: (message: string) => void, opened?: (by: string) => void}} how `opened`: hears who begins
 * @returns {Promise<{answers: Float32Array, by: string, ms: number}>} five answers a row, who gave them, and in what time
 *   (without that of opening a device)
 */
export async function runNetworks(weights, features, { simd, tell = () => {}, opened = () => {}, ...choice }) {
  let began = 0;
  try {
    const gpu = kept && !kept.lost ? kept : await GpuNetworks.open(choice);
    kept = null; // a device that fails is not asked again, and one that is at work has one readback
    opened(gpu.name);
    began = performance.now();
    const answers = await gpu.run(weights, features);
    kept = gpu;
    return { answers, by: gpu.name, ms: performance.now() - began };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    tell(`${error.message}; the work is done by SIMD`);
  }
  began = performance.now();
  const answers = await simd(weights, features);
  return { answers, by: "SIMD", ms: performance.now() - began };
}
