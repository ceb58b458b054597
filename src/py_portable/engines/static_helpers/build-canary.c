/*
 * build-canary: started exactly as a build step would be, it tries what a build must not be able to do, and prints one
 * JSON object of what came of it.
 *
 *   build-canary FOLDER HIDDEN KEYRING
 *
 * FOLDER: one that it may write. HIDDEN: the path of a file of the caller that is none of its inputs. KEYRING: the
 * serial number of the caller's session keyring, or 0.
 *
 * It judges nothing. It runs with the rights of a build, so that every try has to be harmless where it succeeds: files
 * of the kernel are opened and never written, what is made is removed, calls that would change the machine are given
 * arguments that the kernel refuses after it has looked at the rights, and mounts are tried only where they are the
 * process's own, or where it has no right to mount. A try is reported as its errno, 0 for success.
 *
 * Static, no NSS, iconv or locale.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* Not every compiler that builds this has the kernel's headers. */
#define NR_OPEN_TREE 428
#define NR_FSOPEN 430
#define NR_IO_URING_SETUP 425
#define KEYCTL_GET_KEYRING_ID 0
#define KEYCTL_DESCRIBE 6
#define SESSION_KEYRING (-3)
#ifndef AF_VSOCK
#define AF_VSOCK 40
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

static const char *folder = "/out", *hidden = "";
static long keyring;
static pid_t supervisor;
static bool first = true, has_admin = true;

/* ---- JSON ---- */

static void string(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        unsigned char c = *text;
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
    if (!first)
        fputs(", ", stdout);
    string(name);
    fputs(": ", stdout);
    first = false;
}

static void text(const char *name, const char *value)
{
    key(name);
    if (value)
        string(value);
    else
        fputs("null", stdout);
}

static void number(const char *name, long long value)
{
    key(name);
    printf("%lld", value);
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

/* ---- tries ---- */

static int tried(long result)
{
    return result < 0 ? errno : 0;
}

static int try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int error = tried(fd);
    if (fd >= 0)
        close(fd);
    return error;
}

/* ENODATA for a file that can be opened and gives nothing, such as /dev/null in its place. */
static int try_read(const char *path)
{
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno;
    ssize_t n = read(fd, &byte, 1);
    int error = n < 0 ? errno : n == 0 ? ENODATA : 0;
    close(fd);
    return error;
}

static int try_list(const char *path)
{
    DIR *list = opendir(path);
    if (!list)
        return errno;
    int error = ENODATA;
    for (struct dirent *entry; (entry = readdir(list));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            error = 0;
    closedir(list);
    return error;
}

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

static int try_to_read(const char *path)
{
    return try_open(path, O_RDONLY);
}

static void each(const char *name, const char *const *paths, int (*action)(const char *))
{
    begin(name);
    for (; *paths; paths++)
        number(*paths, action(*paths));
    end();
}

static int try_write(const char *path)
{
    return try_open(path, O_WRONLY);
}

/* ---- what it is ---- */

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

static void identity(void)
{
    static const char *const names[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"};
    char status[8192], map[4096];
    bool seen = read_text("/proc/self/status", status, sizeof status) != NULL;

    number("uid", getuid());
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char wanted[24], value[40] = "";
        snprintf(wanted, sizeof wanted, "\n%s:", names[i]);
        char *at = seen ? strstr(status, wanted) : NULL;
        bool found = at && sscanf(at + strlen(wanted), " %39s", value) == 1;
        text(names[i], found ? value : NULL);
        if (strcmp(names[i], "CapEff") == 0)
            has_admin = !found || (strtoull(value, NULL, 16) >> 21 & 1);
    }
    text("uid_map", read_text("/proc/self/uid_map", map, sizeof map));
    text("gid_map", read_text("/proc/self/gid_map", map, sizeof map));
    struct statvfs root;
    number("nosuid", statvfs("/", &root) == 0 ? (root.f_flag & ST_NOSUID) != 0 : -1);
}

/* ---- the kernel's own files ---- */

static const char *const WRITTEN[] = {
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug",
    "/proc/sys/kernel/poweroff_cmd", "/proc/sys/kernel/randomize_va_space", "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/yama/ptrace_scope", "/proc/sys/vm/overcommit_memory", "/proc/sys/vm/panic_on_oom",
    "/proc/sys/fs/suid_dumpable", "/proc/sys/fs/protected_symlinks", "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/acpi/wakeup", "/proc/scsi/scsi", "/sys/kernel/uevent_helper", "/sys/kernel/mm/ksm/run",
    "/sys/module/core/parameters/x", "/sys/power/state", "/sys/fs/cgroup/release_agent",
    "/sys/fs/cgroup/memory/release_agent", "/sys/kernel/security/apparmor/.load", "/sys/firmware/efi/efivars",
    NULL,
};
static const char *const READ[] = {
    "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/timer_stats", "/proc/latency_stats", "/proc/sched_debug",
    NULL,
};
/* To read these would take something away from somebody, or touch a device. */
static const char *const OPENED[] = {
    "/proc/kmsg", "/dev/kmsg", "/dev/mem", "/dev/kmem", "/dev/port", "/dev/nvram", NULL,
};
static const char *const LISTED[] = {
    "/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap", "/sys/kernel/debug",
    "/sys/kernel/tracing", NULL,
};

/* ---- devices ---- */

static int make_device(mode_t kind, unsigned major, unsigned minor)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/.canary-dev-%d", folder, (int)getpid());
    if (mknod(path, kind | 0600, makedev(major, minor)) < 0)
        return errno;
    unlink(path);
    return 0;
}

