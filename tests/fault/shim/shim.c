/* Faults on demand, loaded into a process by LD_PRELOAD.
 *
 * Calls that change files below $SHIM_BELOW are counted, and fail when the control page, a file mapped by the test
 * that $SHIM_CONTROL names, says so. The same page holds what is added to the wall clock. While the page is all
 * zeros nothing is different.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {          /* tests/fault/shim/control.py knows this layout */
    int64_t calls;        /* kinds of calls that count, a set of bits; 0: nothing counts, nothing fails */
    int64_t first, last;  /* which of them fail, from 1 */
    int64_t error;        /* with which errno */
    int64_t counted;      /* how many there were */
    int64_t failed;       /* how many of them failed */
    int64_t offset_us;    /* added to the wall clock */
};

enum { WRITE = 1, SYNC = 2, NAME = 4, CREATE = 8, REMOVE = 16, OPEN = 32 };

static struct control *control;
static char below[PATH_MAX];
static size_t below_length;

__attribute__((constructor)) static void begin(void) {
    const char *page = getenv("SHIM_CONTROL"), *folder = getenv("SHIM_BELOW");
    if (!page || !folder) return;
    int descriptor = open(page, O_RDWR | O_CLOEXEC);
    if (descriptor < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (mapped == MAP_FAILED) return;
    snprintf(below, sizeof below, "%s/", folder);
    below_length = strlen(below);
    control = mapped;
}

static int counts_and_fails(void) {
    int64_t number = __atomic_add_fetch(&control->counted, 1, __ATOMIC_SEQ_CST);
    if (number < control->first || number > control->last) return 0;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    errno = (int)control->error;
    return 1;
}

static int concerns(int64_t kind) { return control && (control->calls & kind); }

static int path_fails(int64_t kind, const char *path) {
    return concerns(kind) && path && !strncmp(path, below, below_length) && counts_and_fails();
}

static int file_fails(int64_t kind, int file) {
    if (!concerns(kind)) return 0;
    int before = errno;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    return path_fails(kind, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FILE_CALL(kind, result, name, parameters, arguments)                        \
    result name parameters {                                                        \
        static __typeof__(&name) real;                                              \
        if (!real) real = REAL(name);                                               \
        return file_fails(kind, file) ? -1 : real arguments;                        \
    }
#define PATH_CALL(kind, name, parameters, arguments)                                \
    int name parameters {                                                           \
        static __typeof__(&name) real;                                              \
        if (!real) real = REAL(name);                                               \
        return path_fails(kind, path) ? -1 : real arguments;                        \
    }

FILE_CALL(WRITE, ssize_t, write, (int file, const void *bytes, size_t size), (file, bytes, size))
FILE_CALL(WRITE, ssize_t, pwrite, (int file, const void *bytes, size_t size, off_t at), (file, bytes, size, at))
FILE_CALL(WRITE, ssize_t, pwrite64, (int file, const void *bytes, size_t size, off64_t at), (file, bytes, size, at))
FILE_CALL(WRITE, ssize_t, writev, (int file, const struct iovec *parts, int count), (file, parts, count))
FILE_CALL(WRITE, ssize_t, pwritev, (int file, const struct iovec *parts, int count, off_t at), (file, parts, count, at))
FILE_CALL(WRITE, int, ftruncate, (int file, off_t size), (file, size))
FILE_CALL(WRITE, int, ftruncate64, (int file, off64_t size), (file, size))
FILE_CALL(WRITE, int, fallocate, (int file, int mode, off_t at, off_t size), (file, mode, at, size))
FILE_CALL(WRITE, int, fallocate64, (int file, int mode, off64_t at, off64_t size), (file, mode, at, size))
FILE_CALL(SYNC, int, fsync, (int file), (file))
FILE_CALL(SYNC, int, fdatasync, (int file), (file))
PATH_CALL(NAME, rename, (const char *path, const char *to), (path, to))
PATH_CALL(NAME, renameat, (int from, const char *path, int at, const char *to), (from, path, at, to))
PATH_CALL(NAME, renameat2, (int from, const char *path, int at, const char *to, unsigned flags),
          (from, path, at, to, flags))
PATH_CALL(NAME, link, (const char *path, const char *to), (path, to))
PATH_CALL(NAME, linkat, (int from, const char *path, int at, const char *to, int flags), (from, path, at, to, flags))
PATH_CALL(CREATE, mkdir, (const char *path, mode_t mode), (path, mode))
PATH_CALL(CREATE, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode))
PATH_CALL(REMOVE, unlink, (const char *path), (path))
PATH_CALL(REMOVE, unlinkat, (int at, const char *path, int flags), (at, path, flags))
PATH_CALL(REMOVE, rmdir, (const char *path), (path))

static int opening_fails(const char *path, int flags) {
    if ((flags & O_CREAT) && concerns(CREATE) && access(path, F_OK)) return path_fails(CREATE, path);
    return (flags & O_ACCMODE) != O_RDONLY && path_fails(OPEN, path);
}

#define MODE_OF(flags, mode)                    \
    mode_t mode = 0;                            \
    if ((flags) & (O_CREAT | O_TMPFILE)) {      \
        va_list rest;                           \
        va_start(rest, flags);                  \
        mode = va_arg(rest, mode_t);            \
        va_end(rest);                           \
    }
#define OPEN_CALL(name)                                                      \
    int name(const char *path, int flags, ...) {                             \
        static int (*real)(const char *, int, ...);                          \
        if (!real) real = REAL(name);                                        \
        MODE_OF(flags, mode)                                                 \
        return opening_fails(path, flags) ? -1 : real(path, flags, mode);    \
    }
#define OPENAT_CALL(name)                                                    \
    int name(int at, const char *path, int flags, ...) {                     \
        static int (*real)(int, const char *, int, ...);                     \
        if (!real) real = REAL(name);                                        \
        MODE_OF(flags, mode)                                                 \
        return opening_fails(path, flags) ? -1 : real(at, path, flags, mode); \
    }

OPEN_CALL(open)
OPEN_CALL(open64)
OPENAT_CALL(openat)
OPENAT_CALL(openat64)

int clock_gettime(clockid_t which, struct timespec *now) {
    static __typeof__(&clock_gettime) real;
    if (!real) real = REAL(clock_gettime);
    int result = real(which, now);
    if (!result && control && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        int64_t us = (int64_t)now->tv_sec * 1000000 + now->tv_nsec / 1000 + control->offset_us;
        now->tv_nsec = (us % 1000000) * 1000 + now->tv_nsec % 1000;
        now->tv_sec = us / 1000000;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec exact;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    if (!result) {
        now->tv_sec = exact.tv_sec;
        now->tv_usec = exact.tv_nsec / 1000;
    }
    return result;
}

time_t time(time_t *out) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (out) *out = exact.tv_sec;
    return exact.tv_sec;
}
