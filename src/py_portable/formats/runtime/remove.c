#define _GNU_SOURCE
#include "remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void remove_inside(int folder)
{
    DIR *all = fdopendir(folder);
    struct dirent *one;

    if (!all) {
        close(folder);
        return;
    }
    while ((one = readdir(all)))
        if (strcmp(one->d_name, ".") != 0 && strcmp(one->d_name, "..") != 0)
            remove_all(dirfd(all), one->d_name);
    closedir(all);
}

bool remove_all(int at, const char *name)
{
    int folder;

    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return true;
    folder = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0 && errno == EACCES && fchmodat(at, name, 0700, 0) == 0)
        folder = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return false;
    fchmod(folder, 0700);
    remove_inside(folder);
    return unlinkat(at, name, AT_REMOVEDIR) == 0;
}
