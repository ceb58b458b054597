/*
 * canary: started exactly as an app would be, it prints one JSON object of what it observes.
 *
 * It judges nothing: a condition compares the observation with what it promises. What it tries (a mount, a
 * device node, a remount) it tries only without capabilities, where success would be a hole in the cell, so that
 * it harms nothing when somebody runs it as root on a machine. A try is reported as its errno, 0 for success,
 * null for not tried.
 *
 *   canary FILE...
 *
 * prints these files instead, each followed by a zero byte, so that a root can be read in which there is no other
 * program. Of a file that is not there only that byte; anything but a file is an error.
 *
 * Static, no NSS, iconv or locale.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static bool first = true;

static void string(const char *text, size_t size)
{
    putchar('"');
    for (size_t i = 0; i < size; i++) {
        unsigned char c = text[i];
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void key(const char *name)
{
    printf(first ? "\"%s\": " : ", \"%s\": ", name);
    first = false;
}

static void text(const char *name, const char *value)
{
    key(name);
    if (value)
        string(value, strlen(value));
    else
        fputs("null", stdout);
}

static void number(const char *name, long long value)
{
    key(name);
    printf("%lld", value);
}

static void truth(const char *name, bool value)
{
    key(name);
    fputs(value ? "true" : "false", stdout);
}

static void begin(const char *name)
{
    key(name);
    putchar('{');
    first = true;
}

static void end(void)
{
    putchar('}');
    first = false;
}

/* errno of a try, 0 for success */
static int tried(long result)
{
    return result < 0 ? errno : 0;
}

static int try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600);
    int error = tried(fd);
    if (fd >= 0)
        close(fd);
    return error;
}

static int try_create(const char *folder)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/.canary-%d", folder, (int)getpid());
    int error = try_open(path, O_CREAT | O_EXCL | O_WRONLY);
    if (!error)
        unlink(path);
    return error;
}

/* ---- who it is ---- */

static void keys(void);

static char *read_text(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    size_t used = 0;
    ssize_t n;
    while (used + 1 < size && (n = read(fd, buffer + used, size - 1 - used)) > 0)
        used += n;
    close(fd);
    buffer[used] = 0;
    return buffer;
}

static bool no_caps = false;

static void identity(void)
{
    static const char *const names[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"};
    char status[8192];
    gid_t groups[256];

    number("uid", getuid());
    number("euid", geteuid());
    number("gid", getgid());
    number("egid", getegid());
    int count = getgroups(256, groups);
    key("groups");
    putchar('[');
    for (int i = 0; i < count; i++)
        printf("%s%u", i ? ", " : "", (unsigned)groups[i]);
    putchar(']');
    bool seen = read_text("/proc/self/status", status, sizeof status) != NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char wanted[24], value[40] = "";
        snprintf(wanted, sizeof wanted, "\n%s:", names[i]);
        char *at = seen ? strstr(status, wanted) : NULL;
        if (at && sscanf(at + strlen(wanted), " %39s", value) == 1) {
            text(names[i], value);
            if (strcmp(names[i], "CapEff") == 0)
                no_caps = strspn(value, "0") == strlen(value);
        } else {
            text(names[i], NULL);
        }
    }
    keys();
    char map[4096];
    text("uid_map", read_text("/proc/self/uid_map", map, sizeof map));
    number("shadow_readable", try_open("/etc/shadow", O_RDONLY));
}

/*
 * How many keys it sees beyond an empty session keyring, which belongs to itself alone (keyrings(7)); null where
 * /proc/keys is hidden or the kernel has no keys. Before anything is tried that would add one.
 */
static void keys(void)
{
    static char all[65536];
    char *line = read_text("/proc/keys", all, sizeof all);
    int others = 0;
    key("keys");
    if (!line) {
        fputs("null", stdout);
        return;
    }
    for (line = strtok(line, "\n"); line; line = strtok(NULL, "\n"))
        others += !strstr(line, " keyring   _ses: empty");
    printf("%d", others);
}

/*
 * What the root's own files say of its ids: the entries that programs without NSS find, and with it as long as the
 * root asks files first. Not getpwuid, which would ask a daemon too.
 */
static void account(void)
{
    begin("account");
    FILE *users = fopen("/etc/passwd", "re");
    struct passwd *user = NULL;
    while (users && (user = fgetpwent(users)) && user->pw_uid != getuid())
        continue;
    text("name", user ? user->pw_name : NULL);
    text("home", user ? user->pw_dir : NULL);
    FILE *groups = fopen("/etc/group", "re");
    struct group *group = NULL;
    while (groups && (group = fgetgrent(groups)) && group->gr_gid != getgid())
        continue;
    text("group", group ? group->gr_name : NULL);
    end();
    if (users)
        fclose(users);
    if (groups)
        fclose(groups);
}

/* ---- what it was given ---- */

