/* Which names are durable, and what may come back. See lazy.c. */
#include "lazy.h"

#include <dirent.h>

#define REMOVED_MAX 128

struct name {
    uint64_t inode;
    char kind; /* f or d, as in the file */
    char *name;
};

struct folder {
    uint64_t inode;
    size_t count;
    struct name *names;
    int live;
};

struct tree {
    size_t count;
    struct folder *folders;
};

static void add_name(struct folder *folder, uint64_t inode, char kind, const char *name) {
    size_t size = (folder->count + 1) * sizeof *folder->names;
    folder->names = must(realloc(folder->names, size));
    folder->names[folder->count++] = (struct name){inode, kind, must(strdup(name))};
}

static void free_names(struct folder *folder) {
    for (size_t i = 0; i < folder->count; i++) free(folder->names[i].name);
    free(folder->names);
    folder->names = NULL, folder->count = 0;
}

static void drop_name(struct folder *folder, size_t i) {
    free(folder->names[i].name);
    folder->names[i] = folder->names[--folder->count];
}

static const struct name *by_inode(const struct folder *folder, uint64_t inode) {
    for (size_t i = 0; i < folder->count; i++)
        if (folder->names[i].inode == inode) return &folder->names[i];
    return NULL;
}

static int has_name(const struct folder *folder, const char *name) {
    for (size_t i = 0; i < folder->count; i++)
        if (!strcmp(folder->names[i].name, name)) return 1;
    return 0;
}

static struct folder *folder_of(struct tree *tree, uint64_t inode) {
    for (size_t i = 0; i < tree->count; i++)
        if (tree->folders[i].inode == inode) return &tree->folders[i];
    return NULL;
}

static struct folder *add_folder(struct tree *tree, uint64_t inode) {
    size_t size = (tree->count + 1) * sizeof *tree->folders;
    tree->folders = must(realloc(tree->folders, size));
    tree->folders[tree->count] = (struct folder){.inode = inode};
    return &tree->folders[tree->count++];
}

/* A record is kind, number and name, and ends with a zero byte. */
static void load_folder(uint64_t inode, void *with) {
    char path[PATH_MAX];
    struct stat found;
    int fd = raw_open(AT_FDCWD, in_shadow(path, "names", inode), O_RDONLY);
    if (fd < 0 || fstat(fd, &found)) die(path);
    size_t size = (size_t)found.st_size;
    char *text = must(malloc(size + 1));
    if (syscall(SYS_pread64, fd, text, size, 0) != (long)size) die(path);
    text[size] = 0;
    struct folder *folder = add_folder(with, inode);
    for (char *at = text; at < text + size; at += strlen(at) + 1) {
        char kind, *name = strchr(at + 2, ' ');
        uint64_t number;
        if (sscanf(at, "%c %" SCNu64, &kind, &number) != 2 || !name) die(path);
        add_name(folder, number, kind, name + 1);
    }
    free(text);
    raw_close(fd);
}

static void store_folder(const struct folder *folder) {
    char path[PATH_MAX], staged[PATH_MAX + 8], line[NAME_MAX + 32];
    off64_t at = 0;
    in_shadow(path, "names", folder->inode);
    snprintf(staged, sizeof staged, "%s.new", path);
    int fd = raw_open(AT_FDCWD, staged, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) die(staged);
    for (size_t i = 0; i < folder->count; i++) {
        const struct name *one = &folder->names[i];
        int size = snprintf(line, sizeof line, "%c %" PRIu64 " %s", one->kind, one->inode,
                            one->name) + 1;
        put(fd, line, (size_t)size, at, staged);
        at += size;
    }
    raw_close(fd);
    if (syscall(SYS_renameat2, AT_FDCWD, staged, AT_FDCWD, path, 0)) die(path);
}

static void read_names(int fd, struct folder *folder) {
    int again = raw_open(fd, ".", O_RDONLY | O_DIRECTORY);
    DIR *open = again < 0 ? NULL : fdopendir(again);
    if (!open) die("cannot list a folder");
    for (struct dirent *one; (one = readdir(open));) {
        if (!strcmp(one->d_name, ".") || !strcmp(one->d_name, "..")) continue;
        struct stat found;
        if (fstatat(again, one->d_name, &found, AT_SYMLINK_NOFOLLOW)) continue;
        if (S_ISREG(found.st_mode)) add_name(folder, found.st_ino, 'f', one->d_name);
        else if (S_ISDIR(found.st_mode)) add_name(folder, found.st_ino, 'd', one->d_name);
        else unsupported("neither file nor folder", one->d_name);
    }
    closedir(open);
}

/* Whether what had this number was removed, and not only moved. A file that is still under
   its name was about to be removed by a process that died. */
static int is_removed(uint64_t inode) {
    char path[PATH_MAX];
    struct stat found;
    if (lstat(in_shadow(path, "removed", inode), &found)) return 0;
    return S_ISDIR(found.st_mode) || found.st_nlink == 1;
}

