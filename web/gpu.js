// The three networks on the GPU, over whole histories: a thin host of networks.wgsl, which wgpu-py runs natively too. Buffers
// are kept from batch to batch, and one readback ends a batch. Never the tick: a round trip takes milliseconds.

import { LAYOUT } from "./layout.js";
import { oneLine, Refusal } from "./rpc.js";

const SHADER = "/gpu/networks.wgsl";
const INPUTS = LAYOUT.cwts_config.fields.weights.count;
export const ANSWERS = 5; // cascade up, down; whale up, down; value
const WORKGROUP = 64;
const MOST_GROUPS = 65_535; // of one dimension of a dispatch
const MOST_ROWS = 1 << 22;
const VALUE_LIMIT = 1000; // basis points, as in network.c

/** Where a network's numbers lie, in floats from its beginning. @returns {Record<string, number>} */
function constants() {
  const { fields, size } = LAYOUT.cwts_network;
  const place = (/** @type {string} */ name) => fields[name].offset / 4;
  return {
    STRIDE: size / 4, MEAN: place("mean"), SCALE: place("scale"), WEIGHT_1: place("w1"), BIAS_1: place("b1"),
    WEIGHT_2: place("w2"), BIAS_2: place("b2"), LIMIT: place("limit"), VERSION: place("version"), VALUE_LIMIT,
  };
}

/** The networks on one device. Any failure is a Refusal with one line; the caller then works by SIMD. */
export class GpuNetworks {
  /**
   * @param {GPUDevice} device @param {GPUComputePipeline} pipeline @param {string} name
   */
  constructor(device, pipeline, name) {
    this.device = device;
    this.pipeline = pipeline;
    this.name = name;
    this.mostRows = Math.min(Math.floor(device.limits.maxStorageBufferBindingSize / (4 * INPUTS)), MOST_ROWS);
    this.room = 0;
    this.lost = "";
    /** @type {GPUBuffer[]} features, answers, readback */
    this.buffers = [];
    this.weights = device.createBuffer({ size: 3 * LAYOUT.cwts_network.size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
    this.rows = device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    /** @type {GPUBindGroup | null} */
    this.group = null;
    device.lost.then(({ message }) => {
      this.lost = message || "the device was lost";
    });
  }

  /** @param {{software?: boolean}} [options] software: an adapter that is really the processor will do @returns {Promise<GpuNetworks>} */
  static async open({ software = false } = {}) {
    const { gpu } = navigator;
    if (!gpu) throw new Refusal("this browser has no WebGPU");
    try {
      const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
      if (!adapter) throw new Refusal("no GPU adapter was found");
      const { info } = adapter;
      if (info.isFallbackAdapter && !software) throw new Refusal(`the only GPU adapter is software (${info.description || info.vendor})`);
      const device = await adapter.requestDevice();
      const code = await (await fetch(SHADER)).text();
      const module = device.createShaderModule({ code });
      const problems = (await module.getCompilationInfo()).messages.filter(({ type }) => type === "error");
      if (problems.length > 0) throw new Refusal(`the GPU refuses the shader: ${problems[0].message}`);
      const compute = { module, entryPoint: "run", constants: constants() };
      const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute });
      return new GpuNetworks(device, pipeline, `WebGPU (${[info.vendor, info.architecture || info.description].filter(Boolean).join(" ")})`);
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
    const answers = new Float32Array(rows * ANSWERS);
    try {
      for (let from = 0; from < rows; from += this.mostRows) {
        const count = Math.min(this.mostRows, rows - from);
        const piece = features.subarray(from * INPUTS, (from + count) * INPUTS);
        answers.set(await this.piece(weights, piece, count), from * ANSWERS);
      }
    } catch (error) {
      throw new Refusal(`the GPU failed: ${this.lost || oneLine(error)}`);
    }
    return answers;
  }

  /** @param {Uint8Array} weights @param {Float32Array} features @param {number} rows */
  async piece(weights, features, rows) {
    if (this.lost) throw new Error(this.lost);
    const { device } = this;
    device.pushErrorScope("validation");
    device.pushErrorScope("out-of-memory");
    this.reserve(rows);
    const [input, output, readback] = this.buffers;
    const groups = Math.ceil(rows / WORKGROUP);
    const across = Math.min(groups, MOST_GROUPS);
    device.queue.writeBuffer(this.weights, 0, /** @type {any} */ (weights));
    device.queue.writeBuffer(input, 0, /** @type {any} */ (features));
    device.queue.writeBuffer(this.rows, 0, new Uint32Array([rows, across * WORKGROUP, 0, 0]));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.pipeline);
    pass.setBindGroup(0, this.group);
    pass.dispatchWorkgroups(across, Math.ceil(groups / across));
    pass.end();
    const bytes = rows * ANSWERS * 4;
    encoder.copyBufferToBuffer(output, 0, readback, 0, bytes);
    device.queue.submit([encoder.finish()]);
    const failures = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
    for (const failure of failures) if (failure) throw failure;
    await readback.mapAsync(GPUMapMode.READ, 0, bytes);
    const answers = new Float32Array(readback.getMappedRange(0, bytes)).slice();
    readback.unmap();
    return answers;
  }

  /** @param {number} rows */
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
    const resources = [this.weights, this.buffers[0], this.buffers[1], this.rows];
    const entries = resources.map((buffer, binding) => ({ binding, resource: { buffer } }));
    this.group = device.createBindGroup({ layout: this.pipeline.getBindGroupLayout(0), entries });
  }
}
