/* Makes system calls fail: preloaded into a process (LD_PRELOAD), set up by environment variables.

   FAULT_ROOT   only calls about files below this folder count
   FAULT_CALLS  names of calls, separated by commas; see NAMES
   FAULT_NTH    the number of the call that fails, from 1; 0: none, calls are only counted
   FAULT_ALL    "1": all later calls fail, too
   FAULT_ERRNO  the error, as a number
   FAULT_STATE  file of two 64-bit numbers that all processes share: calls counted, calls failed

   `fault_setup` reads them again. A call that fails does nothing, except close, which closes. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN, CREATE, READ, WRITE, FSYNC, CLOSE, TRUNCATE, MKDIR, UNLINK, LINK, RENAME, LIST, STAT,
       CHMOD, LOCK, KINDS };
static const char *const NAMES[KINDS] = {
    "open", "create", "read", "write", "fsync", "close", "truncate", "mkdir", "unlink", "link",
    "rename", "list", "stat", "chmod", "lock"};

static unsigned calls;
static long nth, all, error_number;
static char root[PATH_MAX];
static _Atomic long *state;

__attribute__((constructor)) void fault_setup(void) {
    const char *value = getenv("FAULT_ROOT");
    snprintf(root, sizeof root, "%s", value ? value : "");
    nth = (value = getenv("FAULT_NTH")) ? atol(value) : 0;
    all = (value = getenv("FAULT_ALL")) ? atol(value) : 0;
    error_number = (value = getenv("FAULT_ERRNO")) ? atol(value) : EIO;
    calls = 0;
    char names[256];
    snprintf(names, sizeof names, "%s", (value = getenv("FAULT_CALLS")) ? value : "");
    for (char *save, *name = strtok_r(names, ",", &save); name; name = strtok_r(NULL, ",", &save))
        for (int kind = 0; kind < KINDS; kind++)
            if (!strcmp(name, NAMES[kind])) calls |= 1u << kind;
    state = NULL;
    if (!(value = getenv("FAULT_STATE"))) return;
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    int (*shut)(int) = dlsym(RTLD_NEXT, "close");
    int fd = real(value, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *memory = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory != MAP_FAILED) state = memory;
    shut(fd);
}

static int below_root(const char *path) {
    size_t length = strlen(root);
    return length && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

static int fails(void) {
    long number = atomic_fetch_add(&state[0], 1) + 1;
    if (!nth || !(number == nth || (all && number > nth))) return 0;
    atomic_fetch_add(&state[1], 1);
    errno = (int)error_number;
    return 1;
}

static int of_fd(int kind, int fd) {
    if (!state || !(calls & 1u << kind)) return 0;
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below_root(path) && fails();
}

static int of_path(int kind, int folder, const char *name) {
    if (!state || !name || !(calls & 1u << kind)) return 0;
    char path[2 * PATH_MAX], link[64];
    if (name[0] == '/') {
        snprintf(path, sizeof path, "%s", name);
    } else {
        if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, path, PATH_MAX - 1);
        if (length < 0) return 0;
        snprintf(path + length, sizeof path - (size_t)length, "/%s", name);
    }
    return below_root(path) && fails();
}

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, name)

static int of_open(int folder, const char *path, int flags) {
    if (of_path(OPEN, folder, path)) return 1;
    return (flags & O_CREAT) && of_path(CREATE, folder, path);
}

#define DEFINE_OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, #name, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        return of_open(AT_FDCWD, path, flags) ? -1 : real(path, flags, mode); \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(int, #name, int, const char *, int, ...); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        return of_open(folder, path, flags) ? -1 : real(folder, path, flags, mode); \
    }
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

#define DEFINE_FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(FILE *, #name, const char *, const char *); \
        int flags = strpbrk(mode, "wa") ? O_CREAT : 0; \
        return of_open(AT_FDCWD, path, flags) ? NULL : real(path, mode); \
    }
DEFINE_FOPEN(fopen)
DEFINE_FOPEN(fopen64)

#define BY_FD(result, name, kind, declared, passed) \
    result name declared { \
        static result (*real) declared; \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        return of_fd(kind, fd) ? (result)-1 : real passed; \
    }
BY_FD(ssize_t, read, READ, (int fd, void *data, size_t size), (fd, data, size))
BY_FD(ssize_t, pread64, READ, (int fd, void *data, size_t size, off64_t at), (fd, data, size, at))
BY_FD(ssize_t, write, WRITE, (int fd, const void *data, size_t size), (fd, data, size))
BY_FD(ssize_t, writev, WRITE, (int fd, const struct iovec *parts, int count), (fd, parts, count))
BY_FD(ssize_t, pwrite64, WRITE, (int fd, const void *data, size_t size, off64_t at),
      (fd, data, size, at))
BY_FD(ssize_t, sendfile64, WRITE, (int fd, int from, off64_t *at, size_t size),
      (fd, from, at, size))
BY_FD(int, fsync, FSYNC, (int fd), (fd))
BY_FD(int, fdatasync, FSYNC, (int fd), (fd))
BY_FD(int, ftruncate, TRUNCATE, (int fd, off_t size), (fd, size))
BY_FD(int, ftruncate64, TRUNCATE, (int fd, off64_t size), (fd, size))
BY_FD(int, fchmod, CHMOD, (int fd, mode_t mode), (fd, mode))
BY_FD(int, flock, LOCK, (int fd, int how), (fd, how))
BY_FD(int, fstat, STAT, (int fd, struct stat *found), (fd, found))
BY_FD(int, fstat64, STAT, (int fd, struct stat64 *found), (fd, found))

int close(int fd) {
    REAL(int, "close", int);
    if (of_fd(CLOSE, fd)) {
        real(fd);
        errno = (int)error_number;
        return -1;
    }
    return real(fd);
}

#define BY_PATH(result, failed, name, kind, folder, declared, passed) \
    result name declared { \
        static result (*real) declared; \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        return of_path(kind, folder, path) ? failed : real passed; \
    }
BY_PATH(int, -1, mkdir, MKDIR, AT_FDCWD, (const char *path, mode_t mode), (path, mode))
BY_PATH(int, -1, mkdirat, MKDIR, at, (int at, const char *path, mode_t mode), (at, path, mode))
BY_PATH(int, -1, unlink, UNLINK, AT_FDCWD, (const char *path), (path))
BY_PATH(int, -1, unlinkat, UNLINK, at, (int at, const char *path, int flags), (at, path, flags))
BY_PATH(int, -1, rmdir, UNLINK, AT_FDCWD, (const char *path), (path))
BY_PATH(int, -1, link, LINK, AT_FDCWD, (const char *path, const char *to), (path, to))
BY_PATH(int, -1, symlink, LINK, AT_FDCWD, (const char *to, const char *path), (to, path))
BY_PATH(int, -1, linkat, LINK, at,
        (int at, const char *path, int to_at, const char *to, int flags),
        (at, path, to_at, to, flags))
BY_PATH(int, -1, rename, RENAME, AT_FDCWD, (const char *path, const char *to), (path, to))
BY_PATH(int, -1, renameat, RENAME, at, (int at, const char *path, int to_at, const char *to),
        (at, path, to_at, to))
BY_PATH(int, -1, chmod, CHMOD, AT_FDCWD, (const char *path, mode_t mode), (path, mode))
BY_PATH(int, -1, truncate64, TRUNCATE, AT_FDCWD, (const char *path, off64_t size), (path, size))
BY_PATH(DIR *, NULL, opendir, LIST, AT_FDCWD, (const char *path), (path))
BY_PATH(int, -1, stat, STAT, AT_FDCWD, (const char *path, struct stat *found), (path, found))
BY_PATH(int, -1, stat64, STAT, AT_FDCWD, (const char *path, struct stat64 *found), (path, found))
BY_PATH(int, -1, lstat, STAT, AT_FDCWD, (const char *path, struct stat *found), (path, found))
BY_PATH(int, -1, lstat64, STAT, AT_FDCWD, (const char *path, struct stat64 *found), (path, found))
BY_PATH(int, -1, fstatat, STAT, at,
        (int at, const char *path, struct stat *found, int flags), (at, path, found, flags))
BY_PATH(int, -1, fstatat64, STAT, at,
        (int at, const char *path, struct stat64 *found, int flags), (at, path, found, flags))
