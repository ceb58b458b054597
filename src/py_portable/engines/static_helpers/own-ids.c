/*
 * own-ids: what only the one who sets a sandbox up can do; started outside of it. It gives a build of real root ids of
 * its own, so that its root is nobody on the machine, covers the kernel's own files, and leaves the machine's root.
 *
 *   own-ids can FIRST COUNT PATH...
 *       whether the file systems of the PATHs can be shown with other owners; says why not, and exits 1.
 *   own-ids show FIRST COUNT [rw|ro|image SOURCE TARGET]... --
 *       shows each SOURCE at TARGET, which is made, as if the ids 0 to COUNT - 1 on the disk were FIRST and up. What
 *       is "ro" and lies on a file system that cannot be shown so keeps its owners: everybody may read it or nobody.
 *   own-ids cover FOLDER EMPTY [ro|no NAME]... --
 *       makes what FOLDER has of these read-only ("ro"), or hides it ("no"): a folder behind the folder EMPTY, a file
 *       behind /dev/null.
 *   own-ids start FIRST COUNT ROOT FOLDER PROGRAM [ARGUMENT...]
 *       starts PROGRAM in a user namespace whose ids 0 to COUNT - 1 are FIRST and up outside, as its root; with a
 *       COUNT of 0 in no new namespace. ROOT becomes / in a mount namespace of its own and what was / is unmounted;
 *       "-" leaves all as it is. FOLDER is where the program starts.
 *
 * The two maps are inverse to one another: root inside owns on the disk what belongs to 0 there, and what it writes
 * belongs to 0 there again, though outside it is FIRST. So owners need not be changed before or afterwards, and
 * nothing has to be given back when a build is killed. See user_namespaces(7) and mount_setattr(2), "ID-mapped mounts".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Not every compiler that builds this has the kernel's headers; the numbers are the same on all machines. */
#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_MOUNT_SETATTR 442
#define CLONE_TREE 1u
#define TREE_CLOEXEC O_CLOEXEC
#define RECURSIVE 0x8000
#define FROM_EMPTY_PATH 4u
#define ATTR_RDONLY 1u
#define ATTR_NOSUID 2u
#define ATTR_NODEV 4u
#define ATTR_IDMAP 0x100000u

struct mount_attributes {
    uint64_t set, clear, propagation, userns;
};

enum { FAILED = 1, OWN_FAILURE = 125 };

static _Noreturn void fail(const char *what, const char *where)
{
    fprintf(stderr, "own-ids: %s%s%s: %s\n", what, *where ? " " : "", where, strerror(errno));
    exit(OWN_FAILURE);
}

static unsigned long number(const char *text)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || value > UINT32_MAX) {
        errno = EINVAL;
        fail("reading the number", text);
    }
    return value;
}

static void write_map(int process, const char *name, unsigned long first, unsigned long count)
{
    char line[64];
    int size = snprintf(line, sizeof line, "0 %lu %lu\n", first, count);
    int fd = openat(process, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, line, size) != size)
        fail("writing", name);
    close(fd);
}

/* By its folder in /proc, not by its pid: the /proc of here may belong to an outer process namespace. */
static void write_maps(int process, unsigned long first, unsigned long count)
{
    write_map(process, "gid_map", first, count);
    write_map(process, "uid_map", first, count);
}

static int own_folder(void)
{
    int fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        fail("opening", "/proc/self");
    return fd;
}

static void await(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            fail("waiting", "");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        exit(OWN_FAILURE); /* it has said why */
}

static void signal_byte(int fd)
{
    if (write(fd, "", 1) != 1)
        fail("writing to", "a pipe");
}

static bool wait_byte(int fd)
{
    char byte;
    ssize_t n;
    while ((n = read(fd, &byte, 1)) < 0 && errno == EINTR)
        continue;
    return n == 1;
}

