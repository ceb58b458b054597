/* The apps of test_engines.py: mischief MODE [TOKEN]; TOKEN only makes its processes findable. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *token = "";

static void stubborn(void)
{
    for (int s = 1; s < 32; s++)
        signal(s, SIG_IGN);
    for (;;)
        pause();
}

static void daemonize(void)
{
    if (fork() == 0) {
        setsid();
        for (int i = 0; i < 3; i++)
            if (fork() == 0) {
                setsid();
                stubborn();
            }
        _exit(0);
    }
    wait(NULL);
}

static void won(const char *what, const char *path)
{
    printf("%s %s\n", what, path);
    fflush(stdout);
}

static void spoil(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND);
    if (fd >= 0) {
        if (write(fd, "spoilt", 6) == 6)
            won("wrote", path);
        close(fd);
    }
    if (chmod(path, 0777) == 0)
        won("chmod", path);
    if (unlink(path) == 0)
        won("unlink", path);
}

static void make_in(const char *folder)
{
    char path[512];
    snprintf(path, sizeof path, "%s/spoilt", folder);
    int fd = open(path, O_CREAT | O_WRONLY, 0666);
    if (fd >= 0) {
        won("made", path);
        close(fd);
    }
    snprintf(path, sizeof path, "%s/device", folder);
    if (mknod(path, S_IFBLK | 0666, makedev(254, 0)) == 0) {
        fd = open(path, O_RDWR);
        won(fd >= 0 ? "opened-device" : "device", path);
    }
}

static void remount(const char *path)
{
    if (mount(NULL, path, NULL, MS_REMOUNT, NULL) == 0)
        won("remounted", path);
    if (mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL) == 0)
        won("remounted-bind", path);
    if (umount2(path, MNT_DETACH) == 0)
        won("unmounted", path);
}

/* In every place that could lead to the stored image or to the artifact. */
static void attack(void)
{
    static const char *const places[] = {"/", "/bin", "/etc", "/app", "/run/py-portable", "/proc/1/root",
                                         "/proc/1/cwd", "/proc/self/root", "/sys", "/sys/lower"};
    static const char *const files[] = {"/bin/keep", "/etc/passwd", "/app/mischief",
                                        "/run/py-portable/cell-run"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        remount(places[i]);
        make_in(places[i]);
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        remount(files[i]);
        spoil(files[i]);
    }
}

static void map_self(unsigned uid, unsigned gid)
{
    char text[64];
    int fd = open("/proc/self/setgroups", O_WRONLY);
    if (fd >= 0 && write(fd, "deny", 4) > 0)
        close(fd);
    fd = open("/proc/self/uid_map", O_WRONLY);
    if (fd >= 0 && write(fd, text, snprintf(text, sizeof text, "0 %u 1", uid)) > 0)
        close(fd);
    fd = open("/proc/self/gid_map", O_WRONLY);
    if (fd >= 0 && write(fd, text, snprintf(text, sizeof text, "0 %u 1", gid)) > 0)
        close(fd);
}

static void nested(void)
{
    unsigned uid = getuid(), gid = getgid();
    if (fork() == 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) {
            map_self(uid, gid);
            attack();
        }
        _exit(0);
    }
    wait(NULL);
}

/* A record of its own, into everything that is open or can be opened. */
static void forge(void)
{
    static const char lie[] = "{\"record\": 1, \"stage\": \"ran\", \"errno\": 0, \"reached\": true, \"exec_errno\": 0, "
                              "\"exited\": 0, \"signal\": null, \"limit\": false, \"wall_ns\": 1, \"user_us\": 1, "
                              "\"sys_us\": 1, \"maxrss_kb\": 1, \"left_behind\": 0}\n";
    char path[600];
    for (int fd = 3; fd < 1024; fd++)
        if (write(fd, lie, sizeof lie - 1) > 0)
            won("inherited-fd", "");
    DIR *proc = opendir("/proc");
    for (struct dirent *p; proc && (p = readdir(proc));) {
        if (atoi(p->d_name) <= 0 || atoi(p->d_name) == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/%s/fd", p->d_name);
        DIR *fds = opendir(path);
        for (struct dirent *f; fds && (f = readdir(fds));) {
            if (atoi(f->d_name) <= 2)
                continue;
            snprintf(path, sizeof path, "/proc/%s/fd/%s", p->d_name, f->d_name);
            int fd = open(path, O_WRONLY | O_NONBLOCK);
            if (fd >= 0 && write(fd, lie, sizeof lie - 1) > 0)
                won("foreign-fd", path);
        }
        if (fds)
            closedir(fds);
        if (kill(atoi(p->d_name), SIGKILL) == 0)
            won("killed", p->d_name);
    }
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) < 0) {
        perror(path);
        exit(1);
    }
}

