/*
 * The hostile program of three promises: keys, system calls, limits. It prints a line "WON …" for each thing that it
 * got and must not have, and at the end how often it tried.
 *
 *   caller KEY SECRET REPORT PROGRAM...   be a caller with KEY in its session and its user keyring; write down into
 *                                         REPORT what became of its keyrings when PROGRAM has ended
 *   keys KEY SECRET                       get at the caller's key, and leave keys for those who come
 *   look KEY                              look for what `keys` left
 *   calls                                 every kind of system call that the filter refuses, and some that it must not
 *   crowd COUNT READY                     COUNT children that hide from whoever ends them, asleep; write how many into
 *                                         READY, end when that is empty again
 *   fill MEBIBYTES                        take that much of memory as a file without a name
 *   family                                start ten children, as an ordinary program does
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SESSION = -3, USER = -4, USER_SESSION = -5 };
enum {
    GET_ID = 0, JOIN = 1, UPDATE = 2, SETPERM = 5, DESCRIBE = 6, LINK = 8, UNLINK = 9,
    SEARCH = 10, READ = 11, PERSISTENT = 22
};
static const char LEFT[] = "left-behind";
static int count;

static long key(const char *name, const char *value, long ring)
{
    return syscall(SYS_add_key, "user", name, value, strlen(value), ring);
}

static long control(long what, long a, long b, long c, long d)
{
    return syscall(SYS_keyctl, what, a, b, c, d);
}

static void won(const char *what, long result)
{
    count++;
    if (result >= 0)
        printf("WON %s %ld\n", what, result);
}

static bool found_in_proc(const char *name)
{
    static char text[1 << 20];
    int fd = open("/proc/keys", O_RDONLY);
    ssize_t n, size = 0;
    while (fd >= 0 && (n = read(fd, text + size, sizeof text - 1 - size)) > 0)
        size += n;
    text[size] = 0;
    if (fd >= 0)
        close(fd);
    return strstr(text, name) != NULL;
}

static int caller(char **argv)
{
    const char *name = argv[0], *secret = argv[1];
    control(JOIN, 0, 0, 0, 0);
    long mine = key(name, secret, SESSION);
    key(name, secret, USER);
    if (mine < 0) {
        perror("add_key");
        return 99;
    }
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[3], argv + 3);
        perror(argv[3]);
        _exit(98);
    }
    int status;
    waitpid(child, &status, 0);
    FILE *report = fopen(argv[2], "w");
    char value[256] = "";
    long size = control(READ, mine, (long)value, sizeof value, 0);
    fprintf(report, "secret %s\n", size == (long)strlen(secret) && memcmp(value, secret, size) == 0 ? "kept" : "changed");
    /* What was found is taken away, and what was opened is closed: root's user keyrings outlive this program. */
    long rings[] = {SESSION, USER, USER_SESSION};
    for (int i = 0; i < 3; i++) {
        control(SETPERM, rings[i], 0x1f3f0000 /* as the kernel makes them */, 0, 0);
        int32_t ids[64];
        size = control(READ, rings[i], (long)ids, sizeof ids, 0);
        for (long at = 0; at < size / 4; at++) {
            char about[512] = "";
            control(DESCRIBE, ids[at], (long)about, sizeof about, 0);
            if (strstr(about, LEFT))
                fprintf(report, "planted %s\n", about);
            if (strstr(about, LEFT) || strstr(about, name))
                control(UNLINK, ids[at], rings[i], 0, 0);
        }
    }
    fclose(report);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

