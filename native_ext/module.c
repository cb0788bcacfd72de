/* module.c: the CPython binding of the kernel (limited API, CPython 3.11 and newer; also the Emscripten side module). It
 * checks buffers, chooses the instruction set, and measures time for those who ask; it knows nothing of markets. */
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>
#include <time.h>

#include "kernel/cwts.h"
#include "kernel/timing.h"

typedef struct kernel_table {
    const char *isa;
    int32_t (*init)(void *, const cwts_config *);
    int32_t (*feed)(void *, const uint8_t *, uint32_t);
    int32_t (*network_batch)(const cwts_network *, const float *, float *, uint32_t);
} kernel_table;

#if defined(__x86_64__)
int32_t cwts_init_avx2(void *block, const cwts_config *config);
int32_t cwts_feed_avx2(void *block, const uint8_t *frames, uint32_t bytes);
int32_t cwts_network_batch_avx2(const cwts_network *network, const float *features, float *out, uint32_t rows);
int32_t cwts_init_avx512(void *block, const cwts_config *config);
int32_t cwts_feed_avx512(void *block, const uint8_t *frames, uint32_t bytes);
int32_t cwts_network_batch_avx512(const cwts_network *network, const float *features, float *out, uint32_t rows);
static const kernel_table AVX512 = {"avx512", cwts_init_avx512, cwts_feed_avx512, cwts_network_batch_avx512};
static const kernel_table AVX2 = {"avx2", cwts_init_avx2, cwts_feed_avx2, cwts_network_batch_avx2};
static const kernel_table BASE = {"sse2", cwts_init, cwts_feed, cwts_network_batch};
#elif defined(__wasm_simd128__)
static const kernel_table BASE = {"simd128", cwts_init, cwts_feed, cwts_network_batch};
#elif defined(__ARM_NEON)
static const kernel_table BASE = {"neon", cwts_init, cwts_feed, cwts_network_batch};
#else
static const kernel_table BASE = {"portable", cwts_init, cwts_feed, cwts_network_batch};
#endif

static const kernel_table *kernel = &BASE;

/* The fastest that this processor can run, or the one of this name. Returns 0 where it cannot. */
static int choose_kernel(const char *name) {
    const kernel_table *able[3] = {&BASE};
    int count = 1;
#if defined(__x86_64__)
    __builtin_cpu_init();
#define HAS __builtin_cpu_supports
    if (HAS("avx2") && HAS("bmi") && HAS("bmi2")) able[count++] = &AVX2;
    if (count == 2 && HAS("avx512f") && HAS("avx512bw") && HAS("avx512dq") && HAS("avx512vl") && HAS("avx512vbmi") && HAS("avx512vbmi2"))
        able[count++] = &AVX512;
#undef HAS
#endif
    if (!name) {
        kernel = able[count - 1];
        return 1;
    }
    for (int i = 0; i < count; i++)
        if (strcmp(able[i]->isa, name) == 0) {
            kernel = able[i];
            return 1;
        }
    return 0;
}

/* A writable, aligned block of the right size. Returns 0 with an exception set where it is none. */
static int get_block(PyObject *object, Py_buffer *view) {
    if (PyObject_GetBuffer(object, view, PyBUF_WRITABLE | PyBUF_SIMPLE) < 0) return 0;
    if ((uint64_t)view->len < sizeof(cwts_block) || (uintptr_t)view->buf % 64) {
        PyErr_Format(PyExc_ValueError, "expected a block of at least %zu bytes, aligned to 64; got %zd bytes at an address with remainder %d",
                     sizeof(cwts_block), view->len, (int)((uintptr_t)view->buf % 64));
        PyBuffer_Release(view);
        return 0;
    }
    return 1;
}

static PyObject *py_block_bytes(PyObject *self, PyObject *ignored) {
    (void)self, (void)ignored;
    return PyLong_FromUnsignedLong(cwts_block_bytes());
}

static PyObject *py_init(PyObject *self, PyObject *args) {
    PyObject *object;
    Py_buffer block, config;
    (void)self;
    if (!PyArg_ParseTuple(args, "Oy*:init", &object, &config)) return NULL;
    if (config.len != (Py_ssize_t)sizeof(cwts_config)) {
        PyErr_Format(PyExc_ValueError, "expected a configuration of %zu bytes, got %zd", sizeof(cwts_config), config.len);
        PyBuffer_Release(&config);
        return NULL;
    }
    if (!get_block(object, &block)) {
        PyBuffer_Release(&config);
        return NULL;
    }
    int32_t result = kernel->init(block.buf, config.buf);
    PyBuffer_Release(&block);
    PyBuffer_Release(&config);
    return PyLong_FromLong(result);
}

