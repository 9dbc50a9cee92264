/* A CUDA driver in host memory: enough of it, with its checks of handles, to run the code above it for real.
   Everything enqueued is done at once. STUB_FAIL is the result of cuCtxSynchronize. Its one kernel is that of
   engines/pixels, compiled for the host: one thread after the other. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef unsigned long long Address;
enum { OK = 0, OUT_OF_MEMORY = 2, NO_CONTEXT = 201, BAD_HANDLE = 400, NOT_FOUND = 500 };

static void *const CONTEXT = (void *)0x77, *const GRAPH = (void *)0x300, *const LAUNCHABLE = (void *)0x400;
static int is_stream(void *s) { return (long)s >= 0x100 && (long)s < 0x200; }
static int is_event(void *e) { return (long)e >= 0x200 && (long)e < 0x300; }

Result cuInit(unsigned flags) { return OK; }
Result cuGetExportTable(const void **table, const void *id) { *table = 0; return NOT_FOUND; } /* NVRTC asks for one */
Result cuDriverGetVersion(int *v) { *v = 13000; return OK; }
Result cuDeviceGetCount(int *n) { *n = 1; return OK; }
Result cuDeviceGet(int *device, int ordinal) { *device = ordinal; return OK; }
Result cuDeviceGetName(char *s, int n, int device) { strncpy(s, "Stub", n); return OK; }
Result cuDeviceGetAttribute(int *v, int attribute, int device) { *v = attribute == 75 ? 9 : 0; return OK; }
Result cuDevicePrimaryCtxRetain(void **c, int device) { *c = CONTEXT; return OK; }
Result cuDevicePrimaryCtxRelease_v2(int device) { puts("released"); return OK; }
Result cuCtxSetCurrent(void *c) { return c == CONTEXT ? OK : NO_CONTEXT; }
Result cuCtxSynchronize(void) { const char *code = getenv("STUB_FAIL"); return code ? atoi(code) : OK; }
Result cuMemAlloc_v2(Address *p, size_t n) {
    if (n > 1000000000) return OUT_OF_MEMORY;
    *p = (Address)malloc(n);
    return OK;
}
Result cuMemFree_v2(Address p) { free((void *)p); return OK; }
Result cuMemHostAlloc(void **p, size_t n, unsigned flags) { *p = malloc(n); return OK; }
Result cuMemFreeHost(void *p) { puts("host memory freed"); free(p); return OK; }
Result cuStreamCreate(void **s, unsigned flags) {
    static long next = 0x100;
    printf("stream flags %u\n", flags);
    *s = (void *)next++;
    return OK;
}
Result cuEventCreate(void **e, unsigned flags) {
    static long next = 0x200;
    printf("event flags %u\n", flags);
    *e = (void *)next++;
    return OK;
}
Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t n, void *s) {
    memcpy((void *)to, from, n);
    return is_stream(s) ? OK : BAD_HANDLE;
}
Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t n, void *s) {
    memcpy(to, (void *)from, n);
    return is_stream(s) ? OK : BAD_HANDLE;
}
Result cuEventRecord(void *e, void *s) { return is_event(e) && is_stream(s) ? OK : BAD_HANDLE; }
Result cuStreamWaitEvent(void *s, void *e, unsigned flags) { return is_event(e) && is_stream(s) ? OK : BAD_HANDLE; }
Result cuEventSynchronize(void *e) { return is_event(e) ? OK : BAD_HANDLE; }
Result cuStreamBeginCapture_v2(void *s, int mode) { printf("capture mode %d\n", mode); return OK; }
Result cuStreamEndCapture(void *s, void **graph) { *graph = GRAPH; return OK; }
Result cuGraphInstantiateWithFlags(void **e, void *graph, Address flags) {
    *e = LAUNCHABLE;
    return graph == GRAPH ? OK : BAD_HANDLE;
}
Result cuGraphLaunch(void *e, void *s) { return e == LAUNCHABLE && is_stream(s) ? OK : BAD_HANDLE; }
static struct { unsigned x, y, z; } blockIdx, blockDim, threadIdx;
#define __global__ static
#include "../../../engines/pixels/average.cu"
Result cuModuleLoadData(void **module, const void *compiled) {
    *module = (void *)0x500;
    return strstr(compiled, ".visible .entry average(") ? OK : NOT_FOUND;
}
Result cuModuleGetFunction(void **f, void *module, const char *name) {
    *f = (void *)0x600;
    return module == (void *)0x500 && !strcmp(name, "average") ? OK : NOT_FOUND;
}
Result cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void *s, void **p, void **extra) {
    if (f != (void *)0x600 || !is_stream(s) || gz != 1 || bz != 1) return BAD_HANDLE;
    blockDim.x = bx, blockDim.y = by;
    for (blockIdx.y = 0; blockIdx.y < gy; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < gx; blockIdx.x++)
            for (threadIdx.y = 0; threadIdx.y < by; threadIdx.y++)
                for (threadIdx.x = 0; threadIdx.x < bx; threadIdx.x++)
                    average(*(const unsigned char **)p[0], *(long long *)p[1], *(int *)p[2], *(int *)p[3],
                            *(int *)p[4], *(unsigned char **)p[5], *(int *)p[6], *(int *)p[7]);
    return OK;
}
Result cuGetErrorString(int code, const char **text) {
    *text = code == 700 ? "an illegal memory access was encountered" : code == 2 ? "out of memory" : "error";
    return OK;
}
Result cuGetProcAddress_v2(const char *name, void **f, int version, Address flags, int *status) {
    static const char *const endings[] = {"WithFlags", "_v2", "", 0};
    char full[128];
    *f = 0;
    for (int i = 0; endings[i] && !*f; i++) {
        snprintf(full, sizeof full, "%s%s", name, endings[i]);
        *f = dlsym(RTLD_DEFAULT, full);
    }
    if (status) *status = *f ? 0 : 1;
    return *f ? OK : NOT_FOUND;
}
Result cuGetProcAddress(const char *name, void **f, int version, Address flags) {
    return cuGetProcAddress_v2(name, f, version, flags, 0);
}