static int make_loop(void) { return make_device(S_IFBLK, 7, 0); }
static int make_disk(void) { return make_device(S_IFBLK, 254, 0); }
static int make_mem(void) { return make_device(S_IFCHR, 1, 1); }

static int disks(void)
{
    int count = 0;
    DIR *list = opendir("/dev");
    if (!list)
        return 0;
    for (struct dirent *entry; (entry = readdir(list));) {
        struct stat st;
        if (fstatat(dirfd(list), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISBLK(st.st_mode))
            count++;
    }
    closedir(list);
    return count;
}

/* ---- mounts, roots, namespaces ---- */

/* Where the mounts are still everybody's here, whoever could change them must not. */
static bool alone(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static int harmlessly(int (*action)(void))
{
    return alone() || !has_admin ? action() : 0;
}

static int do_tmpfs(void) { return tried(mount("canary", folder, "tmpfs", 0, NULL)); }
static int do_proc(void) { return tried(mount("canary", folder, "proc", 0, NULL)); }
static int do_sysfs(void) { return tried(mount("canary", folder, "sysfs", 0, NULL)); }
static int do_bind(void) { return tried(mount("/", folder, NULL, MS_BIND, NULL)); }
static int do_umount_proc_sys(void) { return tried(umount2("/proc/sys", MNT_DETACH)); }
static int do_umount_proc(void) { return tried(umount2("/proc", MNT_DETACH)); }
static int do_pivot(void) { return tried(syscall(SYS_pivot_root, ".", ".")); }

static int mount_tmpfs(void) { return harmlessly(do_tmpfs); }
static int mount_proc(void) { return harmlessly(do_proc); }
static int mount_sysfs(void) { return harmlessly(do_sysfs); }
static int bind_root(void) { return harmlessly(do_bind); }
static int umount_proc_sys(void) { return harmlessly(do_umount_proc_sys); }
static int umount_proc(void) { return harmlessly(do_umount_proc); }
static int pivot(void) { return harmlessly(do_pivot); }
static int open_tree(void) { return tried(syscall(NR_OPEN_TREE, AT_FDCWD, "/", 1)); }
static int open_fs(void) { return tried(syscall(NR_FSOPEN, "tmpfs", 0)); }
static int change_root(void) { return tried(chroot("/")); }

static int remount(const char *path)
{
    int plain = tried(mount(NULL, path, NULL, MS_REMOUNT, NULL));
    return plain ? tried(mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL)) : 0;
}

static int do_remount_root(void) { return remount("/"); }
static int do_remount_proc_sys(void) { return remount("/proc/sys"); }
static int remount_root(void) { return harmlessly(do_remount_root); }
static int remount_proc_sys(void) { return harmlessly(do_remount_proc_sys); }

static int in_new(int spaces) { return tried(unshare(spaces)); }
static int new_users(void) { return in_new(CLONE_NEWUSER); }
static int new_mounts(void) { return in_new(CLONE_NEWNS); }
static int new_net(void) { return in_new(CLONE_NEWNET); }
static int new_pids(void) { return in_new(CLONE_NEWPID); }
static int new_cgroup(void) { return in_new(CLONE_NEWCGROUP); }

static int clone_users(void)
{
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    if (child < 0)
        return errno;
    waitpid(child, NULL, 0);
    return 0;
}

static int enter_of_first(void)
{
    int fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? errno : tried(setns(fd, CLONE_NEWNS));
}

/* The machine's root by its inode number, as file systems count: what is bound lies on the machine's own disk. */
static int open_by_handle(void)
{
    struct {
        unsigned bytes;
        int type;
        unsigned char handle[128];
    } room = {.bytes = 128};
    int mount_id, fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    if (syscall(SYS_name_to_handle_at, fd, "", &room, &mount_id, AT_EMPTY_PATH) < 0)
        return errno;
    return tried(syscall(SYS_open_by_handle_at, fd, &room, O_RDONLY | O_CLOEXEC));
}

/* ---- what the kernel does for the privileged ---- */

static int load_module(void) { return tried(syscall(SYS_init_module, "", 0, "")); }
static int load_module_file(void) { return tried(syscall(SYS_finit_module, -1, "", 0)); }
static int remove_module(void) { return tried(syscall(SYS_delete_module, "py_portable_canary", O_NONBLOCK)); }
static int load_kernel(void) { return tried(syscall(SYS_kexec_load, 0, 0, NULL, 0xffff)); }
static int swap(void) { return tried(syscall(SYS_swapoff, folder)); }
static int account(void) { return tried(syscall(SYS_acct, folder)); }

static int bpf(void)
{
    struct {
        uint32_t type, key_size, value_size, entries, flags, more[27];
    } wanted = {2, 4, 4, 1, 0, {0}};
    return tried(syscall(SYS_bpf, 0, &wanted, sizeof wanted));
}

static int perf(void)
{
    struct {
        uint32_t type, size;
        uint64_t config, more[14];
    } wanted = {1, 128, 0, {0}};
    return tried(syscall(SYS_perf_event_open, &wanted, -1, 0, -1, 0));
}

static int io_uring(void)
{
    uint32_t wanted[64] = {0};
    return tried(syscall(NR_IO_URING_SETUP, 1, wanted));
}

static int page_faults(void) { return tried(syscall(SYS_userfaultfd, 0)); }
static int vsock(void) { return tried(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0)); }
static int packets(void) { return tried(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)); }
static int raw(void) { return tried(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP)); }

