#define _GNU_SOURCE
#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_THREADS = 4 };

const struct timespec COMMON_TIMES[2] = {{COMMON_TIME, 0}, {COMMON_TIME, 0}};

struct work {
    const struct payload *from;
    int into;
    atomic_size_t next;
    atomic_int error;
    _Atomic(const char *) damage;
};

/* The first entry whose bytes end behind `at`. */
static size_t first_at(const struct listing *list, uint64_t at)
{
    size_t low = 0, high = list->entry_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (list->entries[middle].at + list->entries[middle].bytes > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

bool unpack_parts(const struct payload *from, size_t chunk, const uint8_t *plain, unpack_part *each, void *self)
{
    const struct listing *list = &from->list;
    uint64_t begin = list->chunks[chunk].begin, end = begin + index_chunk_bytes(list, chunk);

    for (size_t i = first_at(list, begin); i < list->entry_count && list->entries[i].at < end; i++) {
        const struct entry *one = list->entries + i;
        uint64_t low = one->at > begin ? one->at : begin;
        uint64_t high = one->at + one->bytes < end ? one->at + one->bytes : end;

        if (one->bytes > 0 && !each(self, one, low - one->at, plain + (low - begin), high - low))
            return false;
    }
    return true;
}

static bool write_all(int fd, const uint8_t *data, size_t bytes, uint64_t at)
{
    while (bytes > 0) {
        ssize_t part = pwrite(fd, data, bytes, (off_t)at);

        if (part < 0 && errno == EINTR)
            continue;
        if (part <= 0) {
            errno = part == 0 ? ENOSPC : errno;
            return false;
        }
        data += part;
        at += (uint64_t)part;
        bytes -= (size_t)part;
    }
    return true;
}

/* Of a file that several threads write, each of them opens it. */
static bool write_part(void *self, const struct entry *of, uint64_t at, const uint8_t *data, size_t bytes)
{
    struct work *work = self;
    bool whole = bytes == of->bytes;
    int flags = O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | (whole ? O_EXCL : 0);
    int fd = openat(work->into, of->path, flags, (of->mode & 0777) | 0200);
    const struct timespec times[2] = {{of->time, 0}, {of->time, 0}};
    bool done = fd >= 0 && write_all(fd, data, bytes, at) && (!whole || futimens(fd, times) == 0);
    int error = errno;

    if (fd >= 0 && close(fd) && done) {
        error = errno;
        done = false;
    }
    if (!done)
        atomic_store(&work->error, error);
    return done;
}

static void *work_on(void *self)
{
    struct work *work = self;
    struct scratch scratch;
    size_t chunk;

    if (!scratch_make(work->from, &scratch))
        atomic_store(&work->error, ENOMEM);
    while (!atomic_load(&work->error) && !atomic_load(&work->damage) &&
           (chunk = atomic_fetch_add(&work->next, 1)) < work->from->list.chunk_count) {
        const char *damage = payload_chunk(work->from, chunk, &scratch);

        if (damage)
            atomic_store(&work->damage, damage);
        else
            unpack_parts(work->from, chunk, scratch.plain, write_part, work);
    }
    scratch_free(&scratch);
    return NULL;
}

static void write_files(struct work *work)
{
    pthread_t threads[MOST_THREADS];
    size_t started = 0, wanted = MOST_THREADS;
    cpu_set_t processors;

    if (sched_getaffinity(0, sizeof processors, &processors) == 0 && CPU_COUNT(&processors) < MOST_THREADS)
        wanted = (size_t)CPU_COUNT(&processors);
    if (wanted > work->from->list.chunk_count)
        wanted = work->from->list.chunk_count;
    /* This thread is one of them; where no other can be had, it is the only one. */
    while (started + 1 < wanted && pthread_create(threads + started, NULL, work_on, work) == 0)
        started++;
    if (wanted > 0)
        work_on(work);
    while (started > 0)
        pthread_join(threads[--started], NULL);
}

/* Folders and empty files first, so that threads only write. */
static bool make_empty(struct work *work, const struct entry *one)
{
    int fd;

    if (S_ISDIR(one->mode))
        return mkdirat(work->into, one->path, one->mode & 0777) == 0;
    if (!S_ISREG(one->mode) || one->bytes > 0)
        return true;
    fd = openat(work->into, one->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, one->mode & 0777);
    return fd >= 0 && close(fd) == 0;
}

/* Links last: no path that is written to leads through one. Then times, which what was made since has changed. */
static bool finish(struct work *work, const struct entry *one)
{
    const struct timespec times[2] = {{one->time, 0}, {one->time, 0}};
    bool spans = index_spans(&work->from->list, one);

    if (S_ISLNK(one->mode) && symlinkat(one->target, work->into, one->path))
        return false;
    if (S_ISREG(one->mode) && !(one->mode & 0200) && fchmodat(work->into, one->path, one->mode & 0777, 0))
        return false;
    return !(S_ISREG(one->mode) && (spans || one->bytes == 0)) ||
           utimensat(work->into, one->path, times, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool all_entries(struct work *work, bool (*each)(struct work *, const struct entry *))
{
    for (size_t i = 0; i < work->from->list.entry_count; i++)
        if (!each(work, work->from->list.entries + i)) {
            atomic_store(&work->error, errno);
            return false;
        }
    return true;
}

static bool date_folder(struct work *work, const struct entry *one)
{
    return !S_ISDIR(one->mode) || utimensat(work->into, one->path, COMMON_TIMES, 0) == 0;
}

bool unpack(const struct payload *from, int into, struct trouble *out)
{
    struct work work = {.from = from, .into = into};
    mode_t mask = umask(0);

    if (all_entries(&work, make_empty)) {
        write_files(&work);
        if (!work.error && !work.damage && all_entries(&work, finish) && all_entries(&work, date_folder) &&
            futimens(into, COMMON_TIMES))
            work.error = errno;
    }
    umask(mask);
    *out = (struct trouble){.damage = work.damage, .error = work.error};
    /* In a folder that was empty, and is nobody else's, only the payload itself can be the reason. */
    if (out->error == EEXIST || out->error == ENOENT || out->error == ENOTDIR || out->error == EISDIR)
        out->damage = "its index contradicts itself";
    return !out->damage && !out->error;
}
