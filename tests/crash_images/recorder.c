/* Records what a process tells the disk about one folder, in order.
 *
 * Preloaded into a process, and inherited by those that it starts. CRASH_ROOT names the
 * folder and CRASH_TRACE the file that is appended to. Each record is one append, so the
 * order of the file is the order of what happened, over all threads and processes.
 *
 * A change is recorded when it has returned. A sync is recorded twice: it covers what had
 * returned when it began, and is worth something once it has returned.
 *
 * Nothing is kept about open files: which one a descriptor means, and whether it syncs its
 * own writes, is asked of the kernel each time. A call that is not wrapped here is noticed
 * afterwards, because the files then differ from what was recorded.
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAGIC 0x52435348u
#define TRACE_FD_MIN 900
#define PIECE (1 << 20)

/* The numbers are those of recording.Op. */
enum op {
    CREATE = 1, MKDIR, LINK, UNLINK, RENAME,
    WRITE, WRITE_SYNCED, TRUNCATE, ALLOCATE,
    SYNC_BEGIN, SYNC_END, MAP, UNSUPPORTED,
};

struct head {
    uint32_t magic, op;
    uint64_t inode, offset, length;
    uint32_t path_size, target_size;
    uint64_t data_size;
};

struct file {
    uint64_t inode;
    char path[PATH_MAX];
};

static int trace = -1;
static char root[PATH_MAX];
static size_t root_size;
static dev_t device;

static void die(const char *why) {
    dprintf(2, "crash recorder: %s: %s\n", why, strerror(errno));
    _exit(97);
}

#define REAL(name) ({                                                   \
    static __typeof__(name) *found;                                     \
    if (!found && !(found = dlsym(RTLD_NEXT, #name))) die(#name);       \
    found;                                                              \
})

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("CRASH_ROOT"), *file = getenv("CRASH_TRACE");
    struct stat found;
    if (!folder || !file) return;
    if (!realpath(folder, root) || stat(root, &found)) die(folder);
    root_size = strlen(root);
    device = found.st_dev;
    long opened = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    if (opened < 0) die(file);
    /* Out of the way of programs that expect the lowest numbers. */
    trace = fcntl((int)opened, F_DUPFD_CLOEXEC, TRACE_FD_MIN);
    if (trace < 0) die("no descriptor for the trace");
    syscall(SYS_close, opened);
}

static void record(enum op op, uint64_t inode, uint64_t offset, uint64_t length,
                   const char *path, const char *target, const struct iovec *data, int count) {
    struct head head = {.magic = MAGIC, .op = op, .inode = inode, .offset = offset,
                        .length = length, .path_size = (uint32_t)strlen(path),
                        .target_size = (uint32_t)strlen(target)};
    struct iovec parts[3 + IOV_MAX];
    if (count > IOV_MAX - 3) die("too many pieces in one write");
    uint64_t left = length;
    int used = 3;
    for (int i = 0; i < count && left; i++) {
        size_t size = data[i].iov_len < left ? data[i].iov_len : left;
        parts[used++] = (struct iovec){data[i].iov_base, size};
        left -= size;
    }
    head.data_size = count ? length - left : 0;
    parts[0] = (struct iovec){&head, sizeof head};
    parts[1] = (struct iovec){(void *)path, head.path_size};
    parts[2] = (struct iovec){(void *)target, head.target_size};
    uint64_t total = sizeof head + head.path_size + head.target_size + head.data_size;
    long written = syscall(SYS_writev, trace, parts, used);
    if (written < 0 || (uint64_t)written != total) die("cannot write the trace");
}

static int below_root(const char *path) {
    return !strncmp(path, root, root_size) && (path[root_size] == '/' || !path[root_size]);
}

/* Whether a descriptor is of a file or folder that is recorded, and of which. */
static int known(int fd, struct file *file) {
    struct stat found;
    char link[64];
    if (trace < 0 || fd < 0 || fd == trace || fstat(fd, &found)) return 0;
    if (found.st_dev != device || !(S_ISREG(found.st_mode) || S_ISDIR(found.st_mode))) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, file->path, sizeof file->path - 1);
    if (size < 0) die("readlink");
    file->path[size] = 0;
    file->inode = found.st_ino;
    return below_root(file->path);
}