/* feed(block, frames, count): `count` limits the bytes taken from `frames`, -1 takes all. */
static PyObject *py_feed(PyObject *self, PyObject *args) {
    PyObject *object;
    Py_buffer block, frames;
    Py_ssize_t count = -1;
    int32_t result;
    (void)self;
    if (!PyArg_ParseTuple(args, "Oy*|n:feed", &object, &frames, &count)) return NULL;
    if (count < 0) count = frames.len;
    if (count > frames.len || (uint64_t)count > INT32_MAX) {
        PyErr_Format(PyExc_ValueError, "expected at most %zd bytes of frames, below 2 GiB; got %zd", frames.len, count);
        PyBuffer_Release(&frames);
        return NULL;
    }
    if (!get_block(object, &block)) {
        PyBuffer_Release(&frames);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    result = kernel->feed(block.buf, frames.buf, (uint32_t)count);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&block);
    PyBuffer_Release(&frames);
    return PyLong_FromLong(result);
}

#if defined(__EMSCRIPTEN__)
/* feed_address(): where WebAssembly's function table has cwts_feed, for a page that calls it without Python in between. */
static PyObject *py_feed_address(PyObject *self, PyObject *ignored) {
    (void)self, (void)ignored;
    return PyLong_FromUnsignedLong((unsigned long)(uintptr_t)kernel->feed);
}
#endif

static int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* feed_each(block, frames, ns): every frame by itself through cwts_feed; its nanoseconds, less the clock's own, go to the int64
 * array `ns`. Returns (frames fed, events). */
static PyObject *py_feed_each(PyObject *self, PyObject *args) {
    PyObject *object, *times_object;
    Py_buffer block, frames, times;
    int64_t events = 0, fed = 0, at = 0, cost = clock_cost(clock_ns);
    (void)self;
    if (!PyArg_ParseTuple(args, "Oy*O:feed_each", &object, &frames, &times_object)) return NULL;
    if (PyObject_GetBuffer(times_object, &times, PyBUF_WRITABLE | PyBUF_SIMPLE) < 0) {
        PyBuffer_Release(&frames);
        return NULL;
    }
    if (!get_block(object, &block)) {
        PyBuffer_Release(&frames);
        PyBuffer_Release(&times);
        return NULL;
    }
    int64_t *ns = times.buf;
    int64_t room = (int64_t)(times.len / (Py_ssize_t)sizeof *ns);
    while (at + (int64_t)sizeof(cwts_frame) <= frames.len && fed < room) {
        cwts_frame frame;
        const uint8_t *start = (const uint8_t *)frames.buf + at;
        memcpy(&frame, start, sizeof frame);
        int64_t whole = (int64_t)sizeof frame + (((int64_t)frame.length + 7) & ~(int64_t)7);
        if (whole > frames.len - at || whole > INT32_MAX) break;
        int64_t began = clock_ns();
        int32_t result = kernel->feed(block.buf, start, (uint32_t)whole);
        int64_t took = clock_ns() - began - cost;
        ns[fed++] = took > 0 ? took : 0;
        if (result < 0) {
            events = result;
            break;
        }
        events |= result;
        at += whole;
    }
    if (at < frames.len && events >= 0 && fed < room) events = CWTS_E_FRAME;
    PyBuffer_Release(&block);
    PyBuffer_Release(&frames);
    PyBuffer_Release(&times);
    return Py_BuildValue("LL", (long long)fed, (long long)events);
}

/* network_batch(network, features, out): float32 rows of 16 in, of `outputs` out. Returns the number of rows. */
static PyObject *py_network_batch(PyObject *self, PyObject *args) {
    PyObject *out_object;
    Py_buffer network, features, out;
    cwts_network n;
    int32_t result = CWTS_E_CONFIG;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*O:network_batch", &network, &features, &out_object)) return NULL;
    if (PyObject_GetBuffer(out_object, &out, PyBUF_WRITABLE | PyBUF_SIMPLE) < 0) {
        PyBuffer_Release(&network);
        PyBuffer_Release(&features);
        return NULL;
    }
    size_t row = CWTS_FEATURE_COUNT * sizeof(float), rows = (size_t)features.len / row;
    int fits = network.len == (Py_ssize_t)sizeof n && (size_t)features.len % row == 0 && rows <= INT32_MAX
            && ((uintptr_t)features.buf | (uintptr_t)out.buf) % sizeof(float) == 0;
    if (fits) {
        memcpy(&n, network.buf, sizeof n);
        fits = n.outputs > CWTS_OUTPUTS || (size_t)out.len >= rows * n.outputs * sizeof(float);
    }
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        result = kernel->network_batch(&n, features.buf, out.buf, (uint32_t)rows);
        Py_END_ALLOW_THREADS
    } else {
        PyErr_Format(PyExc_ValueError, "expected a network of %zu bytes, float32 rows of %d, and room for the outputs",
                     sizeof n, (int)CWTS_FEATURE_COUNT);
    }
    PyBuffer_Release(&network);
    PyBuffer_Release(&features);
    PyBuffer_Release(&out);
    return fits ? PyLong_FromLong(result) : NULL;
}

