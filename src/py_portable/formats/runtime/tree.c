#define _GNU_SOURCE
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "unpack.h"

static const char MAGIC[8] = "onefile1";

/* Of the marker; `seen` entries follow, each a struct seen and its path with a zero. All of this machine's making. */
struct head {
    char magic[8];
    uint32_t bytes; /* of the marker: one that was not written whole counts for nothing */
    uint32_t seen;
    uint32_t all; /* whether nothing else is there to be looked at */
};

struct seen {
    uint32_t mode, time, path_bytes, zero;
    uint64_t bytes;
};

enum { MOST_MARKER = MOST_SEEN * (PATH_MAX + sizeof(struct seen)) + sizeof(struct head) };
static const time_t ONE_DAY = 24 * 60 * 60;

/* A folder of this user, and no link to one. */
static int open_own(int at, const char *name)
{
    struct stat is;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd >= 0 && (fstat(fd, &is) || is.st_uid != geteuid() || (is.st_mode & 022))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int open_tree(int cache, const char *key)
{
    int folder = open_own(cache, key), tree = folder < 0 ? -1 : open_own(folder, "tree");

    if (folder >= 0)
        close(folder);
    return tree;
}

static bool as_unpacked(int tree, const char *path, uint32_t mode, uint32_t time, uint64_t bytes)
{
    struct stat is;

    return fstatat(tree, path, &is, AT_SYMLINK_NOFOLLOW) == 0 && is.st_mode == mode &&
           is.st_mtim.tv_sec == (time_t)time && is.st_mtim.tv_nsec == 0 &&
           (!S_ISREG(mode) || (uint64_t)is.st_size == bytes);
}

static bool seen_is_there(int tree, const char *marker, const struct head *head)
{
    const char *at = marker + sizeof *head, *end = marker + head->bytes;
    struct stat is;

    if (fstat(tree, &is) || is.st_mtim.tv_sec != COMMON_TIME)
        return false;
    for (uint32_t i = 0; i < head->seen; i++) {
        struct seen one = {0};

        if ((size_t)(end - at) >= sizeof one)
            memcpy(&one, at, sizeof one);
        at += sizeof one;
        if (one.path_bytes == 0 || one.path_bytes > (size_t)(end - at) || at[one.path_bytes - 1] ||
            !as_unpacked(tree, at, one.mode, one.time, one.bytes))
            return false;
        at += one.path_bytes;
    }
    return true;
}

/* Whether the marker in `fd` is one, and not too old for a tree of which it lists a part. */
static bool marker_says(int fd, int tree)
{
    struct stat is;
    struct head head;
    bool says = false;
    char *marker;

    if (fstat(fd, &is) || !S_ISREG(is.st_mode) || is.st_nlink != 1 || is.st_uid != geteuid() || (is.st_mode & 022) ||
        is.st_size < (off_t)sizeof head || is.st_size > MOST_MARKER)
        return false;
    marker = malloc((size_t)is.st_size);
    if (marker && read(fd, marker, (size_t)is.st_size) == is.st_size) {
        memcpy(&head, marker, sizeof head);
        says = memcmp(head.magic, MAGIC, sizeof MAGIC) == 0 && head.bytes == is.st_size &&
               (head.all || llabs((long long)(time(NULL) - is.st_mtime)) < ONE_DAY) && seen_is_there(tree, marker, &head);
    }
    free(marker);
    return says;
}

bool tree_ready(int cache, const char *key, int *lock)
{
    char path[PATH_MAX];
    int tree;
    bool ready = false;

    snprintf(path, sizeof path, "%s/marker", key);
    *lock = openat(cache, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (*lock < 0)
        return false;
    tree = open_tree(cache, key);
    /* Whoever removes a tree takes the marker away first, and has the lock meanwhile. */
    if (tree >= 0 && flock(*lock, LOCK_SH) == 0)
        ready = marker_says(*lock, tree);
    if (tree >= 0)
        close(tree);
    if (!ready) {
        close(*lock);
        *lock = -1;
    }
    return ready;
}

static size_t fill_marker(char *marker, const struct listing *list)
{
    static const mode_t TYPES[] = {S_IFDIR, S_IFREG};
    struct head head = {.all = list->entry_count <= MOST_SEEN};
    size_t at = sizeof head;

    for (size_t i = 0; i < 2 * list->entry_count && head.seen < MOST_SEEN; i++) {
        const struct entry *one = list->entries + i % list->entry_count;
        struct seen seen = {.mode = one->mode, .time = one->time, .bytes = one->bytes};

        if ((one->mode & S_IFMT) != TYPES[i / list->entry_count])
            continue;
        seen.path_bytes = (uint32_t)strlen(one->path) + 1;
        memcpy(marker + at, &seen, sizeof seen);
        memcpy(marker + at + sizeof seen, one->path, seen.path_bytes);
        at += sizeof seen + seen.path_bytes;
        head.seen++;
    }
    memcpy(head.magic, MAGIC, sizeof MAGIC);
    head.bytes = (uint32_t)at;
    memcpy(marker, &head, sizeof head);
    return at;
}

bool tree_mark(int folder, const struct payload *from)
{
    char *marker = malloc(MOST_MARKER);
    size_t bytes = marker ? fill_marker(marker, &from->list) : 0;
    int fd = marker ? openat(folder, "marker", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
    ssize_t written = fd < 0 ? -1 : write(fd, marker, bytes);

    if (!marker)
        errno = ENOMEM;
    else if (written >= 0 && written < (ssize_t)bytes)
        errno = ENOSPC;
    int error = errno;
    if (fd >= 0)
        close(fd);
    free(marker);
    errno = error;
    return written == (ssize_t)bytes;
}

static bool same_target(int tree, const struct entry *one)
{
    char target[PATH_MAX];
    ssize_t bytes = readlinkat(tree, one->path, target, sizeof target);

    return bytes == (ssize_t)strlen(one->target) && memcmp(target, one->target, (size_t)bytes) == 0;
}

static bool folder_is_there(int tree, const struct entry *one)
{
    struct stat is;

    return fstatat(tree, one->path, &is, AT_SYMLINK_NOFOLLOW) == 0 && is.st_mode == one->mode;
}

const char *tree_changed(int cache, const char *key, const struct payload *from)
{
    int tree = open_tree(cache, key);
    const char *changed = tree < 0 ? "the folder itself" : NULL;
    const struct entry *all = from->list.entries;
    char path[PATH_MAX];

    for (size_t i = 0; !changed && i < from->list.entry_count; i++)
        if (S_ISDIR(all[i].mode)   ? !folder_is_there(tree, all + i)
            : S_ISREG(all[i].mode) ? !as_unpacked(tree, all[i].path, all[i].mode, all[i].time, all[i].bytes)
                                   : !same_target(tree, all + i))
            changed = all[i].path;
    /* What Python or somebody else added is no damage; the next start need not look for it again. */
    for (size_t i = 0; !changed && i < from->list.entry_count; i++)
        if (S_ISDIR(all[i].mode))
            utimensat(tree, all[i].path, COMMON_TIMES, AT_SYMLINK_NOFOLLOW);
    if (!changed) {
        futimens(tree, COMMON_TIMES);
        snprintf(path, sizeof path, "%s/marker", key);
        utimensat(cache, path, NULL, AT_SYMLINK_NOFOLLOW);
    }
    if (tree >= 0)
        close(tree);
    return changed;
}

struct comparison {
    int tree;
    const char *differs;
};

static bool compare_part(void *self, const struct entry *of, uint64_t at, const uint8_t *data, size_t bytes)
{
    struct comparison *with = self;
    static uint8_t held[1 << 16];
    int fd = openat(with->tree, of->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    while (fd >= 0 && bytes > 0) {
        ssize_t part = pread(fd, held, bytes < sizeof held ? bytes : sizeof held, (off_t)at);

        if (part <= 0 || memcmp(held, data, (size_t)part) != 0)
            break;
        at += (uint64_t)part;
        data += part;
        bytes -= (size_t)part;
    }
    if (fd < 0 || bytes > 0)
        with->differs = of->path;
    if (fd >= 0)
        close(fd);
    return !with->differs;
}

const char *tree_differs(int cache, const char *key, const struct payload *from, const char **damage)
{
    struct comparison with = {.tree = open_tree(cache, key), .differs = tree_changed(cache, key, from)};
    struct scratch scratch;

    *damage = NULL;
    if (!scratch_make(from, &scratch))
        *damage = "there is not enough memory to read it";
    for (size_t i = 0; !with.differs && !*damage && i < from->list.chunk_count; i++)
        if (!(*damage = payload_chunk(from, i, &scratch)))
            unpack_parts(from, i, scratch.plain, compare_part, &with);
    scratch_free(&scratch);
    if (with.tree >= 0)
        close(with.tree);
    return with.differs;
}