/* Its folder in /proc and the namespace, from the process that made it, which then waits for the end of the line. */
static void hand_over(int line)
{
    char room[CMSG_SPACE(2 * sizeof(int))] = {0}, byte = 0;
    int fds[2] = {own_folder(), -1};
    if (unshare(CLONE_NEWUSER) < 0)
        fail("making", "a user namespace");
    if ((fds[1] = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC)) < 0)
        fail("opening", "/proc/self/ns/user");
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(head), fds, sizeof fds);
    if (sendmsg(line, &message, MSG_NOSIGNAL) != 1)
        fail("handing over", "a user namespace");
    wait_byte(line);
    _exit(0);
}

/* A user namespace with the map, that nobody lives in. */
static int namespace(unsigned long first, unsigned long count)
{
    char room[CMSG_SPACE(2 * sizeof(int))] = {0}, byte;
    int line[2], fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) < 0)
        fail("making", "a pair of sockets");
    pid_t child = fork();
    if (child < 0)
        fail("starting", "a process");
    if (child == 0) {
        close(line[0]);
        hand_over(line[1]);
    }
    close(line[1]);
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    if (recvmsg(line[0], &message, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&message))
        exit(OWN_FAILURE); /* it has said why */
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fds);
    write_maps(fds[0], first, count);
    close(fds[0]);
    close(line[0]);
    await(child);
    return fds[1];
}

/* A copy of the mounts at `path` that nobody sees yet. */
static int copy_of(const char *path)
{
    int fd = syscall(NR_OPEN_TREE, AT_FDCWD, path, CLONE_TREE | TREE_CLOEXEC | RECURSIVE);
    if (fd < 0)
        fail("copying the mount of", path);
    return fd;
}

static int change(int tree, uint64_t set, int userns)
{
    struct mount_attributes attributes = {.set = set, .userns = userns < 0 ? 0 : userns};
    return syscall(NR_MOUNT_SETATTR, tree, "", AT_EMPTY_PATH | RECURSIVE, &attributes, sizeof attributes);
}

static int can(unsigned long first, unsigned long count, char **paths)
{
    int ids = namespace(first, count);
    for (; *paths; paths++) {
        int tree = copy_of(*paths);
        if (change(tree, ATTR_IDMAP, ids) < 0) {
            fprintf(stderr, "the file system of %s cannot be shown with other owners (%s)\n", *paths, strerror(errno));
            return FAILED;
        }
        close(tree);
    }
    return 0;
}

/* Whether `size` more words come before the "--". */
static bool goes_on(char **words, int size)
{
    if (words[0] && strcmp(words[0], "--") == 0)
        return false;
    for (int i = 0; i < size; i++)
        if (!words[i]) {
            errno = EINVAL;
            fail("reading", "the words");
        }
    return true;
}

static void make_target(int source, const char *target)
{
    struct stat st;
    if (fstat(source, &st) < 0)
        fail("looking at what is shown at", target);
    if (S_ISDIR(st.st_mode)) {
        if (mkdir(target, 0755) < 0 && errno != EEXIST)
            fail("making", target);
    } else {
        int fd = open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
        if (fd < 0)
            fail("making", target);
        close(fd);
    }
}

static int show(unsigned long first, unsigned long count, char **words)
{
    int ids = namespace(first, count);
    for (; goes_on(words, 3); words += 3) {
        bool writable = strcmp(words[0], "rw") == 0;
        int tree = copy_of(words[1]);
        if (change(tree, ATTR_IDMAP, ids) < 0 && strcmp(words[0], "ro") != 0)
            fail("changing the owners of", words[1]);
        if (change(tree, ATTR_NOSUID | ATTR_NODEV | (writable ? 0 : ATTR_RDONLY), -1) < 0)
            fail("closing the mount of", words[1]);
        make_target(tree, words[2]);
        if (syscall(NR_MOVE_MOUNT, tree, "", AT_FDCWD, words[2], FROM_EMPTY_PATH) < 0)
            fail("mounting at", words[2]);
        close(tree);
    }
    return 0;
}