static PyObject *py_latency(PyObject *self, PyObject *args) {
    PyObject *object;
    Py_buffer block;
    unsigned int stage;
    long long ns;
    (void)self;
    if (!PyArg_ParseTuple(args, "OIL:latency", &object, &stage, &ns)) return NULL;
    if (!get_block(object, &block)) return NULL;
    cwts_latency(block.buf, stage, ns);
    PyBuffer_Release(&block);
    Py_RETURN_NONE;
}

/* read(block, out): the published snapshot without a lock; False where the writer was inside all along. */
static PyObject *py_read(PyObject *self, PyObject *args) {
    PyObject *object, *out_object;
    Py_buffer block, out;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO:read", &object, &out_object)) return NULL;
    if (PyObject_GetBuffer(out_object, &out, PyBUF_WRITABLE | PyBUF_SIMPLE) < 0) return NULL;
    if ((uint64_t)out.len < sizeof(cwts_snapshot)) {
        PyErr_Format(PyExc_ValueError, "expected room for %zu bytes, got %zd", sizeof(cwts_snapshot), out.len);
        PyBuffer_Release(&out);
        return NULL;
    }
    if (!get_block(object, &block)) {
        PyBuffer_Release(&out);
        return NULL;
    }
    cwts_snapshot snapshot;
    int32_t read = cwts_read(block.buf, &snapshot);
    if (read) memcpy(out.buf, &snapshot, sizeof snapshot);
    PyBuffer_Release(&block);
    PyBuffer_Release(&out);
    return PyBool_FromLong(read);
}

/* isa(): the instruction set in use. isa("base"), isa("best") or isa(one's name): chooses; tests compare them. */
static PyObject *py_isa(PyObject *self, PyObject *args) {
    const char *want = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "|s:isa", &want)) return NULL;
    if (want) {
        const char *name = strcmp(want, "best") == 0 ? NULL : strcmp(want, "base") == 0 ? BASE.isa : want;
        if (!choose_kernel(name)) {
            PyErr_Format(PyExc_ValueError, "this processor has no \"%s\": expected \"base\", \"best\" or an instruction set that it has", want);
            return NULL;
        }
    }
    return PyUnicode_FromString(kernel->isa);
}

static PyMethodDef METHODS[] = {
    {"block_bytes", py_block_bytes, METH_NOARGS, "Bytes that a block needs."},
    {"init", py_init, METH_VARARGS, "init(block, config): zeroes the block and sets it up; 0 or a negative error."},
    {"feed", py_feed, METH_VARARGS, "feed(block, frames, count=-1): processes frames; event bits or a negative error."},
#if defined(__EMSCRIPTEN__)
    {"feed_address", py_feed_address, METH_NOARGS, "Where WebAssembly's function table has the kernel's feed."},
#endif
    {"feed_each", py_feed_each, METH_VARARGS, "feed_each(block, frames, ns): one frame at a time, timed; (frames, events)."},
    {"network_batch", py_network_batch, METH_VARARGS, "network_batch(network, features, out): rows, or a negative error."},
    {"latency", py_latency, METH_VARARGS, "latency(block, stage, ns): adds to a stage's histogram."},
    {"read", py_read, METH_VARARGS, "read(block, out): the published snapshot; False if it could not be had."},
    {"isa", py_isa, METH_VARARGS, "isa([\"base\" | \"best\" | name]): the instruction set in use."},
    {NULL, NULL, 0, NULL}};

static int module_exec(PyObject *module) {
    (void)module;
    choose_kernel(NULL);
    return 0;
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, (void *)module_exec}, {0, NULL}};
static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "cwts._kernel", "The CWTS kernel.", 0, METHODS, SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&MODULE); }
