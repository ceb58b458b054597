#define _GNU_SOURCE
#include "place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FOLDER "py-portable-onefile"

static const int OPEN_FOLDER = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

bool place_named(int number, struct place *out)
{
    static const struct {
        const char *variable, *below;
        bool shared;
    } NAMED[] = {
        {"XDG_CACHE_HOME", "", false}, {"HOME", "/.cache", false}, {"TMPDIR", "", true},
        {NULL, "/var/tmp", true},      {NULL, "/tmp", true},       {NULL, "/dev/shm", true},
    };

    memset(out, 0, sizeof *out);
    if (number >= (int)(sizeof NAMED / sizeof *NAMED))
        return false;
    const char *value = NAMED[number].variable ? getenv(NAMED[number].variable) : "";
    out->shared = NAMED[number].shared;
    /* A relative one would be another folder in each working directory. */
    if (!value || (NAMED[number].variable && *value != '/') ||
        snprintf(out->base, sizeof out->base, "%s%s", value, NAMED[number].below) >= PATH_MAX / 2)
        *out->base = 0;
    return true;
}

/* Whether this is a name space in which users that it does not know look like the one with the number 65534. */
static bool users_are_hidden(void)
{
    char text[64] = "";
    int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
    ssize_t bytes = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    char *at = text;

    if (fd >= 0)
        close(fd);
    if (bytes <= 0)
        return false;
    return strtoul(at, &at, 10) != 0 || strtoul(at, &at, 10) != 0 || strtoul(at, &at, 10) != 0xffffffffu;
}

/* Nobody but root and this user may rename or replace a part of the path, which has no links. NULL, or why not. */
static const char *distrusted(const char *real)
{
    char part[PATH_MAX];
    struct stat is;

    for (size_t at = 1;; at++) {
        if (at > 1 && real[at] && real[at] != '/')
            continue;
        memcpy(part, real, at);
        part[at] = 0;
        if (lstat(part, &is) || !S_ISDIR(is.st_mode))
            return "is not a folder";
        if (is.st_uid != 0 && is.st_uid != geteuid() && !(is.st_uid == 65534 && users_are_hidden()))
            return "belongs to somebody else, or lies in a folder of somebody else";
        if ((is.st_mode & 022) && !(is.st_mode & S_ISVTX))
            return "can be changed by others";
        if (!real[at])
            return NULL;
    }
}

const char *place_reason(int error)
{
    switch (error) {
    case EACCES:
    case EPERM:
        return "may not be written to";
    case EROFS:
        return "is read-only";
    case ENOENT:
        return "does not exist";
    case ENOSPC:
    case EDQUOT:
        return "has no room left";
    }
    return strerror(error);
}

/* A folder of this user that nobody else can change; its parent is trusted. */
static int open_private(int at, const char *name, bool make)
{
    struct stat is;
    int fd;

    if (make && mkdirat(at, name, 0700) && errno != EEXIST)
        return -1;
    fd = openat(at, name, OPEN_FOLDER);
    if (fd < 0)
        return -1;
    if (fstat(fd, &is) == 0 && is.st_uid == geteuid() && !(is.st_mode & 022))
        return fd;
    close(fd);
    errno = EACCES;
    return -1;
}

/*
 * Where everybody may make folders, somebody may have taken the name: then one that nobody could foresee, which is
 * found again by its beginning. `name` becomes that of the folder.
 */
static int open_unforeseen(int base, const char *path, char *name, bool make)
{
    char begin[64], fresh[PATH_MAX];
    size_t bytes = (size_t)snprintf(begin, sizeof begin, "%s.", name);
    int found = -1, again = openat(base, ".", OPEN_FOLDER);
    DIR *all = again < 0 ? NULL : fdopendir(again);

    for (struct dirent *one; found < 0 && all && (one = readdir(all));)
        if (strncmp(one->d_name, begin, bytes) == 0 && strlen(one->d_name) == bytes + 6 &&
            (found = open_private(base, one->d_name, false)) >= 0)
            strcpy(name, one->d_name);
    if (all)
        closedir(all);
    if (found >= 0 || !make)
        return found;
    if (snprintf(fresh, sizeof fresh, "%s/%sXXXXXX", path, begin) >= PATH_MAX || !mkdtemp(fresh))
        return -1;
    strcpy(name, strrchr(fresh, '/') + 1);
    return open_private(base, name, false);
}

static int enter(struct place *one, const char *real, const char *name, bool make)
{
    char leaf[64] = FOLDER;
    struct statvfs system;
    int base = open(real, OPEN_FOLDER), root, fd;

    if (base < 0)
        return -1;
    if (fstatvfs(base, &system) == 0 && (system.f_flag & ST_NOEXEC)) {
        one->why = "allows no programs to be started";
        close(base);
        return -1;
    }
    if (one->shared)
        snprintf(leaf, sizeof leaf, "%s-%u", FOLDER, (unsigned)geteuid());
    root = open_private(base, leaf, make);
    if (root < 0 && one->shared && errno != EROFS && errno != ENOENT)
        root = open_unforeseen(base, real, leaf, make);
    close(base);
    if (root < 0)
        return -1;
    fd = open_private(root, name, make);
    close(root);
    if (fd < 0)
        return -1;
    if (snprintf(one->path, sizeof one->path, "%s/%s/%s", real, leaf, name) < PATH_MAX)
        return fd;
    one->why = "has too long a path";
    close(fd);
    return -1;
}

/* ~/.cache, where it is missing: but nothing in the home of another user, as under a sudo that keeps HOME. */
static void make_base(const char *base)
{
    char above[PATH_MAX], real[PATH_MAX];
    char *slash;

    strcpy(above, base);
    slash = strrchr(above, '/');
    slash[slash == above] = 0;
    if (access(base, F_OK) && realpath(above, real) && !distrusted(real))
        mkdir(base, 0700);
}

int place_open(struct place *one, const char *name, bool make)
{
    char real[PATH_MAX];
    int fd = -1;

    one->why = NULL;
    if (make && !one->shared)
        make_base(one->base);
    if (!realpath(one->base, real))
        one->why = place_reason(errno);
    else if (!(one->why = distrusted(real)) && (fd = enter(one, real, name, make)) < 0 && !one->why)
        one->why = errno == ENOENT ? "holds nothing of it" : place_reason(errno);
    return fd;
}
