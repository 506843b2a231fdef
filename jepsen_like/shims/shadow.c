/* The shadow's own files, what the processes of a node share, and what is durable of the
 * content of files. See lazy.c.
 */
#include "lazy.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>

#define PAGE 4096
#define PIECE (1 << 18)
#define MAGIC 0x6c617a7964697331u
#define BUCKETS 4096
#define TABLE 1024
#define ENTRIES_MAX 8192
#define PAGES_MAX (1u << 24)

static char shadow[PATH_MAX];

void die(const char *why) {
    dprintf(2, "lazy disk: %s: %s\n", why, strerror(errno));
    _exit(97);
}

void *must(void *made) {
    if (!made) die("no memory");
    return made;
}

/* --- the shadow's files, by calls that nothing here wraps ------------------------------ */

int raw_open(int folder, const char *path, int flags) {
    return (int)syscall(SYS_openat, folder, path, flags | O_CLOEXEC, 0600);
}

void raw_close(int fd) { syscall(SYS_close, fd); }

int raw_unlink(const char *path, int flags) {
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, flags);
}

const char *in_shadow(char *out, const char *kind, uint64_t inode) {
    if (snprintf(out, PATH_MAX, "%s/%s/%" PRIu64, shadow, kind, inode) >= PATH_MAX)
        die("the path of the shadow is too long");
    return out;
}

void put(int fd, const char *data, size_t size, off64_t at, const char *what) {
    while (size) {
        ssize_t done = syscall(SYS_pwrite64, fd, data, size, at);
        if (done < 0) die(what);
        data += done, size -= (size_t)done, at += done;
    }
}

void unsupported(const char *what, const char *path) {
    char file[PATH_MAX + 16], line[PATH_MAX + 64];
    snprintf(file, sizeof file, "%s/unsupported", shadow);
    int size = snprintf(line, sizeof line, "%s: %s\n", what, path);
    int fd = raw_open(AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND);
    if (fd < 0 || syscall(SYS_write, fd, line, size) != size) die(file);
    raw_close(fd);
}

void each(const char *kind, void (*what)(uint64_t, void *), void *with) {
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/%s", shadow, kind);
    int fd = raw_open(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) die(path);
    for (struct dirent *one; (one = readdir(folder));) {
        char *end;
        uint64_t inode = strtoull(one->d_name, &end, 10);
        if (end != one->d_name && !*end) what(inode, with);
    }
    closedir(folder);
}

/* --- what the processes of a node share ------------------------------------------------- */

/* Who wrote last to one of the files that fall into this bucket, and how often that
   changed. Two files in one bucket cost a copy now and then, and nothing else. */
struct bucket {
    _Atomic uint64_t writer, switches, mapped;
};

struct shared {
    uint64_t magic;
    pthread_mutex_t lock;
    struct bucket buckets[BUCKETS];
};

static struct shared *shared;
static uint64_t self; /* this process, by a number that no other ever has */

static void draw_self(void) {
    if (syscall(SYS_getrandom, &self, sizeof self, 0) != sizeof self) die("getrandom");
}

static void share(void) {
    char path[PATH_MAX + 16];
    struct stat found;
    snprintf(path, sizeof path, "%s/shared", shadow);
    int fd = raw_open(AT_FDCWD, path, O_RDWR | O_CREAT);
    if (fd < 0 || flock(fd, LOCK_EX) || fstat(fd, &found)) die(path);
    if (found.st_size < (off_t)sizeof *shared &&
        syscall(SYS_ftruncate, fd, (off_t)sizeof *shared))
        die(path);
    void *mapped = (void *)syscall(SYS_mmap, NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                                   MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) die(path);
    shared = mapped;
    if (shared->magic != MAGIC) {
        pthread_mutexattr_t how;
        pthread_mutexattr_init(&how);
        pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);
        if ((errno = pthread_mutex_init(&shared->lock, &how))) die("no lock");
        shared->magic = MAGIC;
    }
    flock(fd, LOCK_UN); /* the mapping keeps the file open, and would keep the flock too */
    raw_close(fd);
}

