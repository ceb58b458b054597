/*
 * The runtime of `onefile` and `appimage` artifacts: this program, and behind it a folder, packed.
 *
 * The first start unpacks the folder into a private cache of its user, in a folder named by the seal's key (seal.h,
 * cache.h). A later start looks at the marker there (tree.h) and at nothing of its own file. Both end in exec: the app
 * gets the words, the environment, the files and the name that its user gave; from an AppImage some variables more.
 *
 * Static, C11, musl: no NSS, iconv, locale or dlopen, so that it starts in any root file system.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "appimage.h"
#include "cache.h"
#include "say.h"
#include "seal.h"
#include "start.h"
#include "switches.h"

/* Nothing that is opened here may become the app's stdin, stdout or stderr; exec closes what stands in for them. */
static void hold_standard_files(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", O_RDWR | O_CLOEXEC);
}

int main(int count, char **words)
{
    char *word = getenv(SWITCH), key[KEY_TEXT], tree[PATH_MAX], path[PATH_MAX];
    struct home home;

    (void)count;
    hold_standard_files();
    start_words = words;
    seal_key(key);
    if (getauxval(AT_SECURE))
        fail("it must not be setuid or setgid, nor have capabilities");
    if (word && *word)
        switches(word);
    unsetenv(SWITCH);
    if (seal()->format == APPIMAGE)
        appimage_switch(&start_words);
    cache_get(&home);
    if (snprintf(tree, sizeof tree, "%s/%s/tree", home.place.path, key) >= PATH_MAX ||
        snprintf(path, sizeof path, "%s/%s", tree, seal()->program) >= PATH_MAX)
        fail("the path of its folder is too long");
    if (seal()->format == APPIMAGE)
        appimage_environment(tree, start_words[0]);
    start_program(path);
}
