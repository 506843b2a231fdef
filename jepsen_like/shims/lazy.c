/* Keeps, beside a folder, what a disk would hold of it if the power went now.
 *
 * Preloaded into a node's process, and inherited by those that it starts. JEPSEN_LAZY_DATA
 * names the folder and JEPSEN_LAZY_SHADOW another one on the same file system:
 *
 *   content/N   what is durable of the file with inode number N; nothing, if it is missing
 *   names/N     which names are durable in the folder with number N; none, if it is missing
 *   removed/N   a file or (empty) folder that is gone, while its removal is not durable
 *   shared      what the processes of a node must agree on
 *   unsupported what happened that is not understood here: nothing can be said after it
 *
 * A file that is synced has what was written to it since its last sync copied: pages that
 * this process wrote, if nobody else did, or else all of it. That happens before the sync
 * itself, so that it covers what had returned when the sync began, and no more. A write
 * through a descriptor that syncs what it writes is copied alone. A sync that has not
 * returned may have happened in part, as on a disk: so a process may die anywhere here.
 *
 * What stands in `names` or `removed` keeps its number: no new file is ever taken for it.
 * A move between folders is durable once the new one was synced; until then the old name is.
 *
 * JEPSEN_BOOT_ID names the file that is read in place of the kernel's boot id. While the
 * file that JEPSEN_LAZY_LYING names exists, no sync makes anything durable.
 */
#include "lazy.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

#define KERNELS_BOOT_ID "/proc/sys/kernel/random/boot_id"

static char root[PATH_MAX];
static size_t root_size; /* zero: nothing is followed */
static struct stat root_stat;
static const char *boot_id, *lying_file;

#define REAL(name) ({                                                   \
    static __typeof__(name) *found;                                     \
    if (!found && !(found = dlsym(RTLD_NEXT, #name))) die(#name);       \
    found;                                                              \
})

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("JEPSEN_LAZY_DATA"), *beside = getenv("JEPSEN_LAZY_SHADOW");
    struct stat found;
    boot_id = getenv("JEPSEN_BOOT_ID");
    lying_file = getenv("JEPSEN_LAZY_LYING");
    if (!folder || !beside) return;
    if (!realpath(folder, root) || stat(root, &root_stat)) die(folder);
    if (stat(beside, &found)) die(beside);
    errno = EXDEV;
    if (found.st_dev != root_stat.st_dev) die(beside);
    open_shadow(beside);
    root_size = strlen(root);
}

static int lying(void) {
    return lying_file && !syscall(SYS_faccessat, AT_FDCWD, lying_file, F_OK);
}

/* --- which files and names are followed --------------------------------------------------- */

static int below_root(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return !strncmp(path, root, root_size) && (path[root_size] == '/' || !path[root_size]);
}

/* Whether a descriptor is of a file or folder that is followed. */
static int followed(int fd, struct stat *found) {
    char path[PATH_MAX];
    if (!root_size || fd < 3 || fstat(fd, found)) return 0;
    if (found->st_dev != root_stat.st_dev) return 0;
    if (S_ISDIR(found->st_mode)) return below_root(fd, path);
    if (!S_ISREG(found->st_mode)) return 0;
    if (is_known(found->st_ino)) return 1;
    if (!below_root(fd, path)) return 0;
    spoil(found->st_ino);
    return 1;
}

static int watched(int fd, struct stat *found) {
    int error = errno, is = followed(fd, found);
    errno = error;
    return is;
}

