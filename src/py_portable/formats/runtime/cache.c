#define _GNU_SOURCE
#include "cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "remove.h"
#include "say.h"
#include "seal.h"
#include "start.h"
#include "tree.h"
#include "unpack.h"

#define NEW "new-"

static const struct timespec PAUSE = {.tv_nsec = 3 * 1000 * 1000};
static const int PAUSES_BEFORE_A_WORD = 2000, PAUSES_FOR_A_START = 100;

bool cache_find(struct home *out)
{
    char key[KEY_TEXT];

    seal_key(key);
    for (int i = 0; place_named(i, &out->place); i++) {
        if (!*out->place.base)
            continue;
        out->cache = place_open(&out->place, seal()->name, false);
        if (out->cache >= 0 && tree_ready(out->cache, key, &out->lock))
            return true;
        if (out->cache >= 0)
            close(out->cache);
    }
    return false;
}

int cache_lock(int cache)
{
    struct stat is;
    int fd = openat(cache, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

    if (fd < 0)
        return -1;
    if (fstat(fd, &is) || !S_ISREG(is.st_mode)) {
        close(fd);
        errno = EACCES;
        return -1;
    }
    for (int pauses = 0; flock(fd, LOCK_EX | LOCK_NB); pauses++) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            close(fd);
            return -1;
        }
        if (pauses == PAUSES_BEFORE_A_WORD)
            say("waiting for another start of it that is unpacking its files");
        nanosleep(&PAUSE, NULL);
    }
    return fd;
}

void cache_forget(int cache, const char *key)
{
    int folder = openat(cache, key, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (folder >= 0) {
        unlinkat(folder, "marker", 0);
        close(folder);
    }
}

/* Whether nobody is about to start the tree whose marker it is, which takes no time; but he may be stopped just there. */
static bool nobody_starts(int marker, bool waits)
{
    for (int pauses = 0; flock(marker, LOCK_EX | LOCK_NB); pauses++) {
        if (!waits)
            return false;
        if (pauses == PAUSES_FOR_A_START)
            break;
        nanosleep(&PAUSE, NULL);
    }
    return true;
}

bool cache_remove(int cache, const char *key, bool (*in_use)(const char *key))
{
    char path[PATH_MAX];
    bool removed = false;
    int marker;

    snprintf(path, sizeof path, "%s/marker", key);
    marker = openat(cache, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (marker < 0 || (nobody_starts(marker, !in_use) && !(in_use && in_use(key)))) {
        /* From here on nobody starts it, and a kill leaves what the next sweep removes. */
        cache_forget(cache, key);
        removed = remove_all(cache, key);
    }
    if (marker >= 0)
        close(marker);
    return removed;
}

void cache_sweep(int cache)
{
    int again = openat(cache, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *all = again < 0 ? NULL : fdopendir(again);
    char marker[PATH_MAX];

    for (struct dirent *one; all && (one = readdir(all));) {
        if (*one->d_name == '.' || strcmp(one->d_name, "lock") == 0)
            continue;
        snprintf(marker, sizeof marker, "%s/marker", one->d_name);
        if (strncmp(one->d_name, NEW, strlen(NEW)) == 0 || faccessat(cache, marker, F_OK, AT_SYMLINK_NOFOLLOW))
            remove_all(cache, one->d_name);
    }
    if (all)
        closedir(all);
}

/* Unpacks to a folder of another name first: what has its own name is whole and on the disk. */
static bool make_tree(int cache, const char *key, const struct payload *from, struct trouble *out)
{
    char fresh[PATH_MAX];
    int folder = -1, tree = -1;
    bool done = false;

    snprintf(fresh, sizeof fresh, NEW "%s", key);
    out->damage = NULL;
    errno = 0;
    if (mkdirat(cache, fresh, 0700) == 0 &&
        (folder = openat(cache, fresh, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) >= 0 &&
        mkdirat(folder, "tree", 0700) == 0 &&
        (tree = openat(folder, "tree", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) >= 0) {
        if (unpack(from, tree, out))
            done = tree_mark(folder, from) && syncfs(folder) == 0 && renameat(cache, fresh, cache, key) == 0 &&
                   fsync(cache) == 0;
        else
            errno = out->error;
    }
    out->error = done ? 0 : errno;
    if (tree >= 0)
        close(tree);
    if (folder >= 0)
        close(folder);
    if (!done)
        remove_all(cache, fresh);
    return done;
}

static bool has_room(int cache, const struct payload *from)
{
    struct statvfs system;
    uint64_t needed = from->list.bytes + (uint64_t)from->list.entry_count * 2048;

    return fstatvfs(cache, &system) || system.f_blocks == 0 || (uint64_t)system.f_bavail * system.f_frsize > needed;
}

static const char *no_room(const struct payload *from)
{
    static char text[64];

    snprintf(text, sizeof text, "lacks the %llu MB of room that it needs",
             (unsigned long long)(from->list.bytes >> 20) + 1);
    return text;
}

/* Whether the tree is there now. If not, place.why says why not. */
static bool make_at(struct home *out, const char *key, const struct payload *from)
{
    struct trouble trouble = {0};
    bool ready = false;
    int lock;

    out->cache = place_open(&out->place, seal()->name, true);
    if (out->cache < 0)
        return false;
    lock = cache_lock(out->cache);
    if (lock < 0) {
        out->place.why = place_reason(errno);
        close(out->cache);
        return false;
    }
    ready = tree_ready(out->cache, key, &out->lock) ||
            (!tree_changed(out->cache, key, from) && tree_ready(out->cache, key, &out->lock));
    if (!ready) {
        cache_remove(out->cache, key, NULL);
        cache_sweep(out->cache);
        if (!has_room(out->cache, from))
            out->place.why = no_room(from);
        else if (!make_tree(out->cache, key, from, &trouble))
            out->place.why = trouble.error == ENOSPC || trouble.error == EDQUOT ? no_room(from)
                                                                                : place_reason(trouble.error);
        else if (!(ready = tree_ready(out->cache, key, &out->lock)))
            out->place.why = "does not keep modes and times of files";
        if (!ready)
            cache_remove(out->cache, key, NULL);
    }
    close(lock);
    if (trouble.damage)
        fail("%s is damaged: %s. Get the file again", seal_path(), trouble.damage);
    if (!ready)
        close(out->cache);
    return ready;
}

void cache_get(struct home *out)
{
    struct payload payload;
    char key[KEY_TEXT], reasons[4096] = "";
    const char *damage;

    if (cache_find(out))
        return;
    /* What is made here has the modes that it was packed with; the app gets its user's mask. */
    mode_t mask = umask(0);
    seal_key(key);
    if ((damage = payload_open(&payload)))
        fail("%s is damaged: %s. Get the file again", seal_path(), damage);
    for (int i = 0; place_named(i, &out->place); i++) {
        size_t said = strlen(reasons);

        if (!*out->place.base)
            continue;
        if (make_at(out, key, &payload)) {
            umask(mask);
            return;
        }
        snprintf(reasons + said, sizeof reasons - said, "%s%s %s", said ? ", " : "", out->place.base, out->place.why);
    }
    umask(mask);
    start_from_memory(&payload);
    fail("there is no folder to unpack it to: set XDG_CACHE_HOME to a folder of your own that has room for %llu MB and "
         "allows programs to be started (%s)",
         (unsigned long long)(payload.list.bytes >> 20) + 1, reasons);
}