static int kernel_log(void)
{
    char some[64];
    return tried(klogctl(3, some, sizeof some));
}

/* ---- keyrings ---- */

static int own_keyring(void)
{
    return tried(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, SESSION_KEYRING, 0));
}

static int callers_keyring(void)
{
    char name[256];
    if (keyring && syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, SESSION_KEYRING, 0) == keyring)
        return 0;
    return keyring ? tried(syscall(SYS_keyctl, KEYCTL_DESCRIBE, keyring, name, sizeof name)) : ENOKEY;
}

static int ask_for_key(void)
{
    int error = tried(syscall(SYS_request_key, "user", "py-portable-canary", NULL, 0));
    return error == ENOKEY ? 0 : error; /* the kernel looked: the call is open */
}

/* ---- setuid ---- */

static int mode_of_setuid(void)
{
    char path[4200];
    struct stat st;
    snprintf(path, sizeof path, "%s/.canary-setuid-%d", folder, (int)getpid());
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0700);
    if (fd < 0)
        return -1;
    bool made = fchmod(fd, 04755) == 0 && fstat(fd, &st) == 0;
    close(fd);
    unlink(path);
    return made ? (int)(st.st_mode & 06000) : 0;
}

/* ---- the caller ---- */

/* The file itself, and by the roots and working folders of every process that is seen. */
static int find_hidden(void)
{
    if (!*hidden)
        return ENOENT;
    int error = try_open(hidden, O_RDONLY);
    DIR *proc = opendir("/proc");
    if (!proc)
        return error;
    for (struct dirent *entry; error && (entry = readdir(proc));) {
        char path[8400];
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        snprintf(path, sizeof path, "/proc/%.20s/root%s", entry->d_name, hidden);
        if (try_open(path, O_RDONLY) == 0)
            error = 0;
        snprintf(path, sizeof path, "/proc/%.20s/cwd/../../../../../../../../..%s", entry->d_name, hidden);
        if (try_open(path, O_RDONLY) == 0)
            error = 0;
    }
    closedir(proc);
    return error;
}