/* Where a path leads to; whether its folder is followed. To be left again, if so. */
static int placed(int folder, const char *path, struct place *place) {
    char above[PATH_MAX], full[PATH_MAX];
    size_t size = path && root_size ? strlen(path) : 0;
    while (size > 1 && path[size - 1] == '/') size--;
    if (!size || size >= PATH_MAX) return 0;
    memcpy(above, path, size);
    above[size] = 0;
    char *slash = strrchr(above, '/'), *name = slash ? slash + 1 : above;
    if (!*name || strlen(name) > NAME_MAX || !strcmp(name, ".") || !strcmp(name, ".."))
        return 0;
    strcpy(place->name, name);
    if (!slash) strcpy(above, ".");
    else slash[slash == above] = 0;
    place->folder = raw_open(folder, above, O_PATH | O_DIRECTORY);
    if (place->folder < 0) return 0;
    if (!below_root(place->folder, full)) {
        raw_close(place->folder);
        return 0;
    }
    place->exists =
        !fstatat(place->folder, place->name, &place->what, AT_SYMLINK_NOFOLLOW);
    return 1;
}

static void leave(struct place *place) { raw_close(place->folder); }

/* --- the calls that are wrapped: opening ------------------------------------------------------ */

static const char *redirected(const char *path) {
    return boot_id && path && !strcmp(path, KERNELS_BOOT_ID) ? boot_id : path;
}

static int opened(int fd, int flags) {
    struct stat found;
    if (fd >= 0 && (flags & (O_TRUNC | __O_TMPFILE)) && watched(fd, &found)) {
        if ((flags & O_TMPFILE) == O_TMPFILE) unsupported("a file without a name", "");
        claim(found.st_ino);
        spoil(found.st_ino);
    }
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
        return opened(REAL(name)(redirected(path), flags, mode), flags); \
    }
#define OPENAT(name)                                                    \
    int name(int folder, const char *path, int flags, ...) {            \
        mode_t mode = MODE(flags);                                      \
        return opened(REAL(name)(folder, redirected(path), flags, mode), flags); \
    }
#define CREAT(name)                                                     \
    int name(const char *path, mode_t mode) {                           \
        return opened(REAL(name)(path, mode), O_TRUNC);                 \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
CREAT(creat)
CREAT(creat64)

/* --- writing ------------------------------------------------------------------------------------ */

static int writes(int fd, struct stat *found) {
    int is = watched(fd, found);
    if (is) claim(found->st_ino);
    return is;
}

/* A negative offset: at the position, which is now behind what was written. */
static ssize_t wrote(int is, const struct stat *file, int fd, ssize_t size, off64_t at,
                     const struct iovec *data, int count, int synced) {
    int error = errno;
    if (is && size > 0) {
        int flags = fcntl(fd, F_GETFL);
        struct stat found;
        if (flags & O_APPEND) {
            if (fstat(fd, &found)) die("fstat");
            at = found.st_size - size;
        } else if (at < 0) {
            at = lseek64(fd, 0, SEEK_CUR) - size;
        }
        if (at < 0) die("no position");
        soil(file->st_ino, (uint64_t)at, (uint64_t)size);
        claim(file->st_ino);
        if (((flags & O_DSYNC) || synced) && !lying())
            keep_write(fd, data, count, (size_t)size, at);
    }
    errno = error;
    return size;
}

#define WRITES(call, at, data, count, synced) ({                        \
    struct stat file;                                                   \
    int is = writes(fd, &file);                                         \
    wrote(is, &file, fd, call, at, data, count, synced);                \
})

ssize_t write(int fd, const void *data, size_t size) {
    struct iovec one = {(void *)data, size};
    return WRITES(REAL(write)(fd, data, size), -1, &one, 1, 0);
}
ssize_t writev(int fd, const struct iovec *data, int count) {
    return WRITES(REAL(writev)(fd, data, count), -1, data, count, 0);
}
#define PWRITE(name)                                                    \
    ssize_t name(int fd, const void *data, size_t size, off64_t at) {   \
        struct iovec one = {(void *)data, size};                        \
        return WRITES(REAL(name)(fd, data, size, at), at, &one, 1, 0);  \
    }
#define PWRITEV(name)                                                   \
    ssize_t name(int fd, const struct iovec *data, int count, off64_t at) { \
        return WRITES(REAL(name)(fd, data, count, at), at, data, count, 0); \
    }
