// The three small networks for CUDA and ROCm/HIP (through CuPy's compilers): what networks.wgsl does, one thread a row. The
// constants come as macros: STRIDE, MEAN, SCALE, WEIGHT_1, BIAS_1, WEIGHT_2, BIAS_2, LIMIT, VERSION (floats from a network's
// beginning), VALUE_LIMIT.

#define INPUTS 16
#define HIDDEN 8
#define ANSWERS 5

__device__ __forceinline__ void layer_1(const float *network, const float *x, float *sum) {
#pragma unroll
    for (int j = 0; j < HIDDEN; j++) sum[j] = network[BIAS_1 + j];
    float limit = network[LIMIT];
#pragma unroll
    for (int i = 0; i < INPUTS; i++) {
        float v = fminf(fmaxf((x[i] - network[MEAN + i]) * network[SCALE + i], -limit), limit);
#pragma unroll
        for (int j = 0; j < HIDDEN; j++) sum[j] += v * network[WEIGHT_1 + i * HIDDEN + j];
    }
}

__device__ __forceinline__ float layer_2(const float *network, int answer, const float *hidden) {
    float sum = network[BIAS_2 + answer];
#pragma unroll
    for (int j = 0; j < HIDDEN; j++) sum += fmaxf(hidden[j], 0.0f) * network[WEIGHT_2 + answer * HIDDEN + j];
    return sum;
}

__device__ __forceinline__ float probability(const float *network, float x) {
    float e = expf(-fabsf(x));
    return __float_as_uint(network[VERSION]) == 0 ? 0.0f : (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

extern "C" __global__ void run(const float *weights, const float *features, float *answers, unsigned int rows) {
    __shared__ float shared[3 * STRIDE]; // every thread reads all of them
    for (unsigned int i = threadIdx.x; i < 3 * STRIDE; i += blockDim.x) shared[i] = weights[i];
    __syncthreads();
    unsigned int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    float x[INPUTS], hidden[HIDDEN];
#pragma unroll
    for (int i = 0; i < INPUTS; i++) x[i] = features[(size_t)row * INPUTS + i];
    float *to = answers + (size_t)row * ANSWERS;
#pragma unroll
    for (int n = 0; n < 2; n++) {
        const float *network = shared + n * STRIDE;
        layer_1(network, x, hidden);
        for (int answer = 0; answer < 2; answer++) to[2 * n + answer] = probability(network, layer_2(network, answer, hidden));
    }
    layer_1(shared + 2 * STRIDE, x, hidden);
    to[4] = fminf(fmaxf(layer_2(shared + 2 * STRIDE, 0, hidden), -VALUE_LIMIT), VALUE_LIMIT);
}