/* One process at a time changes the shadow. One that dies over it leaves what a disk may
   hold in the middle of a sync. */
void lock(void) {
    int error = pthread_mutex_lock(&shared->lock);
    if (error == EOWNERDEAD) error = pthread_mutex_consistent(&shared->lock);
    if ((errno = error)) die("the lock of the shadow");
}

void unlock(void) { pthread_mutex_unlock(&shared->lock); }

static struct bucket *bucket_of(uint64_t inode) {
    return &shared->buckets[inode * 0x9e3779b97f4a7c15u >> 52];
}

/* Said before a write, so that nobody misses it who syncs after it, and again behind it, so
   that nobody misses it who synced in between. */
void claim(uint64_t inode) {
    struct bucket *bucket = bucket_of(inode);
    if (bucket->writer != self) {
        bucket->switches++;
        bucket->writer = self;
    }
}

/* --- what this process wrote ------------------------------------------------------------- */

struct entry {
    struct entry *next;
    uint64_t inode, switches;
    int complete; /* all but `dirty` was copied, unless somebody else wrote */
    size_t words;
    uint64_t *dirty; /* one bit a page */
};

static struct entry *table[TABLE];
static size_t entries;
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

static void forget_all(void) {
    for (size_t i = 0; i < TABLE; i++) {
        while (table[i]) {
            struct entry *gone = table[i];
            table[i] = gone->next;
            free(gone->dirty);
            free(gone);
        }
    }
    entries = 0;
}

static struct entry *find(uint64_t inode) {
    struct entry *one = table[inode % TABLE];
    while (one && one->inode != inode) one = one->next;
    return one;
}

/* Always there afterwards. Who is forgotten is copied whole when it is synced next. */
static struct entry *entry_of(uint64_t inode) {
    struct entry *one = find(inode);
    if (one) return one;
    if (entries >= ENTRIES_MAX) forget_all();
    one = must(calloc(1, sizeof *one));
    one->inode = inode;
    one->next = table[inode % TABLE];
    table[inode % TABLE] = one;
    entries++;
    return one;
}

void spoil(uint64_t inode) {
    pthread_mutex_lock(&table_lock);
    entry_of(inode)->complete = 0;
    pthread_mutex_unlock(&table_lock);
}

void give_up(uint64_t inode) { bucket_of(inode)->mapped = 1; }

int is_known(uint64_t inode) {
    pthread_mutex_lock(&table_lock);
    int is = find(inode) != NULL;
    pthread_mutex_unlock(&table_lock);
    return is;
}

void soil(uint64_t inode, uint64_t offset, uint64_t size) {
    uint64_t first = offset / PAGE, last = (offset + size - 1) / PAGE;
    pthread_mutex_lock(&table_lock);
    struct entry *one = entry_of(inode);
    if (last >= PAGES_MAX) one->complete = 0;
    if (one->complete) {
        size_t words = last / 64 + 1;
        if (words > one->words) {
            words = words * 3 / 2;
            one->dirty = must(realloc(one->dirty, words * sizeof *one->dirty));
            memset(one->dirty + one->words, 0, (words - one->words) * sizeof *one->dirty);
            one->words = words;
        }
        for (uint64_t page = first; page <= last; page++)
            one->dirty[page / 64] |= 1ull << page % 64;
    }
    pthread_mutex_unlock(&table_lock);
}

/* A child that goes on with a copy of this memory is another writer. */
static void fork_begins(void) { pthread_mutex_lock(&table_lock); }
static void fork_ended(void) { pthread_mutex_unlock(&table_lock); }
static void fork_made_us(void) {
    draw_self();
    forget_all();
    pthread_mutex_unlock(&table_lock);
}

/* --- content ------------------------------------------------------------------------------- */

static int open_content(uint64_t inode, int *is_new) {
    char path[PATH_MAX];
    in_shadow(path, "content", inode);
    int fd = raw_open(AT_FDCWD, path, O_RDWR);
    *is_new = fd < 0;
    if (fd < 0) fd = raw_open(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0) die(path);
    return fd;
}