static int cover(const char *place, const char *empty, char **words)
{
    for (; goes_on(words, 2); words += 2) {
        char path[4200];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", place, words[1]);
        if (lstat(path, &st) < 0)
            continue;
        const char *shown = strcmp(words[0], "ro") == 0 ? path : S_ISDIR(st.st_mode) ? empty : "/dev/null";
        if (mount(shown, path, NULL, MS_BIND, NULL) < 0 ||
            mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
            fail("covering", path);
    }
    return 0;
}

/* Pipes that /dev/stdout and /dev/stderr lead to can be opened by their owner only. */
static void give_pipes(unsigned long to)
{
    struct stat st;
    for (int fd = 1; fd <= 2; fd++)
        if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) && st.st_uid == geteuid() && fchown(fd, to, to) < 0)
            fail("giving away", "a pipe");
}

static void become_root_of_own_ids(unsigned long first, unsigned long count, int spaces)
{
    int ready[2];
    give_pipes(first);
    if (pipe2(ready, O_CLOEXEC) < 0)
        fail("making", "a pipe");
    int process = own_folder();
    pid_t child = fork();
    if (child < 0)
        fail("starting", "a process");
    if (child == 0) {
        close(ready[1]);
        if (!wait_byte(ready[0]))
            _exit(OWN_FAILURE);
        write_maps(process, first, count);
        _exit(0);
    }
    close(ready[0]);
    if (unshare(CLONE_NEWUSER | spaces) < 0)
        fail("making", "a user namespace");
    signal_byte(ready[1]);
    await(child);
    close(process);
    close(ready[1]);
    if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, 0, 0, 0) < 0 ||
        syscall(SYS_setresuid, 0, 0, 0) < 0)
        fail("becoming", "root of the namespace");
    /* The change of identity has cleared it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        fail("asking for", "the signal at the caller's death");
}

/* What was / before is not hidden but gone: there is no way back to it. See pivot_root(2), "pivot_root(".", ".")". */
static void change_root(const char *root)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        fail("closing", "the mounts");
    /* In a namespace of fewer rights the mounts that were inherited are locked; a copy is not. */
    if (mount(root, root, NULL, MS_BIND | MS_REC, NULL) < 0 || chdir(root) < 0)
        fail("entering", root);
    if (syscall(SYS_pivot_root, ".", ".") < 0)
        fail("changing the root to", root);
    if (umount2(".", MNT_DETACH) < 0)
        fail("leaving", "the machine's root");
}

/* cell-run does it too, but not everything that is started here is under cell-run. */
static void leave_keyring(void)
{
    if (syscall(SYS_keyctl, 1 /* JOIN_SESSION_KEYRING */, NULL) < 0 && errno != EPERM && errno != ENOSYS)
        fail("leaving", "the caller's session keyring");
}

static int start(unsigned long first, unsigned long count, char **words)
{
    const char *root = words[0], *folder = words[1];
    bool pivots = strcmp(root, "-") != 0;
    int spaces = pivots ? CLONE_NEWNS : 0;
    leave_keyring();
    if (count > 0)
        become_root_of_own_ids(first, count, spaces);
    else if (spaces && unshare(spaces) < 0)
        fail("making", "a mount namespace");
    if (pivots)
        change_root(root);
    if (chdir(folder) < 0)
        fail("entering", folder);
    execvp(words[2], words + 2);
    fail("starting", words[2]);
}

int main(int argc, char **argv)
{
    if (argc >= 5 && strcmp(argv[1], "cover") == 0)
        return cover(argv[2], argv[3], argv + 4);
    if (argc >= 5) {
        unsigned long first = number(argv[2]), count = number(argv[3]);
        if (strcmp(argv[1], "can") == 0)
            return can(first, count, argv + 4);
        if (strcmp(argv[1], "show") == 0)
            return show(first, count, argv + 4);
        if (strcmp(argv[1], "start") == 0 && argc >= 7)
            return start(first, count, argv + 4);
    }
    fprintf(stderr, "own-ids: own-ids can|show|start FIRST COUNT ..., or cover FOLDER EMPTY ...\n");
    return OWN_FAILURE;
}
