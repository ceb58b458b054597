/*
 * cell-run: starts one app in a cell and writes down what came of it.
 *
 *   cell-run [--confine proof | --confine build --keep CAPABILITY,...] [--uid N --gid N] [--processes N] [--join FD...]
 *            [--record FD | --channel stdio] [--limit-ms N] [--owner UID:GID --owned FOLDER...]
 *            -- PROGRAM [ARGUMENT...]
 *
 * Static, no NSS, iconv or locale: it runs in any root file system, also in one that is empty.
 *
 * Two processes. The supervisor keeps its identity and CAP_KILL only, is not dumpable and holds the record fd;
 * the app runs under a foreign uid, so it can neither signal the supervisor nor reach the record. The
 * supervisor is a child subreaper: whatever the app leaves behind, double forks and new sessions included,
 * becomes its child and is ended before the record is written.
 *
 * The record is one line of JSON. "stage" is "ran" once the app's execve was called, else the step that failed.
 * When the reader of the record goes away (the caller was killed), everything is ended and nothing is written.
 *
 * --confine takes the caller's keys and many system calls from all of it, cell-run too (confine.h); of a build's
 * capabilities those that --keep names stay, as far as they are there.
 *
 * Without --uid the identity stays and PROGRAM may be looked up in PATH: that is how a build is kept in hand, which
 * runs as root.
 *
 * --join: what is written to join a control group (its cgroup.procs, opened by the caller). The app's side joins, and
 * so all that the app starts and what becomes the supervisor's child; the supervisor, which has to write the record
 * when the group has used up what it may use, does not. --processes: what a uid may have of them (RLIMIT_NPROC), for
 * callers that have no such group.
 *
 * --channel stdio is for callers that can hand over no file descriptor (container engines). stdin then brings a word
 * that the app cannot know, a line with the size of the environment, and the environment, NUL-terminated; when it
 * ends, the caller has gone and everything is ended. The record goes to stderr, behind that word.
 *
 * --owned folders belong to --owner when all has ended, with everything in them: root in a container is root.
 *
 * Own exit status: the app's; 128 + signal; 124 at the time limit; 125 when cell-run itself failed; 126 or 127
 * when the app's execve failed.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "confine.h"

/* The kernel's own headers are not there for every compiler that builds this: these numbers never change. */
#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT 47
#define PR_CAP_AMBIENT_CLEAR_ALL 4
#endif
#define CAP_VERSION_3 0x20080522
#define CAP_KILL_NUMBER 5
/* The number above means nobody; without 64 bits number() cannot tell it. */
#define MOST_ID (LONG_MAX > UINT_MAX ? (long)(UINT_MAX - 1u) : LONG_MAX)

struct cap_header {
    uint32_t version;
    int pid;
};

struct cap_data {
    uint32_t effective, permitted, inheritable;
};

enum { OWN_FAILURE = 125, GRACE_MS = 100, SWEEP_MS = 10000, WORD = 32, MOST_OWNED = 32, MOST_JOINED = 4,
       MOST_ENV = 1 << 20 };

/*
 * What the app's side tells over the pipe: "ran" without an error just before execve, and when that was: joining a
 * group may wait for all processors. Then the step that failed, if one did. A successful execve closes the pipe.
 */
struct trouble {
    char stage[24];
    int32_t error;
    int64_t at_ns;
};

struct result {
    struct trouble trouble;
    bool reached;
    bool limit;
    int status;
    int64_t begin_ns;
    int64_t wall_ns;
    int64_t user_us;
    int64_t sys_us;
    int64_t maxrss_kb;
    int left_behind;
};

