// The three small networks for CUDA and ROCm/HIP (through CuPy's compilers): what networks.wgsl does, one thread a row. The
// constants come as macros: STRIDE, MEAN, SCALE, WEIGHT_1, BIAS_1, WEIGHT_2, BIAS_2, LIMIT, VERSION (words from a network's
// beginning), VALUE_LIMIT.

#define INPUTS 16
#define HIDDEN 8
#define ANSWERS 5

__device__ __forceinline__ float input(const float *network, const float *x, int i) {
    float limit = network[LIMIT];
    return fminf(fmaxf((x[i] - network[MEAN + i]) * network[SCALE + i], -limit), limit);
}

__device__ __forceinline__ void hidden(const float *network, const float *x, float *even) {
    float odd[HIDDEN] = {0};
#pragma unroll
    for (int j = 0; j < HIDDEN; j++) even[j] = network[BIAS_1 + j];
#pragma unroll
    for (int i = 0; i < INPUTS; i += 2) {
        float v = input(network, x, i), u = input(network, x, i + 1);
        const float *w = network + WEIGHT_1 + i * HIDDEN;
#pragma unroll
        for (int j = 0; j < HIDDEN; j++) {
            even[j] += v * w[j];
            odd[j] += u * w[HIDDEN + j];
        }
    }
#pragma unroll
    for (int j = 0; j < HIDDEN; j++) even[j] = fmaxf(even[j] + odd[j], 0.0f);
}

__device__ __forceinline__ float answer(const float *network, int index, const float *layer) {
    const float *w = network + WEIGHT_2 + index * HIDDEN;
    float part[4];
#pragma unroll
    for (int j = 0; j < 4; j++) part[j] = layer[j] * w[j] + layer[j + 4] * w[j + 4];
    return (part[0] + part[2]) + (part[1] + part[3]) + network[BIAS_2 + index];
}

__device__ __forceinline__ float probability(float x) {
    float e = expf(-fabsf(x)); // of what cannot overflow
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

extern "C" __global__ void run(const float *weights, const float *features, float *answers, unsigned int rows) {
    __shared__ float shared[3 * STRIDE]; // every thread reads all of them
    for (unsigned int i = threadIdx.x; i < 3 * STRIDE; i += blockDim.x) shared[i] = weights[i];
    __syncthreads();
    unsigned int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    float x[INPUTS], layer[HIDDEN];
#pragma unroll
    for (int i = 0; i < INPUTS; i++) x[i] = features[(size_t)row * INPUTS + i];
    float *to = answers + (size_t)row * ANSWERS;
    for (int n = 0; n < 3; n++, to += 2) {
        const float *network = shared + n * STRIDE;
        bool there = __float_as_uint(network[VERSION]) != 0;
        hidden(network, x, layer);
        if (n < 2) {
            to[0] = there ? probability(answer(network, 0, layer)) : 0.0f;
            to[1] = there ? probability(answer(network, 1, layer)) : 0.0f;
        } else {
            to[0] = there ? fminf(fmaxf(answer(network, 0, layer), -VALUE_LIMIT), VALUE_LIMIT) : 0.0f;
        }
    }
}
