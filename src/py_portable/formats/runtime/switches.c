#define _GNU_SOURCE
#include "switches.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"
#include "licences.h"
#include "remove.h"
#include "running.h"
#include "say.h"
#include "seal.h"
#include "tree.h"
#include "unpack.h"

static struct payload read_payload(void)
{
    struct payload payload;
    const char *damage = payload_open(&payload);

    if (damage)
        fail("%s is damaged: %s. Get the file again", seal_path(), damage);
    return payload;
}

static _Noreturn void help(void)
{
    printf("%s is one file that unpacks a folder once and then starts it from there. All arguments are its own.\n"
           "The variable " SWITCH " asks for something else:\n\n"
           "  " SWITCH "=info            what it is, and where it is or would be unpacked\n"
           "  " SWITCH "=verify          compare the file, and what it was unpacked to, byte by byte\n"
           "  " SWITCH "=extract         unpack it to the new folder %s here\n"
           "  " SWITCH "=extract=FOLDER  unpack it to the new folder FOLDER\n"
           "  " SWITCH "=prune           remove what other versions of it were unpacked to, unless they run\n"
           "  " SWITCH "=licences        those of the parts of it that unpack it\n"
           "  " SWITCH "=help            this text\n\n"
           "It is unpacked to the first of these folders that is private to its user, has room and allows programs to\n"
           "be started: $XDG_CACHE_HOME, $HOME/.cache, $TMPDIR, /var/tmp, /tmp, /dev/shm.\n",
           seal()->name, seal()->name);
    exit(0);
}

static _Noreturn void info(void)
{
    const struct seal *s = seal();
    struct home home;
    char key[KEY_TEXT];

    seal_key(key);
    printf("name: %s\nkey: %s\nformat: %u\nstarts: %s\nfile: %llu bytes\nunpacked: %llu bytes\n", s->name, key, s->format,
           s->program, (unsigned long long)s->file_bytes, (unsigned long long)s->tree_bytes);
    if (cache_find(&home))
        printf("folder: %s/%s/tree\n", home.place.path, key);
    for (int i = 0; place_named(i, &home.place); i++) {
        if (!*home.place.base)
            continue;
        home.cache = place_open(&home.place, s->name, false);
        printf("place: %s%s%s\n", home.cache < 0 ? home.place.base : home.place.path, home.cache < 0 ? " " : "",
               home.cache < 0 ? home.place.why : "");
        if (home.cache >= 0)
            close(home.cache);
    }
    exit(0);
}

static _Noreturn void verify(void)
{
    struct payload payload = read_payload();
    struct scratch scratch;
    struct home home;
    const char *damage = NULL, *differs = NULL;
    char key[KEY_TEXT];
    int wrong = 0;

    seal_key(key);
    if (!scratch_make(&payload, &scratch))
        fail("there is not enough memory to read it");
    for (size_t i = 0; !damage && i < payload.list.chunk_count; i++)
        damage = payload_chunk(&payload, i, &scratch);
    if (damage)
        fail("%s is damaged: %s. Get the file again", seal_path(), damage);
    printf("%s: as it was packed\n", seal_path());
    for (int i = 0; place_named(i, &home.place); i++) {
        char tree[PATH_MAX + 64];

        if (!*home.place.base || (home.cache = place_open(&home.place, seal()->name, false)) < 0)
            continue;
        snprintf(tree, sizeof tree, "%s/%s/tree", home.place.path, key);
        if (access(tree, F_OK) == 0) {
            differs = tree_differs(home.cache, key, &payload, &damage);
            if (damage)
                fail("%s: %s", seal_path(), damage);
            printf("%s: %s%s\n", tree, differs ? "was changed, and will be unpacked again: " : "as it was unpacked",
                   differs ? differs : "");
            wrong |= differs != NULL;
            /* Who runs from it now keeps it until then. */
            if (differs)
                cache_forget(home.cache, key);
        }
        close(home.cache);
    }
    exit(wrong);
}