/* What started it is under no filter, and neither may be what is process 1. */
static int trace_first(void) { return tried(ptrace(PTRACE_SEIZE, 1, NULL, NULL)); }
static int trace_supervisor(void) { return tried(ptrace(PTRACE_SEIZE, supervisor, NULL, NULL)); }
static int write_first(void) { return try_open("/proc/1/mem", O_RDWR); }

static int write_supervisor(void)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/mem", (int)supervisor);
    return try_open(path, O_RDWR);
}

static int processes(void)
{
    int count = 0;
    DIR *proc = opendir("/proc");
    if (!proc)
        return -1;
    for (struct dirent *entry; (entry = readdir(proc));)
        count += isdigit((unsigned char)entry->d_name[0]) != 0;
    closedir(proc);
    return count;
}

/* A UDP connect sends nothing: it asks whether there is a route. */
static int route(void)
{
    struct sockaddr_in other = {.sin_family = AF_INET, .sin_port = htons(9)};
    other.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1, which is nobody's */
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? errno : tried(connect(fd, (struct sockaddr *)&other, sizeof other));
}

static void interfaces(void)
{
    static char devices[65536];
    char *line = read_text("/proc/net/dev", devices, sizeof devices);
    bool any = false;
    key("interfaces");
    putchar('[');
    for (line = line ? strtok(line, "\n") : NULL; line; line = strtok(NULL, "\n")) {
        char *colon = strchr(line, ':');
        if (!colon)
            continue;
        *colon = 0;
        if (any)
            fputs(", ", stdout);
        string(line + strspn(line, " "));
        any = true;
    }
    putchar(']');
}

static const struct {
    const char *name;
    int (*action)(void);
} TRIES[] = {
    {"make_loop", make_loop},
    {"make_disk", make_disk},
    {"make_mem", make_mem},
    {"mount_tmpfs", mount_tmpfs},
    {"mount_proc", mount_proc},
    {"mount_sysfs", mount_sysfs},
    {"bind_root", bind_root},
    {"open_tree", open_tree},
    {"open_fs", open_fs},
    {"umount_proc_sys", umount_proc_sys},
    {"umount_proc", umount_proc},
    {"remount_root", remount_root},
    {"remount_proc_sys", remount_proc_sys},
    {"chroot", change_root},
    {"pivot_root", pivot},
    {"open_by_handle", open_by_handle},
    {"new_users", new_users},
    {"clone_users", clone_users},
    {"new_mounts", new_mounts},
    {"new_net", new_net},
    {"new_pids", new_pids},
    {"new_cgroup", new_cgroup},
    {"setns_of_1", enter_of_first},
    {"load_module", load_module},
    {"load_module_file", load_module_file},
    {"remove_module", remove_module},
    {"load_kernel", load_kernel},
    {"swap", swap},
    {"account", account},
    {"bpf", bpf},
    {"perf", perf},
    {"io_uring", io_uring},
    {"page_faults", page_faults},
    {"vsock", vsock},
    {"packets", packets},
    {"raw", raw},
    {"kernel_log", kernel_log},
    {"own_keyring", own_keyring},
    {"callers_keyring", callers_keyring},
    {"ask_for_key", ask_for_key},
    {"trace_1", trace_first},
    {"trace_supervisor", trace_supervisor},
    {"memory_of_1", write_first},
    {"memory_of_supervisor", write_supervisor},
    {"hidden", find_hidden},
    {"route", route},
};

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("build-canary: build-canary FOLDER HIDDEN KEYRING\n", stderr);
        return 2;
    }
    folder = argv[1];
    hidden = argv[2];
    keyring = atol(argv[3]);
    supervisor = getppid();
    signal(SIGPIPE, SIG_IGN);
    putchar('{');
    number("build_canary", 1);
    identity();
    each("write", WRITTEN, try_write);
    each("read", READ, try_read);
    each("open", OPENED, try_to_read);
    each("list", LISTED, try_list);
    number("disks", disks());
    number("setuid", mode_of_setuid());
    number("processes", processes());
    interfaces();
    begin("tries");
    for (size_t i = 0; i < sizeof TRIES / sizeof *TRIES; i++)
        number(TRIES[i].name, in_child(TRIES[i].action));
    end();
    puts("}");
    return fflush(stdout) == 0 ? 0 : 1;
}