#define PWRITEV2(name)                                                  \
    ssize_t name(int fd, const struct iovec *data, int count, off64_t at, int flags) { \
        struct stat file;                                               \
        if ((flags & RWF_APPEND) && watched(fd, &file))                 \
            unsupported("a write with RWF_APPEND", "");                 \
        return WRITES(REAL(name)(fd, data, count, at, flags), at, data, count, \
                      flags & (RWF_DSYNC | RWF_SYNC));                  \
    }
PWRITE(pwrite)
PWRITE(pwrite64)
PWRITEV(pwritev)
PWRITEV(pwritev64)
PWRITEV2(pwritev2)
PWRITEV2(pwritev64v2)

/* A change that is not followed page by page: the next sync copies all. */
#define CHANGES(fd, call) ({                                            \
    struct stat file;                                                   \
    int is = writes(fd, &file);                                         \
    __typeof__(call) result = call;                                     \
    if (is) {                                                           \
        int error = errno;                                              \
        spoil(file.st_ino);                                             \
        claim(file.st_ino);                                             \
        errno = error;                                                  \
    }                                                                   \
    result;                                                             \
})

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *where, size_t size,
                        unsigned flags) {
    return CHANGES(to, REAL(copy_file_range)(from, at, to, where, size, flags));
}
ssize_t sendfile(int to, int from, off_t *at, size_t size) {
    return CHANGES(to, REAL(sendfile)(to, from, at, size));
}
ssize_t sendfile64(int to, int from, off64_t *at, size_t size) {
    return CHANGES(to, REAL(sendfile64)(to, from, at, size));
}
int ftruncate(int fd, off_t size) { return CHANGES(fd, REAL(ftruncate)(fd, size)); }
int ftruncate64(int fd, off64_t size) { return CHANGES(fd, REAL(ftruncate64)(fd, size)); }
int fallocate(int fd, int mode, off_t at, off_t size) {
    return CHANGES(fd, REAL(fallocate)(fd, mode, at, size));
}
int fallocate64(int fd, int mode, off64_t at, off64_t size) {
    return CHANGES(fd, REAL(fallocate64)(fd, mode, at, size));
}
int posix_fallocate(int fd, off_t at, off_t size) {
    return CHANGES(fd, REAL(posix_fallocate)(fd, at, size));
}
int posix_fallocate64(int fd, off64_t at, off64_t size) {
    return CHANGES(fd, REAL(posix_fallocate64)(fd, at, size));
}

#define TRUNCATE_PATH(name)                                             \
    int name(const char *path, off64_t size) {                          \
        int fd = raw_open(AT_FDCWD, path, O_WRONLY);                    \
        if (fd < 0) return -1;                                          \
        int result = ftruncate64(fd, size), error = errno;              \
        raw_close(fd);                                                  \
        errno = error;                                                  \
        return result;                                                  \
    }
TRUNCATE_PATH(truncate)
TRUNCATE_PATH(truncate64)

/* What is written through memory is seen by nobody: from now on each sync copies all. */
static void mapped(void *result, int protection, int flags, int fd) {
    struct stat file;
    if (result == MAP_FAILED || !(protection & PROT_WRITE) || (flags & MAP_ANONYMOUS)) return;
    if ((flags & MAP_TYPE) != MAP_PRIVATE && watched(fd, &file))
        give_up(file.st_ino);
}

#define MMAP(name)                                                      \
    void *name(void *where, size_t size, int protection, int flags, int fd, off64_t at) { \
        void *result = REAL(name)(where, size, protection, flags, fd, at); \
        mapped(result, protection, flags, fd);                          \
        return result;                                                  \
    }
MMAP(mmap)
MMAP(mmap64)

/* --- syncing ------------------------------------------------------------------------------------- */

/* sync, syncfs, msync and sync_file_range are not followed: that only forgets more than a
   disk would. */
static void syncs(int fd) {
    struct stat found;
    int error = errno;
    if (followed(fd, &found) && !lying()) {
        if (S_ISDIR(found.st_mode)) keep_names(fd, found.st_ino);
        else keep_content(fd);
    }
    errno = error;
}