/* Whether something durable still leads to a number. */
static int is_needed(const struct tree *tree, uint64_t inode) {
    for (size_t i = 0; i < tree->count; i++)
        if (tree->folders[i].live && by_inode(&tree->folders[i], inode)) return 1;
    return 0;
}

static void sweep(uint64_t inode, void *with) {
    char removed[PATH_MAX], other[PATH_MAX];
    struct stat found;
    if (is_needed(with, inode)) return;
    if (lstat(in_shadow(removed, "removed", inode), &found)) die(removed);
    int is_folder = S_ISDIR(found.st_mode);
    if (is_folder || found.st_nlink == 1) {
        raw_unlink(in_shadow(other, "content", inode), 0);
        raw_unlink(in_shadow(other, "names", inode), 0);
    }
    /* Last: from here on the number may be used again. */
    if (raw_unlink(removed, is_folder ? AT_REMOVEDIR : 0)) die(removed);
}

/* Forget what is gone for good. What counts are the names in folders that are still there,
   by name or durably. */
static void collect(struct tree *tree) {
    for (size_t i = 0; i < tree->count; i++)
        tree->folders[i].live = !is_removed(tree->folders[i].inode);
    for (int more = 1; more;) {
        more = 0;
        for (size_t i = 0; i < tree->count; i++) {
            struct folder *one = &tree->folders[i];
            if (!one->live && is_needed(tree, one->inode)) one->live = more = 1;
        }
    }
    each("removed", sweep, tree);
}

static void free_tree(struct tree *tree) {
    for (size_t i = 0; i < tree->count; i++) free_names(&tree->folders[i]);
    free(tree->folders);
}

/* What was moved here is durable nowhere else any more. */
static void take_from_others(struct tree *tree, const struct folder *here) {
    for (size_t i = 0; i < tree->count; i++) {
        struct folder *other = &tree->folders[i];
        size_t count = other->count;
        if (other->inode == here->inode) continue;
        for (size_t j = 0; j < other->count;) {
            if (by_inode(here, other->names[j].inode)) drop_name(other, j);
            else j++;
        }
        if (other->count != count) store_folder(other);
    }
}

/* The old name of what was moved to a folder that was not synced yet stays. */
static void keep_moved(struct tree *tree, const struct folder *before, struct folder *now) {
    for (size_t i = 0; i < before->count; i++) {
        const struct name *one = &before->names[i];
        int elsewhere = 0;
        if (by_inode(now, one->inode) || has_name(now, one->name)) continue;
        for (size_t j = 0; j < tree->count && !elsewhere; j++)
            elsewhere = tree->folders[j].inode != now->inode &&
                        by_inode(&tree->folders[j], one->inode);
        if (!elsewhere && !is_removed(one->inode))
            add_name(now, one->inode, one->kind, one->name);
    }
}

void keep_names(int fd, uint64_t inode) {
    struct tree tree = {0};
    struct folder now = {.inode = inode};
    lock();
    read_names(fd, &now);
    each("names", load_folder, &tree);
    struct folder *before = folder_of(&tree, inode);
    if (!before) before = add_folder(&tree, inode);
    take_from_others(&tree, &now);
    keep_moved(&tree, before, &now);
    store_folder(&now);
    free_names(before);
    *before = now;
    collect(&tree);
    free_tree(&tree);
    unlock();
}

/* Whatever may come back stays, under its number. */
void keep_removed(const struct place *place) {
    static int since;
    char path[PATH_MAX];
    if (++since >= REMOVED_MAX) {
        struct tree tree = {0};
        since = 0;
        each("names", load_folder, &tree);
        collect(&tree);
        free_tree(&tree);
    }
    in_shadow(path, "removed", place->what.st_ino);
    if (syscall(SYS_linkat, place->folder, place->name, AT_FDCWD, path, 0) && errno != EEXIST)
        die(path);
}

static int is_empty(const struct place *place) {
    int fd = raw_open(place->folder, place->name, O_RDONLY | O_DIRECTORY), found = 0;
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder) return 0;
    for (struct dirent *one; (one = readdir(folder));)
        found |= strcmp(one->d_name, ".") && strcmp(one->d_name, "..");
    closedir(folder);
    return !found;
}

/* As rmdir; the folder itself stays, under its number. */
int remove_folder(const struct place *place) {
    char path[PATH_MAX];
    if (place->exists && S_ISDIR(place->what.st_mode) && is_empty(place))
        return (int)syscall(SYS_renameat2, place->folder, place->name, AT_FDCWD,
                            in_shadow(path, "removed", place->what.st_ino), 0);
    return (int)syscall(SYS_unlinkat, place->folder, place->name, AT_REMOVEDIR);
}

int remove_file(const struct place *place) {
    if (place->exists && S_ISREG(place->what.st_mode)) keep_removed(place);
    return (int)syscall(SYS_unlinkat, place->folder, place->name, 0);
}

