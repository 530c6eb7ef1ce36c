/* A small stand-in for NVIDIA's driver, so that the real pycuda and the real cuda-python run without a GPU.
 *
 * Device memory is malloc. Each thread has its own depth of pushed contexts, and calls that need a context
 * fail without one, as they do in the driver. A stream is as lazy as CUDA allows: nothing that is put on it
 * happens before somebody waits for it, so whoever reads too early finds nothing. Calls on a stream that is
 * in capture go into a graph. The build step adds every function that pycuda links to and this file lacks,
 * returning CUDA_ERROR_NOT_SUPPORTED.
 *
 * fake_fail lets the next call of one function fail; fake_live tells what has not been freed yet.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
enum { SUCCESS = 0, INVALID_VALUE = 1, NO_CONTEXT = 201, NOT_FOUND = 500, CAPTURE_FAILED = 901 };

typedef struct {
    void *target;
    const void *source;
    size_t size;
    void (*call)(void *);
    void *data;
} Op;

typedef struct {
    Op *ops;
    size_t count, next;
} Ops;

typedef struct {
    Ops pending, captured;
    int capturing, spoilt;
} Stream;

typedef struct {
    Stream *stream;
    size_t upto;
} Event;

static _Thread_local int depth;
static int live_memory, live_pinned, live_streams, live_events, live_graphs, retained;

/* ---- what tests ask for ---- */

static char failing[64];
static int failing_code, failing_after, failing_times;

/* After `after` more calls of `name` (its exported name), the next `times` return `code`. */
void fake_fail(const char *name, int code, int after, int times) {
    snprintf(failing, sizeof failing, "%s", name);
    failing_code = code;
    failing_after = after;
    failing_times = times;
}

static CUresult asked(const char *name) {
    if (strcmp(name, failing) || failing_times == 0 || failing_after-- > 0) return SUCCESS;
    failing_times--;
    return failing_code;
}

int fake_live(const char *what) {
    if (!strcmp(what, "memory")) return live_memory;
    if (!strcmp(what, "pinned")) return live_pinned;
    if (!strcmp(what, "streams")) return live_streams;
    if (!strcmp(what, "events")) return live_events;
    if (!strcmp(what, "graphs")) return live_graphs;
    if (!strcmp(what, "retained")) return retained;
    return -1;
}

#define COUNT(counter, by) __atomic_add_fetch(&counter, by, __ATOMIC_SEQ_CST)
#define FREELY do { CUresult fault = asked(__func__); if (fault) return fault; } while (0)
#define IN_CONTEXT do { if (!depth) return NO_CONTEXT; FREELY; } while (0)

/* ---- driver, device, context ---- */