static void copy(int from, int to, off64_t at, off64_t end) {
    static char piece[PIECE]; /* whoever is here has the lock */
    while (at < end) {
        size_t want = end - at < PIECE ? (size_t)(end - at) : PIECE;
        ssize_t got = syscall(SYS_pread64, from, piece, want, at);
        if (got < 0) die("cannot read what is synced");
        if (!got) return;
        put(to, piece, (size_t)got, at, "cannot write to the shadow");
        at += got;
    }
}

static void clear(int to, off64_t at, off64_t end) {
    static const char zeros[PAGE];
    int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (!syscall(SYS_fallocate, to, how, at, end - at)) return;
    for (; at < end; at += PAGE)
        put(to, zeros, end - at < PAGE ? (size_t)(end - at) : PAGE, at, "cannot clear");
}

/* Never less than what was durable before, whenever it ends. */
static void copy_whole(int from, int to, off64_t size) {
    for (off64_t at = 0; at < size;) {
        off64_t data = lseek64(from, at, SEEK_DATA);
        if (data < 0) data = errno == ENXIO ? size : at;
        if (data > at) clear(to, at, data < size ? data : size);
        if (data >= size) break;
        off64_t hole = lseek64(from, data, SEEK_HOLE);
        if (hole < 0 || hole > size) hole = size;
        copy(from, to, data, hole);
        at = hole;
    }
}

static void copy_dirty(int from, int to, off64_t size, const uint64_t *dirty, size_t words) {
    for (size_t page = 0; page < words * 64;) {
        if (!dirty[page / 64]) {
            page = (page / 64 + 1) * 64;
            continue;
        }
        size_t end = page;
        while (end < words * 64 && dirty[end / 64] >> end % 64 & 1) end++;
        off64_t stop = (off64_t)end * PAGE;
        if (end > page) copy(from, to, (off64_t)page * PAGE, stop < size ? stop : size);
        page = end + 1;
    }
}

void keep_content(int fd) {
    struct stat found, before;
    char name[64];
    int is_new;
    lock();
    if (fstat(fd, &found)) die("fstat");
    if (found.st_nlink) {
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        int from = raw_open(AT_FDCWD, name, O_RDONLY);
        int to = open_content(found.st_ino, &is_new);
        if (from < 0) die("cannot read what is synced");
        struct bucket *bucket = bucket_of(found.st_ino);
        pthread_mutex_lock(&table_lock);
        struct entry *one = entry_of(found.st_ino);
        uint64_t *dirty = one->dirty, switches = bucket->switches;
        size_t words = one->words;
        int ours = one->complete && !is_new && one->switches == switches &&
                   bucket->writer == self && !bucket->mapped;
        one->dirty = NULL, one->words = 0, one->complete = 1, one->switches = switches;
        pthread_mutex_unlock(&table_lock);
        if (ours) copy_dirty(from, to, found.st_size, dirty, words);
        else copy_whole(from, to, found.st_size);
        free(dirty);
        if (fstat(to, &before)) die("fstat");
        if (before.st_size != found.st_size && syscall(SYS_ftruncate, to, found.st_size))
            die("cannot change a size in the shadow");
        raw_close(from);
        raw_close(to);
    }
    unlock();
}

void keep_write(int fd, const struct iovec *data, int count, size_t size, off64_t at) {
    struct stat found;
    int is_new;
    lock();
    if (fstat(fd, &found)) die("fstat");
    if (found.st_nlink) {
        int to = open_content(found.st_ino, &is_new);
        if (is_new) spoil(found.st_ino);
        for (int i = 0; i < count && size; i++) {
            size_t part = data[i].iov_len < size ? data[i].iov_len : size;
            put(to, data[i].iov_base, part, at, "cannot write to the shadow");
            at += (off64_t)part, size -= part;
        }
        raw_close(to);
    }
    unlock();
}

/* --- the beginning ------------------------------------------------------------------------ */

void open_shadow(const char *folder) {
    if (!realpath(folder, shadow)) die(folder);
    draw_self();
    share();
    pthread_atfork(fork_begins, fork_ended, fork_made_us);
}
