/* Memory for libcamera's virtual camera on a kernel without DMA-BUF heaps: preloaded, it answers for
 * /dev/dma_heap/... with memfds. Opening a heap gives a memfd, allocating from it gives another one of the
 * wanted length, and the cache synchronisation of such a buffer has nothing to do. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

static const char HEAPS[] = "/dev/dma_heap/";

static int is_heap(const char *path) { return path != NULL && strncmp(path, HEAPS, sizeof HEAPS - 1) == 0; }

static mode_t mode_of(int flags, va_list rest) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

#define STAND_IN_OPEN(name)                                                \
    int name(const char *path, int flags, ...) {                           \
        static int (*real)(const char *, int, ...);                        \
        va_list rest;                                                      \
        va_start(rest, flags);                                             \
        mode_t mode = mode_of(flags, rest);                                \
        va_end(rest);                                                      \
        if (is_heap(path)) return memfd_create("heap", MFD_CLOEXEC);       \
        if (real == NULL) real = dlsym(RTLD_NEXT, #name);                  \
        return real(path, flags, mode);                                    \
    }
STAND_IN_OPEN(open)
STAND_IN_OPEN(open64)

#define STAND_IN_OPENAT(name)                                              \
    int name(int directory, const char *path, int flags, ...) {            \
        static int (*real)(int, const char *, int, ...);                   \
        va_list rest;                                                      \
        va_start(rest, flags);                                             \
        mode_t mode = mode_of(flags, rest);                                \
        va_end(rest);                                                      \
        if (is_heap(path)) return memfd_create("heap", MFD_CLOEXEC);       \
        if (real == NULL) real = dlsym(RTLD_NEXT, #name);                  \
        return real(directory, path, flags, mode);                         \
    }
STAND_IN_OPENAT(openat)
STAND_IN_OPENAT(openat64)

static int allocate(struct dma_heap_allocation_data *wanted) {
    int buffer = memfd_create("buffer", MFD_CLOEXEC);
    if (buffer < 0) return -1;
    if (ftruncate(buffer, (off_t)wanted->len) != 0) {
        int why = errno;
        close(buffer);
        errno = why;
        return -1;
    }
    wanted->fd = (unsigned)buffer;
    return 0;
}

int ioctl(int fd, unsigned long request, ...) {
    static int (*real)(int, unsigned long, void *);
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if ((unsigned)request == (unsigned)DMA_HEAP_IOCTL_ALLOC) return allocate(argument);
    if (_IOC_TYPE((unsigned)request) == DMA_BUF_BASE && _IOC_NR((unsigned)request) <= 1) return 0; /* sync, name */
    if (real == NULL) real = dlsym(RTLD_NEXT, "ioctl");
    return real(fd, request, argument);
}