static void keys(const char *name, const char *secret)
{
    static const long rings[] = {SESSION, USER, USER_SESSION};
    static const char *const labels[] = {"session", "user", "user-session"};
    if (found_in_proc(name))
        won("seen in /proc/keys", 0);
    for (int i = 0; i < 3; i++) {
        char value[256] = "";
        printf("# %s\n", labels[i]);
        won("id", control(GET_ID, rings[i], 0, 0, 0));
        won("list", control(READ, rings[i], (long)value, sizeof value, 0));
        long theirs = control(SEARCH, rings[i], (long)"user", (long)name, 0);
        won("search", theirs);
        if (theirs > 0 && control(READ, theirs, (long)value, sizeof value, 0) > 0 && strstr(value, secret))
            won("THE SECRET", theirs);
        if (theirs > 0)
            won("replace", control(UPDATE, theirs, (long)"other", 5, 0));
        won("describe", control(DESCRIBE, rings[i], (long)value, sizeof value, 0));
        won("plant", key(LEFT, "x", rings[i]));
        won("replace by name", key(name, "other", rings[i]));
        won("open to all", control(SETPERM, rings[i], 0x3f3f3f3f, 0, 0));
    }
    won("request", syscall(SYS_request_key, "user", name, NULL, SESSION));
    won("link user to session", control(LINK, USER, SESSION, 0, 0));
    won("persistent", control(PERSISTENT, -1, SESSION, 0, 0));
    won("another session", control(JOIN, (long)"named", 0, 0, 0));
    fflush(stdout);
    if (fork() == 0) { /* from a child of its own too */
        setsid();
        won("plant from a child", key(LEFT, "x", USER));
        fflush(stdout);
        _exit(0);
    }
    count++;
    wait(NULL);
    printf("tried %d\n", count);
}

static void look(const char *name)
{
    if (found_in_proc(LEFT) || found_in_proc(name))
        won("seen in /proc/keys", 0);
    long rings[] = {SESSION, USER, USER_SESSION};
    for (int i = 0; i < 3; i++)
        won("found what was left", control(SEARCH, rings[i], (long)"user", (long)LEFT, 0));
    printf("tried %d\n", count + 1);
}

/* Refused by the filter; with arguments that the kernel itself would refuse otherwise, or would take. */
static void refused(const char *name, long result, int answer)
{
    count++;
    if (result >= 0 || errno != answer)
        printf("WON %s: %s\n", name, result >= 0 ? "done" : strerror(errno));
}

#define REFUSED(name, ...) refused(#name, syscall(SYS_##name, __VA_ARGS__), EPERM)
#define NUMBERED(name, number, answer) refused(name, syscall(number, -1L, -1L, -1L, -1L, -1L), answer)

static void in_new_namespace(const char *name, unsigned long flag)
{
    long child = syscall(SYS_clone, flag | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    refused(name, child, EPERM);
    refused(name, syscall(SYS_unshare, flag), EPERM);
}

static void works(const char *name, bool it_does)
{
    if (!it_does)
        printf("LOST %s: %s\n", name, strerror(errno));
}

static bool in_child_exits(int status)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(status);
    int seen;
    return child > 0 && waitpid(child, &seen, 0) == child && WIFEXITED(seen) && WEXITSTATUS(seen) == status;
}

#ifdef __x86_64__
static int start_foreign(void)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) /* getpid of i386 */ : "memory");
    return result > 0;
}
#endif