CUresult cuInit(unsigned flags) { FREELY; return SUCCESS; }
CUresult cuDriverGetVersion(int *version) { *version = 13000; return SUCCESS; }
CUresult cuDeviceGetCount(int *count) { *count = 1; return SUCCESS; }
CUresult cuDeviceGet(int *device, int ordinal) { *device = ordinal; return SUCCESS; }
CUresult cuDeviceGetAttribute(int *value, int attribute, int device) { *value = 1; return SUCCESS; }
CUresult cuGetErrorString(CUresult code, const char **text) {
    static _Thread_local char said[32];
    snprintf(said, sizeof said, "fake error %d", code);
    *text = said;
    return SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(void **context, int device) {
    FREELY;
    *context = &retained;
    COUNT(retained, 1);
    return SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease_v2(int device) { COUNT(retained, -1); return SUCCESS; }
CUresult cuCtxPushCurrent_v2(void *context) { FREELY; depth++; return SUCCESS; }
CUresult cuCtxPopCurrent_v2(void **context) {
    IN_CONTEXT;
    *context = &retained;
    depth--;
    return SUCCESS;
}
CUresult cuCtxGetDevice(int *device) { IN_CONTEXT; *device = 0; return SUCCESS; }

/* ---- memory ---- */

CUresult cuMemAlloc_v2(void **memory, size_t size) {
    IN_CONTEXT;
    *memory = aligned_alloc(256, (size + 255) / 256 * 256);
    COUNT(live_memory, 1);
    return SUCCESS;
}
CUresult cuMemFree_v2(void *memory) { IN_CONTEXT; free(memory); COUNT(live_memory, -1); return SUCCESS; }
CUresult cuMemHostAlloc(void **memory, size_t size, unsigned flags) {
    IN_CONTEXT;
    *memory = malloc(size);
    memset(*memory, 0xdd, size);
    COUNT(live_pinned, 1);
    return SUCCESS;
}
CUresult cuMemFreeHost(void *memory) { IN_CONTEXT; free(memory); COUNT(live_pinned, -1); return SUCCESS; }

/* ---- streams and events ---- */

static CUresult put(Stream *stream, Op op) {
    Ops *ops = stream->capturing ? &stream->captured : &stream->pending;
    ops->ops = realloc(ops->ops, (ops->count + 1) * sizeof(Op));
    ops->ops[ops->count++] = op;
    return SUCCESS;
}

static void perform(const Op *op) {
    if (op->call) op->call(op->data);
    else memcpy(op->target, op->source, op->size);
}

static void run(Ops *ops, size_t upto) {
    while (ops->next < upto) {
        Op op = ops->ops[ops->next++];
        perform(&op);
    }
}

CUresult cuStreamCreate(Stream **stream, unsigned flags) {
    IN_CONTEXT;
    *stream = calloc(1, sizeof(Stream));
    COUNT(live_streams, 1);
    return SUCCESS;
}
CUresult cuStreamDestroy_v2(Stream *stream) {
    IN_CONTEXT;
    free(stream->pending.ops);
    free(stream);
    COUNT(live_streams, -1);
    return SUCCESS;
}
CUresult cuStreamSynchronize(Stream *stream) {
    IN_CONTEXT;
    if (stream->capturing) { stream->spoilt = 1; return CAPTURE_FAILED; }
    run(&stream->pending, stream->pending.count);
    stream->pending.count = stream->pending.next = 0;
    return SUCCESS;
}
CUresult cuMemcpyHtoDAsync_v2(void *target, const void *source, size_t size, Stream *stream) {
    IN_CONTEXT;
    return put(stream, (Op){target, source, size, 0, 0});
}
CUresult cuMemcpyDtoHAsync_v2(void *target, const void *source, size_t size, Stream *stream) {
    IN_CONTEXT;
    return put(stream, (Op){target, source, size, 0, 0});
}
CUresult cuLaunchHostFunc(Stream *stream, void (*call)(void *), void *data) {
    IN_CONTEXT;
    return put(stream, (Op){0, 0, 0, call, data});
}

CUresult cuEventCreate(Event **event, unsigned flags) {
    IN_CONTEXT;
    *event = calloc(1, sizeof(Event));
    COUNT(live_events, 1);
    return SUCCESS;
}
CUresult cuEventDestroy_v2(Event *event) { IN_CONTEXT; free(event); COUNT(live_events, -1); return SUCCESS; }
CUresult cuEventRecord(Event *event, Stream *stream) {
    IN_CONTEXT;
    *event = (Event){stream, stream->pending.count};
    return SUCCESS;
}
CUresult cuEventSynchronize(Event *event) {
    IN_CONTEXT;
    run(&event->stream->pending, event->upto);
    return SUCCESS;
}

/* ---- graphs ---- */

CUresult cuStreamBeginCapture_v2(Stream *stream, int mode) {
    IN_CONTEXT;
    stream->capturing = 1;
    stream->spoilt = 0;
    stream->captured = (Ops){0};
    return SUCCESS;
}
CUresult cuStreamEndCapture(Stream *stream, Ops **graph) {
    *graph = 0;
    if (!stream->capturing) return INVALID_VALUE;
    stream->capturing = 0;
    CUresult fault = asked(__func__);
    if (fault || stream->spoilt) { free(stream->captured.ops); return fault ? fault : CAPTURE_FAILED; }
    *graph = malloc(sizeof(Ops));
    **graph = stream->captured;
    COUNT(live_graphs, 1);
    return SUCCESS;
}
CUresult cuGraphInstantiateWithFlags(Ops **executable, const Ops *graph, unsigned long long flags) {
    IN_CONTEXT;
    *executable = malloc(sizeof(Ops));
    **executable = *graph;
    (*executable)->ops = malloc((graph->count + 1) * sizeof(Op));
    memcpy((*executable)->ops, graph->ops, graph->count * sizeof(Op));
    COUNT(live_graphs, 1);
    return SUCCESS;
}
CUresult cuGraphLaunch(const Ops *executable, Stream *stream) {
    IN_CONTEXT;
    for (size_t i = 0; i < executable->count; i++) put(stream, executable->ops[i]);
    return SUCCESS;
}
CUresult cuGraphDestroy(Ops *graph) { free(graph->ops); free(graph); COUNT(live_graphs, -1); return SUCCESS; }
CUresult cuGraphExecDestroy(Ops *graph) { return cuGraphDestroy(graph); }

/* ---- how cuda-python finds all this ---- */

CUresult cuGetProcAddress_v2(const char *name, void **found, int version, unsigned long long flags, int *status) {
    static const char *const endings[] = {"WithFlags", "_v2", ""};
    char full[128];
    *found = 0;
    for (int i = 0; i < 3 && !*found; i++) {
        snprintf(full, sizeof full, "%s%s", name, endings[i]);
        *found = dlsym(RTLD_DEFAULT, full);
    }
    if (status) *status = *found ? 0 : 1;
    return *found ? SUCCESS : NOT_FOUND;
}