static void inherited(void)
{
    struct stat st;
    key("fds");
    putchar('[');
    bool any = false;
    for (int fd = 0; fd < 4096; fd++)
        if (fcntl(fd, F_GETFD) >= 0) {
            printf("%s%d", any ? ", " : "", fd);
            any = true;
        }
    putchar(']');
    char byte;
    bool null = fstat(0, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
    truth("stdin_null", null && read(0, &byte, 1) == 0);
    truth("terminal", isatty(0) || isatty(1) || isatty(2) || try_open("/dev/tty", O_RDWR) == 0);
    mode_t mask = umask(022);
    umask(mask);
    number("umask", mask);

    key("env");
    putchar('[');
    for (char **e = environ; *e; e++) {
        char *equals = strchr(*e, '=');
        if (e != environ)
            fputs(", ", stdout);
        string(*e, equals ? (size_t)(equals - *e) : strlen(*e));
    }
    putchar(']');
    text("env_HOME", getenv("HOME"));
    text("env_PATH", getenv("PATH"));
    text("env_LANG", getenv("LANG"));
    char folder[4096];
    text("cwd", getcwd(folder, sizeof folder));
    struct rlimit limit;
    number("core_limit", getrlimit(RLIMIT_CORE, &limit) == 0 ? (long long)limit.rlim_cur : -1);
    number("open_files", getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (long long)limit.rlim_cur : -1);
}

/* ---- where it is ---- */

static void filesystem(const char *path)
{
    struct statvfs vfs;
    struct statfs fs;
    bool known = statvfs(path, &vfs) == 0 && statfs(path, &fs) == 0;
    const char *type = NULL;
    char hex[24];
    if (known) {
        unsigned long magic = (unsigned int)fs.f_type;
        snprintf(hex, sizeof hex, "0x%lx", magic);
        type = magic == 0x01021994 ? "tmpfs" : magic == 0x794c7630 ? "overlay" : magic == 0xef53 ? "ext" : hex;
    }
    text("type", type);
    truth("read_only", known && vfs.f_flag & ST_RDONLY);
    truth("noexec", known && vfs.f_flag & ST_NOEXEC);
    truth("nosuid", known && vfs.f_flag & ST_NOSUID);
    truth("nodev", known && vfs.f_flag & ST_NODEV);
    number("bytes", known ? (long long)vfs.f_blocks * (long long)vfs.f_frsize : -1);
}

static void folder(const char *name, const char *path)
{
    struct stat st;
    begin(name);
    bool exists = stat(path, &st) == 0;
    truth("exists", exists);
    number("mode", exists ? (long long)(st.st_mode & 07777) : -1);
    number("owner", exists ? (long long)st.st_uid : -1);
    number("group", exists ? (long long)st.st_gid : -1);
    number("create", try_create(path));
    filesystem(path);
    end();
}

/* A UDP connect sends nothing: it asks whether there is a route. */
static int try_route(unsigned address)
{
    struct sockaddr_in other = {.sin_family = AF_INET, .sin_port = htons(9)};
    other.sin_addr.s_addr = htonl(address);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int error = tried(connect(fd, (struct sockaddr *)&other, sizeof other));
    close(fd);
    return error;
}

static void surroundings(void)
{
    struct utsname name;
    if (uname(&name) == 0) {
        text("hostname", name.nodename);
        text("kernel", name.release);
        text("machine", name.machine);
    }
    static char devices[65536];
    key("interfaces");
    putchar('[');
    bool any = false;
    char *line = read_text("/proc/net/dev", devices, sizeof devices);
    for (line = line ? strtok(line, "\n") : NULL; line; line = strtok(NULL, "\n")) {
        char *colon = strchr(line, ':');
        if (!colon)
            continue;
        line += strspn(line, " ");
        if (any)
            fputs(", ", stdout);
        string(line, colon - line);
        any = true;
    }
    putchar(']');
    number("route", try_route(0xc0000201)); /* 192.0.2.1, which is nobody's */
    number("loopback", try_route(INADDR_LOOPBACK));

    int processes = 0;
    DIR *proc = opendir("/proc");
    if (proc) {
        for (struct dirent *entry; (entry = readdir(proc));)
            processes += isdigit((unsigned char)entry->d_name[0]) != 0;
        closedir(proc);
    }
    number("pid", getpid());
    number("processes", processes);

    folder("root", "/");
    folder("usr", "/usr");
    folder("etc", "/etc");
    folder("tmp", "/tmp");
    folder("shm", "/dev/shm");
    folder("home", getenv("HOME") ? getenv("HOME") : "");
}

/* ---- what it can do that it must not ---- */

static int in_child(int (*action)(void))
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(action());
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int nested(void)
{
    return tried(unshare(CLONE_NEWUSER));
}

static int remount(const char *path)
{
    int plain = tried(mount(NULL, path, NULL, MS_REMOUNT, NULL));
    return plain ? tried(mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL)) : 0;
}