static int record_fd = -1;
static int watch_fd = -1;
static int joined[MOST_JOINED];
static int joined_count;
static char word[WORD + 1];
static const char *owned[MOST_OWNED];
static int owned_count;
static unsigned owner_uid, owner_gid;
static bool wants_identity;
static uid_t want_uid;
static gid_t want_gid;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void write_record(const struct result *r)
{
    char line[1024 + WORD], exited[16] = "null", signalled[16] = "null";
    bool ran = strcmp(r->trouble.stage, "ran") == 0;

    if (record_fd < 0)
        return;
    if (r->reached && WIFEXITED(r->status))
        snprintf(exited, sizeof exited, "%d", WEXITSTATUS(r->status));
    if (r->reached && WIFSIGNALED(r->status))
        snprintf(signalled, sizeof signalled, "%d", WTERMSIG(r->status));
    int size = snprintf(line, sizeof line,
                        "%s%s%s{\"record\": 1, \"stage\": \"%s\", \"errno\": %d, \"reached\": %s, \"exec_errno\": %d, "
                        "\"exited\": %s, \"signal\": %s, \"limit\": %s, \"wall_ns\": %lld, \"user_us\": %lld, "
                        "\"sys_us\": %lld, \"maxrss_kb\": %lld, \"left_behind\": %d}\n",
                        *word ? "\n" : "", word, *word ? " " : "", r->trouble.stage, ran ? 0 : r->trouble.error, r->reached ? "true" : "false",
                        ran && !r->reached ? r->trouble.error : 0, exited, signalled,
                        r->limit ? "true" : "false", (long long)r->wall_ns, (long long)r->user_us,
                        (long long)r->sys_us, (long long)r->maxrss_kb, r->left_behind);
    for (int done = 0; done < size;) {
        ssize_t n = write(record_fd, line + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) { /* an app that has stderr in common may have made it non-blocking */
            struct pollfd room = {record_fd, POLLOUT, 0};
            poll(&room, 1, -1);
            continue;
        }
        if (n <= 0)
            return;
        done += n;
    }
}

static _Noreturn void fail(const char *stage, int error)
{
    struct result r = {.left_behind = 0};
    snprintf(r.trouble.stage, sizeof r.trouble.stage, "%s", stage);
    r.trouble.error = error;
    write_record(&r);
    dprintf(2, "cell-run: %s: %s\n", stage, strerror(error));
    _exit(OWN_FAILURE);
}

static int give_one(const char *path, const struct stat *seen, int kind, struct FTW *place)
{
    (void)kind, (void)place;
    if (seen->st_uid != owner_uid && lchown(path, owner_uid, owner_gid) == 0 && (seen->st_mode & 06000) &&
        S_ISREG(seen->st_mode))
        chmod(path, seen->st_mode & 07777); /* lchown takes setuid and setgid away */
    return 0;
}

static void give_away(void)
{
    for (int i = 0; i < owned_count; i++)
        nftw(owned[i], give_one, 64, FTW_PHYS | FTW_MOUNT);
}

static long number(const char *text, long most)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno || value > most)
        fail("arguments", EINVAL);
    return value;
}

/* ---- file descriptors and limits ---- */

static void close_span(unsigned first, unsigned last)
{
    if (first > last)
        return;
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, last, 0) == 0)
        return;
#endif
    struct rlimit limit;
    unsigned top = 65536;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < top)
        top = limit.rlim_cur;
    for (unsigned fd = first; fd <= last && fd < top; fd++)
        close(fd);
}