/* Leaves what the pattern matches, what lies in matching folders, and the folders of all that. */
static void keep_matching(struct listing *list, const char *pattern)
{
    bool *keep = calloc(list->entry_count + 1, sizeof *keep);
    size_t kept = 0;

    if (!keep)
        fail("there is not enough memory to read it");
    for (size_t i = 0; i < list->entry_count; i++) {
        char path[PATH_MAX];

        snprintf(path, sizeof path, "%s", list->entries[i].path);
        for (char *end = path; end && !keep[i]; end = strrchr(path, '/')) {
            *(end == path ? path + strlen(path) : end) = 0;
            keep[i] = fnmatch(pattern, path, FNM_PATHNAME) == 0;
        }
    }
    /* Folders come before what lies in them. */
    for (size_t i = list->entry_count; i-- > 0;)
        for (size_t up = 0; keep[i] && up < list->entry_count && S_ISDIR(list->entries[up].mode); up++) {
            size_t bytes = strlen(list->entries[up].path);

            if (strncmp(list->entries[up].path, list->entries[i].path, bytes) == 0 && list->entries[i].path[bytes] == '/')
                keep[up] = true;
        }
    for (size_t i = 0; i < list->entry_count; i++)
        if (keep[i])
            list->entries[kept++] = list->entries[i];
    list->entry_count = kept;
    free(keep);
}

_Noreturn void extract(const char *folder, const char *pattern, bool shown)
{
    struct payload payload = read_payload();
    struct trouble trouble;
    int fd = -1;

    if (*pattern)
        keep_matching(&payload.list, pattern);
    if (mkdir(folder, 0755) || (fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
        fail("the folder %s cannot be made: %s", folder, strerror(errno));
    if (!unpack(&payload, fd, &trouble)) {
        remove_all(AT_FDCWD, folder);
        if (trouble.damage)
            fail("%s is damaged: %s. Get the file again", seal_path(), trouble.damage);
        fail("it cannot be unpacked to %s: %s", folder, strerror(trouble.error));
    }
    if (!shown)
        printf("%s\n", folder);
    for (size_t i = 0; shown && i < payload.list.entry_count; i++)
        printf("%s/%s\n", folder, payload.list.entries[i].path);
    exit(0);
}

static void prune_in(const struct home *home, const char *own)
{
    int lock = cache_lock(home->cache), again = openat(home->cache, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *all = again < 0 ? NULL : fdopendir(again);

    if (lock >= 0)
        cache_sweep(home->cache);
    for (struct dirent *one; lock >= 0 && all && (one = readdir(all));)
        if (*one->d_name != '.' && strcmp(one->d_name, "lock") != 0 && strcmp(one->d_name, own) != 0)
            printf("%s: %s/%s\n", cache_remove(home->cache, one->d_name, running) ? "removed" : "kept, it is in use",
                   home->place.path, one->d_name);
    if (all)
        closedir(all);
    if (lock >= 0)
        close(lock);
}

static _Noreturn void prune(void)
{
    struct home home;
    char key[KEY_TEXT];

    seal_key(key);
    for (int i = 0; place_named(i, &home.place); i++)
        if (*home.place.base && (home.cache = place_open(&home.place, seal()->name, false)) >= 0) {
            prune_in(&home, key);
            close(home.cache);
        }
    exit(0);
}

_Noreturn void switches(const char *word)
{
    static const char TO[] = "extract=";

    if (strcmp(word, "help") == 0)
        help();
    if (strcmp(word, "licences") == 0) {
        fputs(LICENCES, stdout);
        exit(0);
    }
    if (strcmp(word, "info") == 0)
        info();
    if (strcmp(word, "verify") == 0)
        verify();
    if (strcmp(word, "prune") == 0)
        prune();
    if (strcmp(word, "extract") == 0)
        extract(seal()->name, "", false);
    if (strncmp(word, TO, strlen(TO)) == 0 && word[strlen(TO)])
        extract(word + strlen(TO), "", false);
    fail("the variable " SWITCH " is %s, and it can be info, verify, extract, extract=FOLDER, prune, licences or help", word);
}