/* Make a path absolute; whether what it names is recorded. */
static int placed(int folder, const char *path, char *out) {
    if (trace < 0 || !path) return 0;
    if (path[0] == '/') {
        if (strlen(path) >= PATH_MAX) return 0;
        strcpy(out, path);
    } else {
        char base[PATH_MAX];
        if (folder == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t size = readlink(link, base, sizeof base - 1);
            if (size < 0) return 0;
            base[size] = 0;
        }
        if (strlen(base) + strlen(path) + 2 > PATH_MAX) return 0;
        strcpy(out, base);
        strcat(out, "/");
        strcat(out, path);
    }
    return below_root(out);
}

static uint64_t inode_of(const char *path) {
    struct stat found;
    if (lstat(path, &found)) die(path);
    return found.st_ino;
}

/* --- opening: only what makes or shortens a file counts ------------------------------ */

static int existed(int folder, const char *path, int flags) {
    char full[PATH_MAX];
    int error = errno;
    int is = !(flags & O_CREAT) || !placed(folder, path, full) ||
             !syscall(SYS_faccessat, folder, path, F_OK);
    errno = error;
    return is;
}

static int opened(int fd, int folder, const char *path, int flags, int was_there) {
    struct file file;
    char full[PATH_MAX];
    int error = errno;
    if (fd >= 0 && (flags & (O_CREAT | O_TRUNC | __O_TMPFILE)) && known(fd, &file)) {
        if ((flags & O_TMPFILE) == O_TMPFILE)
            record(UNSUPPORTED, file.inode, 0, 0, file.path, "O_TMPFILE", 0, 0);
        else if (!was_there && placed(folder, path, full))
            record(CREATE, file.inode, 0, 0, full, "", 0, 0);
        else if (flags & O_TRUNC)
            record(TRUNCATE, file.inode, 0, 0, file.path, "", 0, 0);
    }
    errno = error;
    return fd;
}

#define MODE(flags) ({                                                  \
    mode_t mode = 0;                                                    \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                            \
        va_list rest;                                                   \
        va_start(rest, flags);                                          \
        mode = va_arg(rest, mode_t);                                    \
        va_end(rest);                                                   \
    }                                                                   \
    mode;                                                               \
})

#define OPEN(name)                                                      \
    int name(const char *path, int flags, ...) {                        \
        mode_t mode = MODE(flags);                                      \
        int was = existed(AT_FDCWD, path, flags);                       \
        return opened(REAL(name)(path, flags, mode), AT_FDCWD, path, flags, was); \
    }
#define OPENAT(name)                                                    \
    int name(int folder, const char *path, int flags, ...) {            \
        mode_t mode = MODE(flags);                                      \
        int was = existed(folder, path, flags);                         \
        return opened(REAL(name)(folder, path, flags, mode), folder, path, flags, was); \
    }
#define CREAT(name)                                                     \
    int name(const char *path, mode_t mode) {                           \
        int flags = O_CREAT | O_WRONLY | O_TRUNC;                       \
        int was = existed(AT_FDCWD, path, flags);                       \
        return opened(REAL(name)(path, mode), AT_FDCWD, path, flags, was); \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
CREAT(creat)
CREAT(creat64)

/* --- writing ------------------------------------------------------------------------- */

static ssize_t wrote(int fd, ssize_t size, off64_t offset, const struct iovec *data, int count,
                     int synced) {
    struct file file;
    int error = errno;
    if (size > 0 && known(fd, &file)) {
        int flags = fcntl(fd, F_GETFL);
        /* Where the position moves along, it is behind what was written. */
        if (offset < 0 || (flags & O_APPEND)) {
            off64_t at = lseek64(fd, 0, SEEK_CUR);
            struct stat found;
            if (offset >= 0 && !fstat(fd, &found)) at = found.st_size;
            if (at < size) die("no position");
            offset = at - size;
        }
        record((flags & O_DSYNC) || synced ? WRITE_SYNCED : WRITE, file.inode,
               (uint64_t)offset, (uint64_t)size, file.path, "", data, count);
    }
    errno = error;
    return size;
}

ssize_t write(int fd, const void *data, size_t size) {
    struct iovec one = {(void *)data, size};
    return wrote(fd, REAL(write)(fd, data, size), -1, &one, 1, 0);
}

ssize_t writev(int fd, const struct iovec *data, int count) {
    return wrote(fd, REAL(writev)(fd, data, count), -1, data, count, 0);
}

#define PWRITE(name)                                                    \
    ssize_t name(int fd, const void *data, size_t size, off64_t offset) { \
        struct iovec one = {(void *)data, size};                        \
        return wrote(fd, REAL(name)(fd, data, size, offset), offset, &one, 1, 0); \
    }
#define PWRITEV(name)                                                   \
    ssize_t name(int fd, const struct iovec *data, int count, off64_t offset) { \
        return wrote(fd, REAL(name)(fd, data, count, offset), offset, data, count, 0); \
    }
#define PWRITEV2(name)                                                  \
    ssize_t name(int fd, const struct iovec *data, int count, off64_t offset, int flags) { \
        struct file file;                                               \
        ssize_t size = REAL(name)(fd, data, count, offset, flags);      \
        if (size > 0 && (flags & RWF_APPEND) && known(fd, &file))       \
            record(UNSUPPORTED, file.inode, 0, 0, file.path, "RWF_APPEND", 0, 0); \
        return wrote(fd, size, offset, data, count, flags & (RWF_DSYNC | RWF_SYNC)); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)
PWRITEV(pwritev)
PWRITEV(pwritev64)
PWRITEV2(pwritev2)
PWRITEV2(pwritev64v2)

/* What the kernel copied by itself is read back: nobody else writes to the target. */
static ssize_t copied(int fd, ssize_t size, off64_t offset) {
    static __thread char piece[PIECE];
    struct file file;
    int error = errno;
    if (size > 0 && known(fd, &file)) {
        char name[64];
        off64_t at = offset < 0 ? lseek64(fd, 0, SEEK_CUR) - size : offset;
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        long reading = syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
        if (reading < 0) die(file.path);
        for (ssize_t done = 0; done < size;) {
            size_t want = size - done < PIECE ? (size_t)(size - done) : PIECE;
            ssize_t got = pread64((int)reading, piece, want, at + done);
            if (got <= 0) die("cannot read back a copy");
            struct iovec one = {piece, (size_t)got};
            record(WRITE, file.inode, (uint64_t)(at + done), (uint64_t)got, file.path, "",
                   &one, 1);
            done += got;
        }
        syscall(SYS_close, reading);
    }
    errno = error;
    return size;
}

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *where, size_t size,
                        unsigned flags) {
    off64_t offset = where ? *where : -1;
    return copied(to, REAL(copy_file_range)(from, at, to, where, size, flags), offset);
}

