/*
 * What users and programs expect of each AppImage of type 2: its switches and variables, as AppImage's documentation
 * and the public runtimes have them. Nothing is mounted here: the app starts from the cache, as that of a onefile.
 */
#define _GNU_SOURCE
#include "appimage.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"
#include "say.h"
#include "seal.h"
#include "switches.h"

static const char SWITCHES[] = "--appimage-";

/* Its own file, as the app's user would name it. */
static const char *own_path(void)
{
    static char path[PATH_MAX];

    return realpath(seal_path(), path) ? path : seal_path();
}

static _Noreturn void help(void)
{
    printf("%s is an AppImage: it unpacks a folder once for each user, and starts the program in it. These arguments are\n"
           "its own, in first place; all others are the program's:\n\n"
           "  --appimage-extract [PATTERN]  unpack it to the new folder squashfs-root; with PATTERN, only what matches\n"
           "  --appimage-extract-and-run    start it, which is what happens without this, too\n"
           "  --appimage-mount              print the folder that it is unpacked to, and keep it until this is ended\n"
           "  --appimage-offset             print where in the file its SquashFS begins\n"
           "  --appimage-portable-home      make the folder FILE.home: where it exists, it is the program's $HOME\n"
           "  --appimage-portable-config    make the folder FILE.config: where it exists, it is $XDG_CONFIG_HOME\n"
           "  --appimage-updateinformation  print where updates come from, which is nowhere\n"
           "  --appimage-signature          print the signature in the file, which has none\n"
           "  --appimage-version            print which runtime it has\n"
           "  --appimage-help               this text\n\n"
           "The variable " SWITCH " asks for more: " SWITCH "=help %s\n",
           seal()->name, seal()->name);
    exit(0);
}

/*
 * What asks for a mount wants a folder with what is in the file, for as long as this runs: that of the cache is one. The
 * lock of it keeps it from being removed meanwhile.
 */
static _Noreturn void show(void)
{
    char key[KEY_TEXT];
    struct home home;

    cache_get(&home);
    seal_key(key);
    printf("%s/%s/tree\n", home.place.path, key);
    if (fflush(stdout))
        fail("the path of its folder cannot be written: %s", strerror(errno));
    for (;;)
        pause();
}

static _Noreturn void make_beside(const char *end)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s%s", own_path(), end) >= PATH_MAX)
        fail("the path of its file is too long");
    if (mkdir(path, 0700) && errno != EEXIST)
        fail("the folder %s cannot be made: %s", path, strerror(errno));
    printf("%s\n", path);
    exit(0);
}

void appimage_switch(char ***words)
{
    char **all = *words, *word = all[0] ? all[1] : NULL;

    if (!word || strncmp(word, SWITCHES, strlen(SWITCHES)) != 0)
        return;
    word += strlen(SWITCHES);
    if (strcmp(word, "extract-and-run") == 0) {
        all[1] = all[0];
        *words = all + 1;
        return;
    }
    if (strcmp(word, "help") == 0)
        help();
    if (strcmp(word, "extract") == 0)
        extract("squashfs-root", all[2] ? all[2] : "", true);
    if (strcmp(word, "portable-home") == 0)
        make_beside(".home");
    if (strcmp(word, "portable-config") == 0)
        make_beside(".config");
    if (strcmp(word, "mount") == 0)
        show();
    if (strcmp(word, "offset") == 0)
        printf("%llu\n", (unsigned long long)seal()->program_bytes);
    else if (strcmp(word, "version") == 0)
        printf("AppImage runtime version: py-portable %u\n", seal()->format);
    else if (strcmp(word, "updateinformation") == 0 || strcmp(word, "updateinfo") == 0 || strcmp(word, "signature") == 0)
        printf("\n");
    else {
        say("there is no argument %s%s; --appimage-help lists what there is", SWITCHES, word);
        exit(1);
    }
    exit(0);
}

/* A folder that the user has put beside the file. */
static void take_beside(const char *end, const char *variable)
{
    char path[PATH_MAX];
    struct stat is;

    if (snprintf(path, sizeof path, "%s%s", own_path(), end) < PATH_MAX && stat(path, &is) == 0 && S_ISDIR(is.st_mode))
        setenv(variable, path, 1);
}

void appimage_environment(const char *tree, const char *called)
{
    char here[PATH_MAX];

    setenv("APPIMAGE", own_path(), 1);
    setenv("APPDIR", tree, 1);
    setenv("ARGV0", called ? called : own_path(), 1);
    if (getcwd(here, sizeof here))
        setenv("OWD", here, 1);
    take_beside(".home", "HOME");
    take_beside(".config", "XDG_CONFIG_HOME");
}