static int remount_root(void)
{
    return remount("/");
}

/* A new user namespace gives all capabilities over a copy of the mounts: a read-only one must stay so there. */
static int nested_remount_root(void)
{
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return errno;
    return remount("/");
}

static int mount_tmpfs(void)
{
    return tried(mount("canary", "/tmp", "tmpfs", 0, NULL));
}

static int make_device(void)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/.canary-dev-%d", (int)getpid());
    int error = tried(mknod(path, S_IFBLK | 0600, makedev(7, 0)));
    if (!error)
        unlink(path);
    return error;
}

static int change_root(void)
{
    return tried(chroot("/"));
}

static int become_root(void)
{
    return tried(setuid(0));
}

static int trace_first(void)
{
    return tried(ptrace(PTRACE_SEIZE, 1, NULL, NULL));
}

/*
 * What follows is for the filter of system calls. Each would succeed, or fail with an errno of its own, where the
 * kernel gets to see it: EPERM is the filter's answer, and ENOSYS that of a kernel that does not know the call.
 */

enum { SESSION_KEYRING = -3, USER_MODE_ONLY = 1, UNLINK = 9 }; /* of keyctl(2) and userfaultfd(2) */

static int add_key(void)
{
    long made = syscall(SYS_add_key, "user", "py-portable-canary", "x", 1, SESSION_KEYRING);
    int error = tried(made);
    if (!error)
        syscall(SYS_keyctl, UNLINK, made, SESSION_KEYRING);
    return error;
}

static int find_keyring(void)
{
    return tried(syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, SESSION_KEYRING, 0));
}

static int request_key(void)
{
    return tried(syscall(SYS_request_key, "user", "py-portable-canary", NULL, 0));
}

static int load_bpf(void)
{
    return tried(syscall(SYS_bpf, 0 /* BPF_MAP_CREATE */, NULL, 0));
}

static int set_up_io_uring(void)
{
    return tried(syscall(425, 1, NULL));
}

static int open_vsock(void)
{
    return tried(socket(40 /* AF_VSOCK */, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int open_crypto(void)
{
    return tried(socket(38 /* AF_ALG */, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
}

static int open_userfault(void)
{
    return tried(syscall(SYS_userfaultfd, O_CLOEXEC | USER_MODE_ONLY));
}

static int open_perf_event(void)
{
    return tried(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
}

static int clone_user(void)
{
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    return tried(child);
}

static int clone3_user(void)
{
    unsigned long long arguments[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0};
    long child = syscall(435, arguments, sizeof arguments);
    if (child == 0)
        _exit(0);
    return tried(child);
}

static int list_fds(long pid)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%ld/fd", pid);
    DIR *list = opendir(path);
    if (!list)
        return errno;
    closedir(list);
    return 0;
}

static void tries(void)
{
    static const struct {
        const char *name;
        int (*action)(void);
    } all[] = {
        {"mount", mount_tmpfs},        {"mknod", make_device},
        {"chroot", change_root},       {"remount_root", remount_root},
        {"setuid_0", become_root},     {"ptrace_1", trace_first},
        {"nested_userns", nested},     {"nested_remount_root", nested_remount_root},
        {"clone_userns", clone_user},  {"clone3_userns", clone3_user},
        {"add_key", add_key},          {"keyctl", find_keyring},
        {"request_key", request_key},  {"bpf", load_bpf},
        {"io_uring", set_up_io_uring}, {"userfaultfd", open_userfault},
        {"vsock", open_vsock},         {"crypto_socket", open_crypto},
        {"perf_event", open_perf_event},
    };
    begin("tries");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        key(all[i].name);
        if (no_caps)
            printf("%d", in_child(all[i].action));
        else
            fputs("null", stdout);
    }
    number("fds_of_1", list_fds(1));
    number("fds_of_parent", list_fds(getppid()));
    number("kill_parent", getppid() > 0 ? tried(kill(getppid(), 0)) : ESRCH);
    end();
}

static int print_file(const char *path)
{
    char part[4096];
    struct stat st;
    ssize_t n = 0;
    /* A pipe would be waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno != ENOENT)
        return 1;
    if (fd >= 0) {
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
            return 1;
        while ((n = read(fd, part, sizeof part)) > 0)
            fwrite(part, 1, n, stdout);
        close(fd);
    }
    putchar(0);
    return n < 0;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc > 1) {
        int failed = 0;
        for (int i = 1; i < argc && !failed; i++)
            failed = print_file(argv[i]);
        return fflush(stdout) == 0 ? failed : 1;
    }
    putchar('{');
    number("canary", 1);
    /* Before anything is opened here. */
    inherited();
    identity();
    account();
    surroundings();
    tries();
    puts("}");
    return fflush(stdout) == 0 ? 0 : 1;
}
