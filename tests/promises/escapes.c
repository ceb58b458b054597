/*
 * A build that means harm, started as root inside: it does what the hostile review did, and more. One line a try:
 * "NAME STATUS", 0 for one that succeeded, else the errno (or 1000 for one that came to nothing).
 *
 *   escapes FOLDER HIDDEN PORT SOCKET
 *
 * FOLDER: one that it may write. HIDDEN: a file of the caller that is none of its inputs. PORT: of 127.0.0.1, where the
 * machine listens. SOCKET: the name of an abstract socket of the machine.
 *
 * Where a try succeeds it does no harm: what is written to a setting of the kernel is what stood there before.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOTHING = 1000 };

static const char *folder, *hidden, *name_of_socket;
static int port;

static int of(long result) { return result < 0 ? errno : 0; }

/* Write back what stands there. */
static int rewrite(const char *path)
{
    char text[4096];
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno;
    ssize_t size = read(fd, text, sizeof text);
    int error = size < 0 ? errno : of(pwrite(fd, text, size, 0));
    close(fd);
    return error;
}

static int opened(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return fd < 0 ? errno : close(fd);
}

static int core_pattern(void) { return rewrite("/proc/sys/kernel/core_pattern"); }
static int modprobe(void) { return rewrite("/proc/sys/kernel/modprobe"); }
static int poweroff(void) { return rewrite("/proc/sys/kernel/poweroff_cmd"); }
static int sysrq(void) { return opened("/proc/sysrq-trigger", O_WRONLY); }
static int binfmt(void) { return opened("/proc/sys/fs/binfmt_misc/register", O_WRONLY); }
static int uevent(void) { return opened("/sys/kernel/uevent_helper", O_WRONLY); }
static int affinity(void) { return rewrite("/proc/irq/default_smp_affinity"); }
static int kmsg(void) { return opened("/dev/kmsg", O_RDONLY); }
static int mem(void) { return opened("/dev/mem", O_RDONLY); }

static int kcore(void)
{
    char byte;
    int fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? errno : read(fd, &byte, 1) == 1 ? 0 : NOTHING;
}

/* A program of ours for the kernel to start, after /proc/sys was made writable again in every way there is. */
static int uncover(int how)
{
    switch (how) {
    case 0: return mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL) < 0 ? errno : core_pattern();
    case 1: return umount2("/proc/sys", MNT_DETACH) < 0 ? errno : core_pattern();
    case 2: return mount("proc", folder, "proc", 0, NULL) < 0 ? errno : core_pattern();
    case 3: return unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 ? errno : uncover(0) && uncover(1);
    default: return unshare(CLONE_NEWNS) < 0 ? errno : uncover(0) && uncover(1);
    }
}
static int uncover_remount(void) { return uncover(0); }
static int uncover_umount(void) { return uncover(1); }
static int uncover_mount(void) { return uncover(2); }
static int uncover_nested(void) { return uncover(3); }
static int uncover_space(void) { return uncover(4); }

static int clone3_users(void)
{
    uint64_t words[11] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD};
    long child = syscall(435, words, sizeof words);
    if (child == 0)
        _exit(0);
    return child < 0 ? errno : 0;
}

static int device(mode_t kind, int major, int minor)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/device", folder);
    unlink(path);
    if (mknod(path, kind | 0600, makedev(major, minor)) < 0)
        return errno;
    return unlink(path);
}
static int disk(void) { return device(S_IFBLK, 254, 0); }
static int loop(void) { return device(S_IFBLK, 7, 0); }
static int memory(void) { return device(S_IFCHR, 1, 1); }

/* The old way out of a chroot. */
static int leave_chroot(void)
{
    char place[4096];
    snprintf(place, sizeof place, "%s/cage", folder);
    mkdir(place, 0755);
    int out = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = of(chroot(place));
    rmdir(place);
    if (error)
        return error;
    fchdir(out);
    for (int i = 0; i < 100; i++)
        chdir("..");
    return of(chroot(".")) ? errno : opened(hidden, O_RDONLY);
}

static int climb(void)
{
    char path[8192] = "";
    for (int i = 0; i < 60; i++)
        strcat(path, "../");
    strcat(path, hidden + 1);
    chdir(folder);
    return opened(path, O_RDONLY);
}

static int file_of_caller(void) { return opened(hidden, O_RDONLY); }