static void read_fully(char *into, size_t size)
{
    while (size > 0) {
        ssize_t n = read(0, into, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            fail("channel", n < 0 ? errno : EPIPE);
        into += n;
        size -= n;
    }
}

/* "WORD\nSIZE\nNAME=VALUE\0..." */
static void open_channel(void)
{
    extern char **environ;
    char told[WORD + 1], size_text[16];
    read_fully(told, WORD + 1);
    for (int i = 0; i < WORD; i++)
        if (!isxdigit((unsigned char)told[i]))
            fail("channel", EPROTO);
    if (told[WORD] != '\n')
        fail("channel", EPROTO);
    size_t at = 0;
    for (;; at++) {
        if (at == sizeof size_text)
            fail("channel", EPROTO);
        read_fully(size_text + at, 1);
        if (size_text[at] == '\n')
            break;
        if (!isdigit((unsigned char)size_text[at]))
            fail("channel", EPROTO);
    }
    size_text[at] = 0;
    size_t size = number(size_text, MOST_ENV), count = 0;
    char *block = malloc(size + 1);
    if (!block)
        fail("channel", ENOMEM);
    read_fully(block, size);
    if (size > 0 && block[size - 1] != 0)
        fail("channel", EPROTO);
    for (size_t i = 0; i < size; i++)
        count += block[i] == 0;
    char **names = calloc(count + 1, sizeof *names);
    if (!names)
        fail("channel", ENOMEM);
    for (size_t i = 0; i < count; i++, block += strlen(block) + 1)
        names[i] = block;
    environ = names;
    if ((watch_fd = fcntl(0, F_DUPFD_CLOEXEC, 8)) < 0 || (record_fd = fcntl(2, F_DUPFD_CLOEXEC, 9)) < 0)
        fail("channel", errno);
    memcpy(word, told, WORD);
}

/* Close everything above 2 but what is named, and that at the app's execve. */
static void close_others(void)
{
    int kept[MOST_JOINED + 2] = {record_fd, watch_fd};
    int count = 2;
    for (int i = 0; i < joined_count; i++)
        kept[count++] = joined[i];
    unsigned next = 3;
    for (;;) {
        int least = -1;
        for (int i = 0; i < count; i++)
            if (kept[i] >= (int)next && (least < 0 || kept[i] < least))
                least = kept[i];
        if (least < 0)
            break;
        if (fcntl(least, F_SETFD, FD_CLOEXEC) < 0) {
            int error = errno;
            bool of_record = least == record_fd;
            if (of_record)
                record_fd = -1;
            fail(of_record ? "record-fd" : "join-fd", error);
        }
        close_span(next, least - 1);
        next = least + 1;
    }
    close_span(next, UINT_MAX);
}

static void tidy_fds(void)
{
    close_others();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        fail("dev-null", errno);
    if (dup2(null, 0) < 0)
        fail("stdin", errno);
    for (int fd = 1; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && dup2(null, fd) < 0)
            fail("stdout", errno);
    if (null > 2)
        close(null);
}

static void lower_limit(int what, rlim_t soft, rlim_t hard)
{
    struct rlimit limit;
    if (getrlimit(what, &limit) < 0)
        fail("limits", errno);
    if (limit.rlim_max > hard)
        limit.rlim_max = hard;
    limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
    if (setrlimit(what, &limit) < 0)
        fail("limits", errno);
}

/* ---- privileges ---- */

static void set_caps(uint64_t kept, void (*on_error)(const char *, int))
{
    struct cap_header header = {CAP_VERSION_3, 0};
    struct cap_data data[2] = {
        {(uint32_t)kept, (uint32_t)kept, 0},
        {(uint32_t)(kept >> 32), (uint32_t)(kept >> 32), 0},
    };
    if (syscall(SYS_capset, &header, data) < 0)
        on_error("capset", errno);
}

static uint64_t held_caps(void)
{
    struct cap_header header = {CAP_VERSION_3, 0};
    struct cap_data data[2] = {{0, 0, 0}, {0, 0, 0}};
    if (syscall(SYS_capget, &header, data) < 0)
        return 0;
    return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

/* Root keeps what is named, as far as it has it. Without CAP_SETPCAP the bounding set stays: no_new_privs holds then. */
static void keep_caps(uint64_t kept)
{
    uint64_t held = held_caps();
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (!(cap < 64 && kept >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EPERM)
            fail("bounding-set", errno);
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
        fail("ambient-set", errno);
    set_caps(held & kept, fail);
}

static int trouble_fd = -1;

static void tell(const char *stage, int error)
{
    struct trouble trouble = {.error = error};
    snprintf(trouble.stage, sizeof trouble.stage, "%s", stage);
    if (write(trouble_fd, &trouble, sizeof trouble) < 0)
        _exit(OWN_FAILURE);
    _exit(OWN_FAILURE);
}

/* Root must succeed in every step. Anybody else is an ordinary user already: there is nothing to drop to. */
static void become_foreign(void)
{
    bool root = geteuid() == 0;

    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && root)
            tell("bounding-set", errno);
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
        tell("ambient-set", errno);
    if (root) {
        if (syscall(SYS_setgroups, 0, NULL) < 0)
            tell("setgroups", errno);
        if (syscall(SYS_setresgid, want_gid, want_gid, want_gid) < 0)
            tell("setgid", errno);
        if (syscall(SYS_setresuid, want_uid, want_uid, want_uid) < 0)
            tell("setuid", errno);
    }
    set_caps(0, tell);
}

/* ---- what the app left behind ---- */

struct process {
    pid_t pid, parent;
    bool alive, ours;
};

static bool own_proc(void)
{
    char text[24];
    ssize_t n = readlink("/proc/self", text, sizeof text - 1);
    if (n <= 0)
        return false;
    text[n] = 0;
    return atoi(text) == getpid();
}

static bool read_process(const char *name, struct process *p)
{
    char path[48], text[512];
    snprintf(path, sizeof path, "/proc/%.20s/stat", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    char *after = strrchr(text, ')'); /* the command's name may hold anything, ')' too */
    char state;
    if (!after || sscanf(after + 1, " %c %d", &state, &p->parent) != 2)
        return false;
    p->pid = atoi(name);
    p->alive = state != 'Z' && state != 'X';
    return true;
}

/* Every living descendant of this process; -1 where /proc does not show them. */
static int descendants(struct process **out)
{
    static struct process *all;
    static size_t room;
    size_t count = 0;
    DIR *folder;

    if (!own_proc() || !(folder = opendir("/proc")))
        return -1;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        if (count == room) {
            struct process *more = realloc(all, (room + 256) * sizeof *all);
            if (!more)
                break;
            all = more;
            room += 256;
        }
        if (read_process(entry->d_name, &all[count])) {
            all[count].ours = all[count].parent == getpid();
            count++;
        }
    }
    closedir(folder);
    for (bool grown = true; grown;) {
        grown = false;
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; all[i].ours && j < count; j++)
                if (!all[j].ours && all[j].parent == all[i].pid)
                    grown = all[j].ours = true;
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (all[i].ours && all[i].alive)
            all[kept++] = all[i];
    *out = all;
    return (int)kept;
}

static int signal_all(int signal)
{
    struct process *list = NULL;
    int count = descendants(&list);
    for (int i = 0; i < count; i++)
        kill(list[i].pid, signal);
    return count;
}

static bool reap_all(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
    return errno == ECHILD;
}

static void nap_ms(int ms)
{
    struct timespec t = {0, ms * 1000000L};
    nanosleep(&t, NULL);
}

/* End every descendant. Stopped before they are killed, so that none forks while the list is read. */
static void sweep(void)
{
    int64_t end = now_ns() + SWEEP_MS * 1000000LL;
    while (!reap_all() && now_ns() < end) {
        if (signal_all(SIGSTOP) < 0)
            return;
        signal_all(SIGKILL);
        nap_ms(1);
    }
}

/* How many processes outlive the app; those that are just ending get a moment. */
static int leftovers(void)
{
    int64_t end = now_ns() + GRACE_MS * 1000000LL;
    struct process *list = NULL;
    int count = 0;
    while (!reap_all()) {
        count = descendants(&list);
        if (count <= 0 || now_ns() >= end)
            return count;
        nap_ms(5);
    }
    return 0;
}

/* ---- the two sides ---- */

/*
 * Where memory runs out, the app ends before its supervisor, whose record says how, and before what else the machine
 * does. In a container both share what they may use.
 */
static void offer_to_oom_killer(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return; /* no /proc: then it ends by the kernel's own choice */
    if (write(fd, "1000", 4) < 0)
        tell("oom-score", errno);
    close(fd);
}

static _Noreturn void app_side(char **argv, pid_t supervisor)
{
    sigset_t none;
    for (int number = 1; number < _NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (setsid() < 0)
        tell("setsid", errno);
    for (int i = 0; i < joined_count; i++)
        if (write(joined[i], "0", 1) < 0) /* the one who writes */
            tell("join", errno);
    if (wants_identity) {
        offer_to_oom_killer();
        become_foreign();
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
            tell("no-new-privs", errno);
    }
    /* After the change of identity, which clears it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        tell("death-signal", errno);
    if (getppid() != supervisor)
        _exit(OWN_FAILURE);
    extern char **environ;
    struct trouble none_yet = {.stage = "ran", .at_ns = now_ns()};
    if (write(trouble_fd, &none_yet, sizeof none_yet) < 0)
        _exit(OWN_FAILURE);
    if (wants_identity)
        execve(argv[0], argv, environ);
    else
        execvpe(argv[0], argv, environ);
    tell("ran", errno);
    _exit(OWN_FAILURE);
}

static void on_child(int signal)
{
    (void)signal;
}

/* Read what has come; the pipe's end after "ran" without an error means that the app's execve succeeded. */
static void read_trouble(int fd, struct result *r, bool *open_pipe)
{
    struct trouble trouble;
    ssize_t n;
    while ((n = read(fd, &trouble, sizeof trouble)) == sizeof trouble) {
        trouble.stage[sizeof trouble.stage - 1] = 0;
        r->trouble = trouble;
        if (trouble.at_ns)
            r->begin_ns = trouble.at_ns;
    }
    if (n == 0) {
        *open_pipe = false;
        r->reached = strcmp(r->trouble.stage, "ran") == 0 && r->trouble.error == 0;
    }
}

static void supervise(pid_t child, int pipe_fd, int64_t limit_ms, const sigset_t *waiting, struct result *r)
{
    int64_t begin = now_ns();
    bool open_pipe = true;
    for (;;) {
        struct rusage usage;
        int status;
        pid_t pid;
        while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
            if (pid != child)
                continue;
            int64_t end = now_ns();
            r->status = status;
            r->user_us = usage.ru_utime.tv_sec * 1000000LL + usage.ru_utime.tv_usec;
            r->sys_us = usage.ru_stime.tv_sec * 1000000LL + usage.ru_stime.tv_usec;
            r->maxrss_kb = usage.ru_maxrss;
            if (open_pipe)
                read_trouble(pipe_fd, r, &open_pipe);
            r->wall_ns = end - (r->begin_ns ? r->begin_ns : begin);
            return;
        }
        struct timespec left = {0, 0}, *patience = NULL;
        if (limit_ms > 0 && !r->limit) {
            int64_t ns = limit_ms * 1000000LL - (now_ns() - begin);
            if (ns <= 0) {
                r->limit = true;
                signal_all(SIGSTOP);
                if (signal_all(SIGKILL) < 0)
                    kill(child, SIGKILL);
                continue;
            }
            left = (struct timespec){ns / 1000000000, ns % 1000000000};
            patience = &left;
        }
        struct pollfd watched[3] = {
            {open_pipe ? pipe_fd : -1, POLLIN, 0}, {record_fd, 0, 0}, {watch_fd, POLLIN, 0}};
        char more;
        if (ppoll(watched, 3, patience, waiting) <= 0)
            continue;
        if ((watched[1].revents & (POLLERR | POLLNVAL)) || (watched[2].revents && read(watch_fd, &more, 1) <= 0)) {
            kill(child, SIGKILL);
            sweep();
            give_away();
            _exit(OWN_FAILURE);
        }
        if (watched[0].revents)
            read_trouble(pipe_fd, r, &open_pipe);
    }
}

static void confine(bool builds, uint64_t kept)
{
    int error;
    if ((error = leave_keyrings()))
        fail("session-keyring", error);
    if (builds)
        keep_caps(kept);
    if ((error = install_filter()))
        fail("filter", error);
}

int main(int argc, char **argv)
{
    bool has_uid = false, has_gid = false;
    int64_t limit_ms = 0;
    bool channel = false, has_owner = false, confined = false, builds = false, keeps = false;
    long processes = 0;
    uint64_t kept = 0;
    char uid[16], gid[16], after;
    int at = 1;
    for (; at < argc && strcmp(argv[at], "--") != 0; at += 2) {
        if (at + 1 >= argc)
            fail("arguments", EINVAL);
        const char *value = argv[at + 1];
        if (strcmp(argv[at], "--uid") == 0) {
            want_uid = number(value, INT_MAX);
            has_uid = true;
        } else if (strcmp(argv[at], "--gid") == 0) {
            want_gid = number(value, INT_MAX);
            has_gid = true;
        } else if (strcmp(argv[at], "--confine") == 0 && (strcmp(value, "build") == 0 || strcmp(value, "proof") == 0)) {
            confined = true;
            builds = *value == 'b';
        } else if (strcmp(argv[at], "--keep") == 0 && read_capabilities(value, &kept)) {
            keeps = true;
        } else if (strcmp(argv[at], "--processes") == 0) {
            processes = number(value, INT_MAX);
        } else if (strcmp(argv[at], "--join") == 0 && joined_count < MOST_JOINED) {
            int fd = number(value, 65535);
            if (fd <= 2)
                fail("arguments", EINVAL);
            joined[joined_count++] = fd;
        } else if (strcmp(argv[at], "--limit-ms") == 0) {
            limit_ms = number(value, INT_MAX);
        } else if (strcmp(argv[at], "--record") == 0) {
            record_fd = number(value, 65535);
            if (record_fd <= 2)
                fail("arguments", EINVAL);
        } else if (strcmp(argv[at], "--channel") == 0 && strcmp(value, "stdio") == 0) {
            channel = true;
        } else if (strcmp(argv[at], "--owner") == 0 && sscanf(value, "%15[0-9]:%15[0-9]%c", uid, gid, &after) == 2) {
            owner_uid = number(uid, MOST_ID);
            owner_gid = number(gid, MOST_ID);
            has_owner = true;
        } else if (strcmp(argv[at], "--owned") == 0 && owned_count < MOST_OWNED && value[0] == '/') {
            owned[owned_count++] = value;
        } else {
            fail("arguments", EINVAL);
        }
    }
    if ((channel && record_fd >= 0) || (owned_count && !has_owner) || keeps != builds)
        fail("arguments", EINVAL);
    if (at + 1 >= argc || has_uid != has_gid || (has_uid && argv[at + 1][0] != '/'))
        fail("arguments", EINVAL);
    wants_identity = has_uid;

    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        fail("not-dumpable", errno);
    if (channel)
        open_channel();
    tidy_fds();
    umask(022);
    if (wants_identity) {
        lower_limit(RLIMIT_CORE, 0, 0);
        lower_limit(RLIMIT_NOFILE, 1024, 524288);
    }
    if (processes)
        lower_limit(RLIMIT_NPROC, processes, processes);
    if (confined)
        confine(builds, kept);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        fail("subreaper", errno);

    struct sigaction action = {.sa_handler = on_child};
    sigset_t blocked, waiting;
    sigaction(SIGCHLD, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    sigemptyset(&waiting);

    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
        fail("pipe", errno);
    trouble_fd = ends[1];
    pid_t supervisor = getpid();
    pid_t child = fork();
    if (child < 0)
        fail("fork", errno);
    if (child == 0)
        app_side(argv + at + 1, supervisor);
    close(ends[1]);
    if (wants_identity)
        set_caps(held_caps() & (1ULL << CAP_KILL_NUMBER), fail);

    struct result r = {.trouble = {.stage = "before-execve"}};
    supervise(child, ends[0], limit_ms, &waiting, &r);
    if (!r.limit)
        r.left_behind = leftovers();
    sweep();
    give_away();
    write_record(&r);
    if (strcmp(r.trouble.stage, "ran") != 0)
        dprintf(2, "cell-run: %s: %s\n", r.trouble.stage, strerror(r.trouble.error));
    if (r.limit)
        return 124;
    if (!r.reached)
        return strcmp(r.trouble.stage, "ran") != 0 ? OWN_FAILURE : r.trouble.error == ENOENT ? 127 : 126;
    return WIFEXITED(r.status) ? WEXITSTATUS(r.status) : 128 + WTERMSIG(r.status);
}