static void calls(void)
{
    NUMBERED("open_tree", 428, EPERM);
    NUMBERED("move_mount", 429, EPERM);
    NUMBERED("fsopen", 430, EPERM);
    NUMBERED("fsconfig", 431, EPERM);
    NUMBERED("fsmount", 432, EPERM);
    NUMBERED("fspick", 433, EPERM);
    NUMBERED("mount_setattr", 442, EPERM);
    NUMBERED("io_uring_setup", 425, EPERM);
    NUMBERED("io_uring_enter", 426, EPERM);
    NUMBERED("io_uring_register", 427, EPERM);
    NUMBERED("pidfd_getfd", 438, EPERM);
    NUMBERED("quotactl_fd", 443, EPERM);
    NUMBERED("clone3", 435, ENOSYS);
    for (int number = 467; number < 600; number++)
        NUMBERED("a call of the future", number, ENOSYS);
    REFUSED(add_key, 0, 0, 0, 0, 0);
    REFUSED(request_key, 0, 0, 0, 0);
    REFUSED(keyctl, -1, 0, 0, 0, 0);
    REFUSED(mount, 0, 0, 0, 0, 0);
    REFUSED(umount2, 0, 0);
    REFUSED(pivot_root, 0, 0);
    REFUSED(setns, -1, 0);
    REFUSED(bpf, -1, 0, 0);
    REFUSED(userfaultfd, -1);
    REFUSED(perf_event_open, 0, 0, 0, 0, 0);
    REFUSED(fanotify_init, -1, 0);
    REFUSED(open_by_handle_at, -1, 0, 0);
    REFUSED(kexec_load, 0, 0, 0, -1);
    REFUSED(init_module, 0, 0, 0);
    REFUSED(finit_module, -1, 0, 0);
    REFUSED(delete_module, 0, 0);
    REFUSED(swapon, 0, 0);
    REFUSED(swapoff, 0);
    REFUSED(reboot, 0, 0, 0, 0);
    REFUSED(acct, -1);
    REFUSED(syslog, 3, 0, 0);
    REFUSED(quotactl, -1, 0, 0, 0);
    REFUSED(settimeofday, -1, 0);
    REFUSED(clock_settime, -1, 0);
    REFUSED(lookup_dcookie, 0, 0, 0);
    REFUSED(nfsservctl, 0, 0, 0);
    REFUSED(sethostname, 0, -1);
    REFUSED(setdomainname, 0, -1);
    REFUSED(kcmp, 0, 0, -1, 0, 0);
    refused("personality", personality(0x0040000), EPERM);
    static const int families[] = {12, 19, 20, 23, 25, 34, 37, 38, 40, 46, 200, -1};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        refused("socket", socket(families[i], SOCK_DGRAM, 0), EPERM);
    in_new_namespace("user namespace", CLONE_NEWUSER);
    in_new_namespace("mount namespace", CLONE_NEWNS);
    in_new_namespace("network namespace", CLONE_NEWNET);
    in_new_namespace("process namespace", CLONE_NEWPID);
    in_new_namespace("both", CLONE_NEWUSER | CLONE_NEWNS);
#ifdef __x86_64__
    NUMBERED("keyctl as x32", 0x40000000 | SYS_keyctl, ENOSYS);
    NUMBERED("getpid as x32", 0x40000000 | SYS_getpid, ENOSYS);
    REFUSED(iopl, 3);
    REFUSED(ioperm, 0, 1, 1);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(start_foreign());
    int status;
    waitpid(child, &status, 0);
    count++;
    if (!WIFSIGNALED(status) || (WTERMSIG(status) != SIGSYS && WTERMSIG(status) != SIGSEGV))
        printf("WON a call of i386: %#x\n", status);
#endif
    works("fork", in_child_exits(7));
    works("personality", personality(0xffffffff) >= 0);
    works("a socket of the internet", close(socket(AF_INET, SOCK_STREAM, 0)) == 0);
    works("a socket of files", close(socket(AF_UNIX, SOCK_STREAM, 0)) == 0);
    works("memfd", close(memfd_create("x", 0)) == 0);
    works("ptrace", ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
    works("a pipe", mkfifo("/tmp/pipe", 0600) == 0);
    printf("tried %d\n", count);
}

static void crowd(int wanted, const char *ready)
{
    int made = 0;
    fflush(stdout);
    for (; made < wanted; made++) {
        pid_t child = fork();
        if (child < 0)
            break;
        if (child == 0) {
            setsid();
            if (made % 2 == 0) { /* half of them become children of whoever takes orphans */
                child = fork();
                if (child != 0)
                    _exit(child < 0);
            }
            sleep(1000);
            _exit(0);
        }
        int status;
        if (made % 2 == 0 && (waitpid(child, &status, 0) < 0 || status != 0))
            break;
    }
    int fd = open(ready, O_WRONLY);
    dprintf(fd, "%d\n", made);
    struct stat seen;
    while (fstat(fd, &seen) == 0 && seen.st_size > 0)
        usleep(20000);
}

static int fill(long mebibytes)
{
    int fd = memfd_create("large", 0);
    for (long at = 0; at < mebibytes; at += 64)
        if (fallocate(fd, 0, at << 20, 64 << 20) < 0) {
            printf("refused after %ld MiB: %s\n", at, strerror(errno));
            return 3;
        }
    printf("WON %ld MiB\n", mebibytes);
    return 0;
}

int main(int argc, char **argv)
{
    (void)argc;
    const char *mode = argv[1];
    if (strcmp(mode, "caller") == 0)
        return caller(argv + 2);
    if (strcmp(mode, "keys") == 0)
        keys(argv[2], argv[3]);
    if (strcmp(mode, "look") == 0)
        look(argv[2]);
    if (strcmp(mode, "calls") == 0)
        calls();
    if (strcmp(mode, "crowd") == 0)
        crowd(atoi(argv[2]), argv[3]);
    if (strcmp(mode, "fill") == 0)
        return fill(atol(argv[2]));
    if (strcmp(mode, "family") == 0) {
        int whole = 0;
        for (int i = 0; i < 10; i++)
            whole += in_child_exits(i);
        printf("%d children\n", whole);
    }
    return 0;
}