static int through_processes(void)
{
    DIR *proc = opendir("/proc");
    int error = NOTHING;
    for (struct dirent *entry; proc && (entry = readdir(proc));) {
        char path[8192];
        if (!isdigit((unsigned char)*entry->d_name))
            continue;
        snprintf(path, sizeof path, "/proc/%s/root%s", entry->d_name, hidden);
        if (opened(path, O_RDONLY) == 0)
            error = 0;
    }
    return error;
}

static int by_handle(void)
{
    struct {
        unsigned bytes;
        int type;
        unsigned char handle[128];
    } room = {8, 1, {2, 0, 0, 0, 0, 0, 0, 0}}; /* inode 2: the root of an ext4 */
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return of(syscall(SYS_open_by_handle_at, fd, &room, O_RDONLY));
}

static int trace_first(void) { return getpid() == 1 ? NOTHING : of(ptrace(PTRACE_SEIZE, 1, NULL, NULL)); }
static int module(void) { return of(syscall(SYS_init_module, "", 0, "")) == ENOEXEC ? 0 : errno; }
static int kexec(void) { return of(syscall(SYS_kexec_load, 0, 0, NULL, 0xffff)) == EINVAL ? 0 : errno; }

static int program_in_kernel(void)
{
    struct {
        uint32_t type, key, value, entries, more[28];
    } map = {2, 4, 4, 1, {0}};
    return of(syscall(SYS_bpf, 0, &map, sizeof map));
}

static int plant_key(void)
{
    return of(syscall(SYS_add_key, "user", "py-portable-escape", "x", 1, -3 /* the session's keyring */));
}

static int read_keys(void) { return of(syscall(SYS_keyctl, 11 /* READ */, -3, NULL, 0)); }
static int io_uring(void)
{
    char room[256] = {0};
    return of(syscall(425, 1, room));
}

static int connect_loopback(void)
{
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(port)};
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return of(connect(fd, (struct sockaddr *)&there, sizeof there));
}

static int connect_abstract(void)
{
    struct sockaddr_un there = {.sun_family = AF_UNIX};
    strncpy(there.sun_path + 1, name_of_socket, sizeof there.sun_path - 2);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return of(connect(fd, (struct sockaddr *)&there,
                      sizeof(sa_family_t) + 1 + strlen(name_of_socket)));
}

static int packets(void) { return of(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)); }
static int vsock(void) { return of(socket(40, SOCK_STREAM | SOCK_CLOEXEC, 0)); }
static int hostname(void) { return of(sethostname("taken", 5)); }

static const struct {
    const char *name;
    int (*action)(void);
} ALL[] = {
    {"core_pattern", core_pattern},
    {"modprobe", modprobe},
    {"poweroff", poweroff},
    {"sysrq", sysrq},
    {"binfmt", binfmt},
    {"uevent", uevent},
    {"affinity", affinity},
    {"kmsg", kmsg},
    {"mem", mem},
    {"kcore", kcore},
    {"uncover_remount", uncover_remount},
    {"uncover_umount", uncover_umount},
    {"uncover_mount", uncover_mount},
    {"uncover_nested", uncover_nested},
    {"uncover_space", uncover_space},
    {"clone3_users", clone3_users},
    {"disk", disk},
    {"loop", loop},
    {"memory", memory},
    {"leave_chroot", leave_chroot},
    {"climb", climb},
    {"file_of_caller", file_of_caller},
    {"through_processes", through_processes},
    {"by_handle", by_handle},
    {"trace_first", trace_first},
    {"module", module},
    {"kexec", kexec},
    {"program_in_kernel", program_in_kernel},
    {"plant_key", plant_key},
    {"read_keys", read_keys},
    {"io_uring", io_uring},
    {"connect_loopback", connect_loopback},
    {"connect_abstract", connect_abstract},
    {"packets", packets},
    {"vsock", vsock},
    {"hostname", hostname},
};

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    folder = argv[1], hidden = argv[2], port = atoi(argv[3]), name_of_socket = argv[4];
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        fflush(stdout);
        int ends[2], status = NOTHING;
        pipe(ends);
        pid_t child = fork();
        if (child == 0) {
            int found = ALL[i].action();
            write(ends[1], &found, sizeof found);
            _exit(0);
        }
        close(ends[1]);
        if (read(ends[0], &status, sizeof status) != sizeof status)
            status = NOTHING; /* it was killed: a filter's way to refuse */
        close(ends[0]);
        waitpid(child, NULL, 0);
        printf("%s %d\n", ALL[i].name, status);
    }
    return 0;
}