int fsync(int fd) {
    syncs(fd);
    return REAL(fsync)(fd);
}
int fdatasync(int fd) {
    syncs(fd);
    return REAL(fdatasync)(fd);
}

/* --- names ---------------------------------------------------------------------------------------- */

static int removes(int folder, const char *path, int is_folder, int *result) {
    struct place place;
    int error = errno;
    if (!placed(folder, path, &place)) {
        errno = error;
        return 0;
    }
    lock();
    if (is_folder < 0) is_folder = place.exists && S_ISDIR(place.what.st_mode);
    errno = error;
    *result = is_folder ? remove_folder(&place) : remove_file(&place);
    error = errno;
    unlock();
    leave(&place);
    errno = error;
    return 1;
}

int unlink(const char *path) {
    int result;
    return removes(AT_FDCWD, path, 0, &result) ? result : REAL(unlink)(path);
}
int rmdir(const char *path) {
    int result;
    return removes(AT_FDCWD, path, 1, &result) ? result : REAL(rmdir)(path);
}
int remove(const char *path) {
    int result;
    return removes(AT_FDCWD, path, -1, &result) ? result : REAL(remove)(path);
}
int unlinkat(int folder, const char *path, int flags) {
    int result, is_folder = !!(flags & AT_REMOVEDIR);
    return removes(folder, path, is_folder, &result) ? result
                                                     : REAL(unlinkat)(folder, path, flags);
}

/* Renames by the kernel's own call, whichever of the three was called. */
static int renames(int old_folder, const char *old, int new_folder, const char *new,
                   unsigned flags) {
    struct place from, to;
    int out = placed(old_folder, old, &from), in = placed(new_folder, new, &to);
    if (out && in) {
        lock();
        int replaces = to.exists && !(flags & RENAME_EXCHANGE) && from.exists &&
                       to.what.st_ino != from.what.st_ino;
        if (replaces && S_ISREG(to.what.st_mode)) keep_removed(&to);
        else if (replaces) unsupported("a folder that is replaced", new);
    }
    int result = (int)syscall(SYS_renameat2, old_folder, old, new_folder, new, flags);
    int error = errno;
    if (out && in) unlock();
    else if ((out || in) && !result) unsupported("a move into the folder or out of it", old);
    if (out) leave(&from);
    if (in) leave(&to);
    errno = error;
    return result;
}

int rename(const char *old, const char *new) {
    return root_size ? renames(AT_FDCWD, old, AT_FDCWD, new, 0) : REAL(rename)(old, new);
}
int renameat(int old_folder, const char *old, int new_folder, const char *new) {
    return root_size ? renames(old_folder, old, new_folder, new, 0)
                     : REAL(renameat)(old_folder, old, new_folder, new);
}
int renameat2(int old_folder, const char *old, int new_folder, const char *new,
              unsigned flags) {
    return root_size ? renames(old_folder, old, new_folder, new, flags)
                     : REAL(renameat2)(old_folder, old, new_folder, new, flags);
}

/* No file here has two names, and none is a link. */
static int linked(int result, int folder, const char *path) {
    struct place place;
    int error = errno;
    if (!result && placed(folder, path, &place)) {
        unsupported("a link", path);
        leave(&place);
    }
    errno = error;
    return result;
}

int link(const char *old, const char *new) {
    return linked(REAL(link)(old, new), AT_FDCWD, new);
}
int linkat(int old_folder, const char *old, int new_folder, const char *new, int flags) {
    return linked(REAL(linkat)(old_folder, old, new_folder, new, flags), new_folder, new);
}
int symlink(const char *to, const char *path) {
    return linked(REAL(symlink)(to, path), AT_FDCWD, path);
}
int symlinkat(const char *to, int folder, const char *path) {
    return linked(REAL(symlinkat)(to, folder, path), folder, path);
}
