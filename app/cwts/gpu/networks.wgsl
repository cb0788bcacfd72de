// The three small networks (native_ext/kernel/network.c) over many rows at once: sixteen features in, five answers out.
// One invocation a row. Where a network's numbers lie is cwts_network's layout (cwts.h), given by the host as constants, in
// floats from the network's beginning; the kernel is the reference, and the answers agree to 1e-5.

override STRIDE: u32;      // floats of one network; they follow each other: cascade, whale, value
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

@group(0) @binding(0) var<storage, read> weights: array<f32>;
@group(0) @binding(1) var<storage, read> features: array<f32>;
@group(0) @binding(2) var<storage, read_write> answers: array<f32>;
@group(0) @binding(3) var<uniform> rows: vec4<u32>; // x: how many; y: invocations a dispatch row

fn hidden(network: u32, row: u32) -> array<f32, 8> {
  var sum: array<f32, 8>;
  for (var j = 0u; j < HIDDEN; j++) {
    sum[j] = weights[network + BIAS_1 + j];
  }
  let limit = weights[network + LIMIT];
  for (var i = 0u; i < INPUTS; i++) {
    let x = clamp((features[row * INPUTS + i] - weights[network + MEAN + i]) * weights[network + SCALE + i], -limit, limit);
    for (var j = 0u; j < HIDDEN; j++) {
      sum[j] += x * weights[network + WEIGHT_1 + i * HIDDEN + j];
    }
  }
  return sum;
}

fn output(network: u32, answer: u32, layer: ptr<function, array<f32, 8>>) -> f32 {
  var sum = weights[network + BIAS_2 + answer];
  for (var j = 0u; j < HIDDEN; j++) {
    sum += max((*layer)[j], 0.0) * weights[network + WEIGHT_2 + answer * HIDDEN + j];
  }
  return sum;
}

fn probability(network: u32, x: f32) -> f32 {
  let e = exp(-abs(x));
  return select(select(1.0, e, x < 0.0) / (1.0 + e), 0.0, bitcast<u32>(weights[network + VERSION]) == 0u);
}

@compute @workgroup_size(64)
fn run(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.y * rows.y + id.x;
  if (row >= rows.x) {
    return;
  }
  let to = row * ANSWERS;
  for (var network = 0u; network < 2u; network++) {
    let at = network * STRIDE;
    var layer = hidden(at, row);
    for (var answer = 0u; answer < 2u; answer++) {
      answers[to + 2u * network + answer] = probability(at, output(at, answer, &layer));
    }
  }
  var layer = hidden(2u * STRIDE, row);
  answers[to + 4u] = clamp(output(2u * STRIDE, 0u, &layer), -VALUE_LIMIT, VALUE_LIMIT); // no weights: 0
}
