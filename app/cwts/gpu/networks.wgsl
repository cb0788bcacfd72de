// The three small networks (native_ext/kernel/network.c) over many rows at once: sixteen features in, five answers out.
// One invocation a row. Where a network's numbers lie is cwts_network's layout (cwts.h), given by the host as constants, in
// words from the network's beginning. The kernel is the reference; sums have another order than there, and the answers agree to 1e-5.

override STRIDE: u32;      // words of one network; they follow each other: cascade, whale, value
override MEAN: u32;        // 16
override SCALE: u32;       // 16
override WEIGHT_1: u32;    // 16 × 8, by input
override BIAS_1: u32;      // 8
override WEIGHT_2: u32;    // 2 × 8, by output
override BIAS_2: u32;      // 2
override LIMIT: u32;       // 1: of a normalised input, either way
override VERSION: u32;     // 1, an integer; 0: there is no such network, and it says 0
override VALUE_LIMIT: f32; // of the value network's answer, basis points

const INPUTS = 16u;
const HIDDEN = 8u;
const ANSWERS = 5u;        // cascade up, down; whale up, down; value

@group(0) @binding(0) var<storage, read> weights: array<u32>; // words: VERSION, read as a float, might be flushed to 0
@group(0) @binding(1) var<storage, read> features: array<f32>;
@group(0) @binding(2) var<storage, read_write> answers: array<f32>;
@group(0) @binding(3) var<uniform> batch: vec4<u32>; // x: how many rows

fn weight(at: u32) -> f32 {
  return bitcast<f32>(weights[at]);
}

fn input(network: u32, row: u32, i: u32) -> f32 {
  let limit = weight(network + LIMIT);
  return clamp((features[row * INPUTS + i] - weight(network + MEAN + i)) * weight(network + SCALE + i), -limit, limit);
}

fn hidden(network: u32, row: u32) -> array<f32, 8> {
  var even: array<f32, 8>;
  var odd: array<f32, 8>;
  for (var j = 0u; j < HIDDEN; j++) {
    even[j] = weight(network + BIAS_1 + j);
  }
  for (var i = 0u; i < INPUTS; i += 2u) {
    let x = input(network, row, i);
    let y = input(network, row, i + 1u);
    let w = network + WEIGHT_1 + i * HIDDEN;
    for (var j = 0u; j < HIDDEN; j++) {
      even[j] += x * weight(w + j);
      odd[j] += y * weight(w + HIDDEN + j);
    }
  }
  for (var j = 0u; j < HIDDEN; j++) {
    even[j] = max(even[j] + odd[j], 0.0);
  }
  return even;
}

fn answer(network: u32, index: u32, layer: ptr<function, array<f32, 8>>) -> f32 {
  let w = network + WEIGHT_2 + index * HIDDEN;
  var part: array<f32, 4>;
  for (var j = 0u; j < 4u; j++) {
    part[j] = (*layer)[j] * weight(w + j) + (*layer)[j + 4u] * weight(w + j + 4u);
  }
  return (part[0] + part[2]) + (part[1] + part[3]) + weight(network + BIAS_2 + index);
}

fn probability(x: f32) -> f32 {
  let e = exp(-abs(x)); // of what cannot overflow
  return select(1.0, e, x < 0.0) / (1.0 + e);
}

@compute @workgroup_size(64)
fn run(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.x;
  if (row >= batch.x) {
    return;
  }
  for (var index = 0u; index < ANSWERS; index++) {
    answers[row * ANSWERS + index] = 0.0;
  }
  for (var n = 0u; n < 3u; n++) {
    let network = n * STRIDE;
    if (weights[network + VERSION] == 0u) {
      continue;
    }
    var layer = hidden(network, row);
    let to = row * ANSWERS + 2u * n;
    if (n == 2u) {
      answers[to] = clamp(answer(network, 0u, &layer), -VALUE_LIMIT, VALUE_LIMIT);
    } else {
      answers[to] = probability(answer(network, 0u, &layer));
      answers[to + 1u] = probability(answer(network, 1u, &layer));
    }
  }
}
