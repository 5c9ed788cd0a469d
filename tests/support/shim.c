/* Stands between a program and the C library (LD_PRELOAD): lets one system call fail, and the wall clock jump.
 *
 * What it does is told, also while the program runs, by a small file that it maps (SHIM_FILE, see struct control).
 * Only calls on files whose path contains SHIM_NAME count, and fsync of the directory SHIM_DIRECTORY.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { OPEN, WRITE, READ, SYNC, TRUNCATE, LOCK, MAP, UNLINK, STAT, ACCESS, CALLS };

/* call: which kind fails, -1 for none; nth: how many of it still pass before; error: the errno; fired: how many failed;
 * offset: what is added to the wall clock, in ns; counts: calls of each kind so far. */
struct control { int32_t call, nth, error, fired; int64_t offset; int32_t counts[CALLS]; };

static struct control idle = { .call = -1 };
static struct control *control = &idle;
static const char *name = "", *directory = "";

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("SHIM_FILE");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = (void *)syscall(SYS_mmap, NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (at == MAP_FAILED)
        return;
    if (getenv("SHIM_NAME"))
        name = strdup(getenv("SHIM_NAME"));
    if (getenv("SHIM_DIRECTORY"))
        directory = strdup(getenv("SHIM_DIRECTORY"));
    control = at;
}

/* Whether this call is the one that fails. */
static int fails_at(int call, const char *path)
{
    if (!*name || !path || (!strstr(path, name) && !(call == SYNC && !strcmp(path, directory))))
        return 0;
    __atomic_fetch_add(&control->counts[call], 1, __ATOMIC_SEQ_CST);
    if (control->call != call || __atomic_fetch_sub(&control->nth, 1, __ATOMIC_SEQ_CST) != 0)
        return 0;
    __atomic_fetch_add(&control->fired, 1, __ATOMIC_SEQ_CST);
    errno = control->error;
    return 1;
}

static int fails(int call, int fd)
{
    char link[32] = "/proc/self/fd/", path[4096];
    int kept = errno, place = (int)strlen(link), digits = 0, rest = fd;
    if (fd < 0 || !*name)
        return 0;
    do digits++; while (rest /= 10);
    for (int at = place + digits; at > place; fd /= 10)
        link[--at] = (char)('0' + fd % 10);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    errno = kept;
    if (length <= 0)
        return 0;
    path[length] = 0;
    return fails_at(call, path);
}

#define REAL(type, function, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, function))

/* A disk that becomes full in the middle of a write has taken a part of it. */
static void tear(int fd, const void *data, size_t count, off_t offset)
{
    if (control->error == ENOSPC)
        syscall(SYS_pwrite64, fd, data, count / 2, offset);
    errno = control->error;
}

#define OPENING(function)                                                                                             \
    int function(const char *path, int flags, ...)                                                                    \
    {                                                                                                                 \
        va_list rest;                                                                                                 \
        va_start(rest, flags);                                                                                        \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                       \
        va_end(rest);                                                                                                 \
        return fails_at(OPEN, path) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);                     \
    }
OPENING(open)
OPENING(open64)

#define WRITING(function)                                                                                             \
    ssize_t function(int fd, const void *data, size_t count, off_t offset)                                            \
    {                                                                                                                 \
        if (!fails(WRITE, fd))                                                                                        \
            return REAL(ssize_t, #function, int, const void *, size_t, off_t)(fd, data, count, offset);               \
        tear(fd, data, count, offset);                                                                                \
        return -1;                                                                                                    \
    }
WRITING(pwrite)
WRITING(pwrite64)

ssize_t write(int fd, const void *data, size_t count)
{
    return fails(WRITE, fd) ? -1 : REAL(ssize_t, "write", int, const void *, size_t)(fd, data, count);
}

#define READING(function)                                                                                             \
    ssize_t function(int fd, void *data, size_t count, off_t offset)                                                  \
    {                                                                                                                 \
        return fails(READ, fd) ? -1 : REAL(ssize_t, #function, int, void *, size_t, off_t)(fd, data, count, offset);  \
    }
READING(pread)
READING(pread64)

#define SYNCING(function)                                                                                             \
    int function(int fd) { return fails(SYNC, fd) ? -1 : REAL(int, #function, int)(fd); }
SYNCING(fsync)
SYNCING(fdatasync)

#define CUTTING(function)                                                                                             \
    int function(int fd, off_t size) { return fails(TRUNCATE, fd) ? -1 : REAL(int, #function, int, off_t)(fd, size); }
CUTTING(ftruncate)
CUTTING(ftruncate64)

#define LOCKING(function)                                                                                             \
    int function(int fd, int what, ...)                                                                               \
    {                                                                                                                 \
        va_list rest;                                                                                                 \
        va_start(rest, what);                                                                                         \
        void *argument = va_arg(rest, void *);                                                                        \
        va_end(rest);                                                                                                 \
        if ((what == F_SETLK || what == F_SETLKW) && ((struct flock *)argument)->l_type != F_UNLCK && fails(LOCK, fd)) \
            return -1;                                                                                                \
        return REAL(int, #function, int, int, void *)(fd, what, argument);                                            \
    }
LOCKING(fcntl)
LOCKING(fcntl64)

#define MAPPING(function)                                                                                             \
    void *function(void *at, size_t size, int protection, int flags, int fd, off_t offset)                            \
    {                                                                                                                 \
        return fails(MAP, fd) ? MAP_FAILED : (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);      \
    }
MAPPING(mmap)
MAPPING(mmap64)

int unlink(const char *path) { return fails_at(UNLINK, path) ? -1 : REAL(int, "unlink", const char *)(path); }
int access(const char *path, int mode)
{
    return fails_at(ACCESS, path) ? -1 : REAL(int, "access", const char *, int)(path, mode);
}

#define LOOKING(function)                                                                                             \
    int function(const char *path, struct stat *into)                                                                 \
    {                                                                                                                 \
        return fails_at(STAT, path) ? -1 : REAL(int, #function, const char *, struct stat *)(path, into);             \
    }                                                                                                                 \
    int f##function(int fd, struct stat *into)                                                                        \
    {                                                                                                                 \
        return fails(STAT, fd) ? -1 : REAL(int, "f" #function, int, struct stat *)(fd, into);                         \
    }
#undef stat64
LOOKING(stat)

#define LOOKING64(function)                                                                                           \
    int function(const char *path, struct stat64 *into)                                                               \
    {                                                                                                                 \
        return fails_at(STAT, path) ? -1 : REAL(int, #function, const char *, struct stat64 *)(path, into);           \
    }                                                                                                                 \
    int f##function(int fd, struct stat64 *into)                                                                      \
    {                                                                                                                 \
        return fails(STAT, fd) ? -1 : REAL(int, "f" #function, int, struct stat64 *)(fd, into);                       \
    }
LOOKING64(stat64)

/* The wall clock. */

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = now->tv_sec * 1000000000LL + now->tv_nsec + __atomic_load_n(&control->offset, __ATOMIC_SEQ_CST);
        now->tv_sec = ns / 1000000000LL;
        now->tv_nsec = ns % 1000000000LL;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    (void)zone;
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *into)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (into)
        *into = exact.tv_sec;
    return exact.tv_sec;
}
