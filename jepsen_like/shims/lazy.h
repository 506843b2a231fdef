/* What the three parts of the lazy disk know of each other. See lazy.c. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* None of these names may be found by whoever this is preloaded into. */
#pragma GCC visibility push(hidden)

/* --- shadow.c: files of the shadow, and what is durable of content ----------------------- */

void die(const char *why) __attribute__((noreturn));
void *must(void *made);

/* By calls that nothing here wraps. */
int raw_open(int folder, const char *path, int flags);
void raw_close(int fd);
int raw_unlink(const char *path, int flags);
void put(int fd, const char *data, size_t size, off64_t at, const char *what);

/* A path of the shadow: of what, and its number. */
const char *in_shadow(char *out, const char *kind, uint64_t inode);
/* Calls for each number in a folder of the shadow. */
void each(const char *kind, void (*what)(uint64_t, void *), void *with);
/* A thing that happened and makes the shadow worthless. */
void unsupported(const char *what, const char *path);

void open_shadow(const char *folder);
/* One process at a time changes the shadow. */
void lock(void);
void unlock(void);

int is_known(uint64_t inode);
/* Said before a write and again behind it; after it, what it changed. */
void claim(uint64_t inode);
void soil(uint64_t inode, uint64_t offset, uint64_t size);
/* The next sync copies all. */
void spoil(uint64_t inode);
/* All syncs do, from now on. */
void give_up(uint64_t inode);

/* What a file holds becomes durable; and what one write wrote, and nothing else. */
void keep_content(int fd);
void keep_write(int fd, const struct iovec *data, int count, size_t size, off64_t at);

/* --- names.c: what is durable of names ------------------------------------------------------ */

/* A name in an open folder, and what it stood for when it was looked up. */
struct place {
    int folder;
    char name[NAME_MAX + 1];
    int exists;
    struct stat what;
};

/* The names in a folder become durable. */
void keep_names(int fd, uint64_t inode);

/* With the lock: something loses its name, and may have it back after a power cut. */
void keep_removed(const struct place *place);
int remove_file(const struct place *place);
int remove_folder(const struct place *place);

#pragma GCC visibility pop
