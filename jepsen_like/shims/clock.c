/* Shifts the wall clock that a process sees, and nothing else.
 *
 * Preloaded into a process, and inherited by those that it starts. JEPSEN_CLOCK names a
 * file of eight bytes: by how many nanoseconds CLOCK_REALTIME is off, as of now.
 *
 * A wait until a time of the wall clock is given to the kernel as a time of the real one,
 * by the offset under which its thread last looked at the clock: that is what it reckoned
 * with. So a wait lasts as long as was meant, however the clock jumps, before or meanwhile.
 * Waits for a while, and those by the monotonic clock, are left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static const volatile int64_t *offset;
/* What this thread last added to a time that it was told. */
static __thread int64_t reckoned;
static __thread int has_reckoned;

static void die(const char *why) {
    dprintf(2, "clock shim: %s: %s\n", why, strerror(errno));
    _exit(97);
}

#define REAL(name) ({                                                   \
    static __typeof__(name) *found;                                     \
    if (!found && !(found = dlsym(RTLD_NEXT, #name))) die(#name);       \
    found;                                                              \
})

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("JEPSEN_CLOCK");
    if (!path || offset) return;
    int fd = (int)REAL(syscall)(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) die(path);
    void *mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) die(path);
    REAL(syscall)(SYS_close, fd);
    offset = mapped;
}

static int is_wall(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
}

static void add(struct timespec *at, int64_t nanoseconds) {
    int64_t rest = at->tv_nsec + nanoseconds % SECOND;
    at->tv_sec += nanoseconds / SECOND + (rest >= SECOND) - (rest < 0);
    at->tv_nsec = rest >= SECOND ? rest - SECOND : rest < 0 ? rest + SECOND : rest;
}

/* --- looking at the clock -------------------------------------------------------------- */

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    if (!result && offset && is_wall(clock)) {
        reckoned = *offset;
        has_reckoned = 1;
        add(now, reckoned);
    }
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    if (zone) memset(zone, 0, sizeof(struct timezone));
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

int timespec_get(struct timespec *now, int base) {
    if (base != TIME_UTC) return REAL(timespec_get)(now, base);
    return clock_gettime(CLOCK_REALTIME, now) ? 0 : base;
}

/* --- waiting until a time -------------------------------------------------------------- */

/* What the kernel's clock shows at that time. */
static const struct timespec *real(const struct timespec *until, struct timespec *out) {
    if (!offset || !until || until->tv_nsec < 0 || until->tv_nsec >= SECOND) return until;
    *out = *until;
    add(out, -(has_reckoned ? reckoned : *offset));
    /* The kernel knows no time before 1970; that time is over in any case. */
    if (out->tv_sec < 0) *out = (struct timespec){0, 0};
    return out;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time,
                    struct timespec *left) {
    struct timespec until;
    if (is_wall(clock) && (flags & TIMER_ABSTIME)) time = real(time, &until);
    return REAL(clock_nanosleep)(clock, flags, time, left);
}

/* A condition waits by the clock that it was made with, and says so in this bit. */
#define BY_MONOTONIC 2u
/* Older systems answer with a function for another kind of condition, if no version is told. */
#define CONDITIONS "GLIBC_2.3.2"

int pthread_cond_timedwait(pthread_cond_t *restrict condition,
                           pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict time) {
    static __typeof__(pthread_cond_timedwait) *found;
    struct timespec until;
    if (!found && !(found = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", CONDITIONS)))
        found = REAL(pthread_cond_timedwait);
    if (!(__atomic_load_n(&condition->__data.__wrefs, __ATOMIC_RELAXED) & BY_MONOTONIC))
        time = real(time, &until);
    return found(condition, mutex, time);
}

int pthread_cond_clockwait(pthread_cond_t *restrict condition,
                           pthread_mutex_t *restrict mutex, clockid_t clock,
                           const struct timespec *restrict time) {
    struct timespec until;
    if (is_wall(clock)) time = real(time, &until);
    return REAL(pthread_cond_clockwait)(condition, mutex, clock, time);
}

/* The rest all take the time last, and some of them a clock before it. */
#define TIMED(name, what)                                               \
    int name(what, const struct timespec *restrict time) {              \
        struct timespec until;                                          \
        return REAL(name)(it, real(time, &until));                      \
    }
#define CLOCKED(name, what)                                             \
    int name(what, clockid_t clock, const struct timespec *restrict time) { \
        struct timespec until;                                          \
        return REAL(name)(it, clock, is_wall(clock) ? real(time, &until) : time); \
    }
TIMED(sem_timedwait, sem_t *restrict it)
TIMED(pthread_mutex_timedlock, pthread_mutex_t *restrict it)
TIMED(pthread_rwlock_timedrdlock, pthread_rwlock_t *restrict it)
TIMED(pthread_rwlock_timedwrlock, pthread_rwlock_t *restrict it)
CLOCKED(sem_clockwait, sem_t *restrict it)
CLOCKED(pthread_mutex_clocklock, pthread_mutex_t *restrict it)
CLOCKED(pthread_rwlock_clockrdlock, pthread_rwlock_t *restrict it)
CLOCKED(pthread_rwlock_clockwrlock, pthread_rwlock_t *restrict it)

/* Some libraries wait by the kernel's own call. */
long syscall(long number, ...) {
    long given[6];
    struct timespec until;
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++) given[i] = va_arg(rest, long);
    va_end(rest);
    if (number == SYS_futex && offset && ((int)given[1] & FUTEX_CLOCK_REALTIME) &&
        ((int)given[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET)
        given[3] = (long)real((const struct timespec *)given[3], &until);
    if (number == SYS_clock_gettime && offset)
        return clock_gettime((clockid_t)given[0], (struct timespec *)given[1]);
    return REAL(syscall)(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}
