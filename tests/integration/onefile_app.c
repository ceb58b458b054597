/* The app of test_onefile_runtime.py: says what it was given, or does what its first argument says. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

int main(int count, char **words)
{
    const char *what = count > 1 ? words[1] : "";

    if (strcmp(what, "exit") == 0)
        return atoi(words[2]);
    if (strcmp(what, "signal") == 0)
        return kill(getpid(), atoi(words[2])), pause(), 0;
    if (strcmp(what, "sleep") == 0)
        return puts("sleeps"), fflush(stdout), sleep((unsigned)atoi(words[2])), 0;
    if (strcmp(what, "environment") == 0) {
        for (char **one = environ; *one; one++)
            puts(*one);
        return 0;
    }
    if (strcmp(what, "files") == 0) {
        /* Open ones, but for that of the listing itself. */
        DIR *all = opendir("/proc/self/fd");

        for (struct dirent *one; (one = readdir(all));)
            if (*one->d_name != '.' && atoi(one->d_name) != dirfd(all))
                puts(one->d_name);
        return 0;
    }
    mode_t mask = umask(0);
    printf("argv");
    for (int i = 0; i < count; i++)
        printf(" <%s>", words[i]);
    printf("\nparent %d\numask %03o\n", (int)getppid(), (unsigned)mask);
    return 0;
}