#define SENDFILE(name)                                                  \
    ssize_t name(int to, int from, off64_t *at, size_t size) {          \
        return copied(to, REAL(name)(to, from, at, size), -1);          \
    }
ssize_t sendfile(int, int, off64_t *, size_t);
ssize_t sendfile64(int, int, off64_t *, size_t);
SENDFILE(sendfile)
SENDFILE(sendfile64)

/* --- size ---------------------------------------------------------------------------- */

#define FTRUNCATE(name)                                                 \
    int name(int fd, off64_t size) {                                    \
        struct file file;                                               \
        int result = REAL(name)(fd, size), error = errno;               \
        if (!result && known(fd, &file))                                \
            record(TRUNCATE, file.inode, 0, (uint64_t)size, file.path, "", 0, 0); \
        errno = error;                                                  \
        return result;                                                  \
    }
#define TRUNCATE_PATH(name)                                             \
    int name(const char *path, off64_t size) {                          \
        char full[PATH_MAX];                                            \
        int result = REAL(name)(path, size), error = errno;             \
        if (!result && placed(AT_FDCWD, path, full))                    \
            record(TRUNCATE, inode_of(full), 0, (uint64_t)size, full, "", 0, 0); \
        errno = error;                                                  \
        return result;                                                  \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)
TRUNCATE_PATH(truncate)
TRUNCATE_PATH(truncate64)

static void allocated(int fd, int mode, off64_t offset, off64_t size) {
    struct file file;
    int error = errno;
    if (known(fd, &file)) {
        if (mode & ~FALLOC_FL_KEEP_SIZE)
            record(UNSUPPORTED, file.inode, 0, 0, file.path, "fallocate", 0, 0);
        else if (!mode)
            record(ALLOCATE, file.inode, (uint64_t)offset, (uint64_t)size, file.path, "", 0, 0);
    }
    errno = error;
}

#define FALLOCATE(name)                                                 \
    int name(int fd, int mode, off64_t offset, off64_t size) {          \
        int result = REAL(name)(fd, mode, offset, size);                \
        if (!result) allocated(fd, mode, offset, size);                 \
        return result;                                                  \
    }
#define POSIX_FALLOCATE(name)                                           \
    int name(int fd, off64_t offset, off64_t size) {                    \
        int result = REAL(name)(fd, offset, size);                      \
        if (!result) allocated(fd, 0, offset, size);                    \
        return result;                                                  \
    }
FALLOCATE(fallocate)
FALLOCATE(fallocate64)
POSIX_FALLOCATE(posix_fallocate)
POSIX_FALLOCATE(posix_fallocate64)