static void must(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

/* What an installation may do to a root: everything that a layer has to keep. */
static void spread(void)
{
    /* security.capability of revision 2: CAP_NET_RAW, permitted and effective (linux/capability.h). */
    static const unsigned char net_raw[20] = {1, 0, 0, 2, 0, 32};
    put("/etc/made", "made\n");
    must(chown("/etc/made", 5, 6), "chown");
    must(chmod("/etc/made", 04755), "chmod");
    put("/etc/passwd", "more:x:7:7::/:/none\n");
    must(unlink("/bin/keep"), "unlink");
    must(rmdir("/bin"), "rmdir");
    must(mkdir("/bin", 0750), "mkdir");
    put("/bin/new", "new\n");
    must(symlink("../etc/made", "/usr/link"), "symlink");
    must(link("/etc/made", "/usr/hard"), "link");
    put("/usr/a\nb", "odd\n");
    put("/usr/capable", "capable\n");
    must(setxattr("/usr/capable", "security.capability", net_raw, sizeof net_raw, 0), "setxattr");
}

/* After it, what it says of itself: a later job sees it, and may take some of it back. */
static void shrink(void)
{
    must(unlink("/etc/made"), "unlink");
    must(unlink("/usr/hard"), "unlink");
    must(unlink("/usr/a\nb"), "unlink");
    must(unlink("/bin/new"), "unlink");
    put("/usr/second", "second\n");
}

static void tell(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0) {
        printf("%s none\n", path);
        return;
    }
    char value[64];
    ssize_t capability = getxattr(path, "security.capability", value, sizeof value);
    printf("%s %o %u %u %u%s%s\n", path, st.st_mode, st.st_uid, st.st_gid, S_ISREG(st.st_mode) ? (unsigned)st.st_size : 0,
           capability > 0 ? " capable" : "", access(path, W_OK) == 0 ? " writable" : "");
}

static void look_around(void)
{
    static const char *const files[] = {"/bin",     "/bin/keep",  "/bin/new",     "/etc/made",
                                        "/etc/passwd", "/usr/hard", "/usr/capable", "/usr/link", "/usr/second"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        tell(files[i]);
    int fd = open("/etc/spoilt", O_CREAT | O_WRONLY, 0644);
    printf("/etc %s\n", fd >= 0 ? "written" : errno == EROFS ? "read-only" : "closed");
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    token = argc > 2 ? argv[2] : "";
    if (strcmp(mode, "hello") == 0) {
        puts("hello");
        return 0;
    }
    if (strcmp(mode, "seven") == 0)
        return 7;
    if (strcmp(mode, "crash") == 0)
        abort();
    if (strcmp(mode, "daemon") == 0) {
        daemonize();
        puts("started");
        return 0;
    }
    if (strcmp(mode, "hang") == 0) {
        daemonize();
        puts("hanging");
        fflush(stdout);
        stubborn();
    }
    if (strcmp(mode, "bomb") == 0) {
        for (int s = 1; s < 32; s++)
            signal(s, SIG_IGN);
        for (int i = 0; i < 6; i++)
            fork();
        for (;;) {
            usleep(20000);
            if (fork() != 0)
                _exit(0);
            setsid();
        }
    }
    if (strcmp(mode, "flood") == 0) {
        static char block[100000];
        memset(block, 0xff, sizeof block);
        for (int i = 0; i < 1000; i++)
            for (size_t done = 0; done < sizeof block;) {
                ssize_t n = write(1, block + done, sizeof block - done);
                if (n < 0)
                    return 1;
                done += n;
            }
        return 0;
    }
    if (strcmp(mode, "env") == 0) {
        extern char **environ;
        for (char **e = environ; *e; e++)
            puts(*e);
        for (int fd = 0; fd < 1024; fd++)
            if (fcntl(fd, F_GETFD) >= 0)
                printf("fd=%d\n", fd);
        printf("uid=%d\n", (int)getuid());
        return 0;
    }
    if (strcmp(mode, "output") == 0) {
        int fd = open("/out/made", O_CREAT | O_WRONLY, 0644);
        struct stat st;
        if (fd < 0 || fchown(fd, 1234, 1234) < 0 || fstat(fd, &st) < 0 || st.st_uid != 1234)
            return 1;
        return fchown(fd, 0, 0) < 0;
    }
    if (strcmp(mode, "spread") == 0) {
        spread();
        return 0;
    }
    if (strcmp(mode, "shrink") == 0) {
        shrink();
        return 0;
    }
    if (strcmp(mode, "fill") == 0) {
        static char block[1 << 20];
        int fd = open("/usr/full", O_CREAT | O_WRONLY, 0644);
        for (int i = 0; i < 4096; i++)
            if (write(fd, block, sizeof block) < 0)
                return errno == ENOSPC ? 28 : 1;
        return 0;
    }
    if (strcmp(mode, "look") == 0) {
        look_around();
        return 0;
    }
    if (strcmp(mode, "hostile") == 0) {
        attack();
        nested();
        forge();
        return 7;
    }
    return 64;
}