/* --- syncing ------------------------------------------------------------------------- */

#define SYNC(name)                                                      \
    int name(int fd) {                                                  \
        struct file file;                                               \
        int is = known(fd, &file);                                      \
        uint64_t thread = is ? (uint64_t)gettid() : 0;                  \
        if (is) record(SYNC_BEGIN, file.inode, 0, thread, file.path, "", 0, 0); \
        int result = REAL(name)(fd), error = errno;                     \
        if (is && !result) record(SYNC_END, file.inode, 0, thread, file.path, "", 0, 0); \
        errno = error;                                                  \
        return result;                                                  \
    }
SYNC(fsync)
SYNC(fdatasync)
/* sync_file_range promises nothing (it does not flush the disk's cache), so it is not
   recorded; and neither are sync and syncfs, which only make an image too pessimistic. */

/* --- names --------------------------------------------------------------------------- */

static int renamed(int result, int old_folder, const char *old, int new_folder, const char *new,
                   unsigned flags) {
    char from[PATH_MAX], to[PATH_MAX];
    int error = errno;
    if (!result) {
        int out = placed(old_folder, old, from), in = placed(new_folder, new, to);
        if (out != in || (out && (flags & ~1u)))
            record(UNSUPPORTED, 0, 0, 0, from, "rename", 0, 0);
        else if (out)
            record(RENAME, 0, 0, 0, from, to, 0, 0);
    }
    errno = error;
    return result;
}

int rename(const char *old, const char *new) {
    return renamed(REAL(rename)(old, new), AT_FDCWD, old, AT_FDCWD, new, 0);
}
int renameat(int old_folder, const char *old, int new_folder, const char *new) {
    return renamed(REAL(renameat)(old_folder, old, new_folder, new), old_folder, old,
                   new_folder, new, 0);
}
int renameat2(int old_folder, const char *old, int new_folder, const char *new,
              unsigned flags) {
    return renamed(REAL(renameat2)(old_folder, old, new_folder, new, flags), old_folder, old,
                   new_folder, new, flags);
}

static int named(int result, enum op op, int folder, const char *path) {
    char full[PATH_MAX];
    int error = errno;
    if (!result && placed(folder, path, full)) {
        uint64_t inode = op == UNLINK ? 0 : inode_of(full);
        record(op, inode, 0, 0, full, "", 0, 0);
    }
    errno = error;
    return result;
}

int unlink(const char *path) { return named(REAL(unlink)(path), UNLINK, AT_FDCWD, path); }
int rmdir(const char *path) { return named(REAL(rmdir)(path), UNLINK, AT_FDCWD, path); }
int remove(const char *path) { return named(REAL(remove)(path), UNLINK, AT_FDCWD, path); }
int unlinkat(int folder, const char *path, int flags) {
    return named(REAL(unlinkat)(folder, path, flags), UNLINK, folder, path);
}
int mkdir(const char *path, mode_t mode) {
    return named(REAL(mkdir)(path, mode), MKDIR, AT_FDCWD, path);
}
int mkdirat(int folder, const char *path, mode_t mode) {
    return named(REAL(mkdirat)(folder, path, mode), MKDIR, folder, path);
}
int link(const char *old, const char *new) {
    return named(REAL(link)(old, new), LINK, AT_FDCWD, new);
}
int linkat(int old_folder, const char *old, int new_folder, const char *new, int flags) {
    return named(REAL(linkat)(old_folder, old, new_folder, new, flags), LINK, new_folder, new);
}

int symlink(const char *to, const char *path) {
    char full[PATH_MAX];
    int result = REAL(symlink)(to, path), error = errno;
    if (!result && placed(AT_FDCWD, path, full))
        record(UNSUPPORTED, 0, 0, 0, full, "symlink", 0, 0);
    errno = error;
    return result;
}

/* --- memory -------------------------------------------------------------------------- */

#define MMAP(name)                                                      \
    void *name(void *where, size_t size, int protection, int flags, int fd, off64_t offset) { \
        struct file file;                                               \
        void *result = REAL(name)(where, size, protection, flags, fd, offset); \
        int error = errno;                                              \
        int shared = (flags & MAP_TYPE) != MAP_PRIVATE && !(flags & MAP_ANONYMOUS); \
        if (result != MAP_FAILED && (protection & PROT_WRITE) && shared && known(fd, &file)) \
            record(MAP, file.inode, (uint64_t)offset, size, file.path, "", 0, 0); \
        errno = error;                                                  \
        return result;                                                  \
    }
MMAP(mmap)
MMAP(mmap64)
