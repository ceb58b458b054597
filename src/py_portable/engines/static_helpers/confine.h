/*
 * confine: what cell-run takes from itself and with it from all that it starts: the caller's keys, the system calls
 * that no cell and no build has a use for, and capabilities beyond those that were named.
 *
 * The filter is docker's (moby/profiles, seccomp/default.json), for capabilities that neither a cell nor a build
 * has. Docker's is a list of what is allowed, everything else is refused with EPERM. System calls are numbered
 * without gaps, so the same is said here by what is refused up to LAST, the last call that docker's list knows, and
 * by ENOSYS above it: a C library falls back from ENOSYS, and takes EPERM for the answer. What the kernel itself
 * refuses without a capability and has no history of holes (chroot) is left to the kernel.
 *
 * A program for another architecture of the same processor (i386, 32-bit arm) would number its calls otherwise and
 * walk past the list; docker filters it by a list of its own. Nothing that is built here is one, so its first call
 * ends it (SIGSYS). x32 calls get ENOSYS, as from a kernel that was built without them.
 */
#ifndef CONFINE_H
#define CONFINE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The kernel's own headers are not there for every compiler that builds this: these numbers never change. */
enum {
    JOIN_SESSION_KEYRING = 1, /* of keyctl(2) */
    SET_MODE_FILTER = 1,      /* of seccomp(2) */
    SPEC_ALLOW = 4,           /* of seccomp(2): do not slow the program down as if it sandboxed itself from itself */
    LAST = 466,               /* removexattrat */
    X32_BIT = 0x40000000,
    NEW_NAMESPACES = 0x7e020000, /* CLONE_NEW*, as clone(2) knows them */
    LAST_FAMILY = 45,            /* of sockets: AF_MCTP */
};

#if defined(__x86_64__)
#define ARCHITECTURE 0xc000003eu
#elif defined(__aarch64__)
#define ARCHITECTURE 0xc00000b7u
#endif

/* Little endian: the low half of a 64-bit argument comes first. */
struct call {
    int32_t number;
    uint32_t architecture;
    uint64_t instruction;
    uint64_t arguments[6];
};

struct instruction {
    uint16_t code;
    uint8_t yes, no;
    uint32_t value;
};

struct program {
    unsigned short size;
    struct instruction *instructions;
};

enum {
    LOAD = 0x20,     /* BPF_LD  | BPF_W   | BPF_ABS */
    EQUAL = 0x15,    /* BPF_JMP | BPF_JEQ | BPF_K */
    ABOVE = 0x25,    /* BPF_JMP | BPF_JGT | BPF_K */
    ANY_OF = 0x45,   /* BPF_JMP | BPF_JSET | BPF_K */
    RETURN = 0x06,   /* BPF_RET | BPF_K */
};

#define ALLOW 0x7fff0000u
#define END_PROCESS 0x80000000u /* SECCOMP_RET_KILL_PROCESS; before Linux 4.14 it ends the thread */
#define REFUSE(error) (0x00050000u | (error))

/* Calls from 424 on have one number everywhere; a C library may be older than they are. */
static const uint16_t refused[] = {
    /* keys: of the session, of the uid, and whoever else's they lead to */
    SYS_add_key, SYS_request_key, SYS_keyctl,
    /* mounts and namespaces */
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_setns, SYS_unshare, SYS_sethostname, SYS_setdomainname,
    428 /* open_tree */, 429 /* move_mount */, 430 /* fsopen */, 431 /* fsconfig */, 432 /* fsmount */,
    433 /* fspick */, 442 /* mount_setattr */,
    /* the machine */
    SYS_reboot, SYS_swapon, SYS_swapoff, SYS_acct, SYS_syslog, SYS_quotactl, 443 /* quotactl_fd */, SYS_vhangup,
    SYS_settimeofday, SYS_clock_settime, SYS_kexec_load, SYS_init_module, SYS_finit_module, SYS_delete_module,
    SYS_nfsservctl, SYS_lookup_dcookie,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
    /* much of the kernel for little of a program */
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_fanotify_init, SYS_open_by_handle_at, 425 /* io_uring_setup */,
    426 /* io_uring_enter */, 427 /* io_uring_register */, 459 /* lsm_get_self_attr */, 460 /* lsm_set_self_attr */,
    461 /* lsm_list_modules */,
    /* other processes, beyond ptrace */
    SYS_kcmp, 438 /* pidfd_getfd */, 440 /* process_madvise */, SYS_migrate_pages, SYS_move_pages, SYS_mbind,
    SYS_get_mempolicy, SYS_set_mempolicy, 450 /* set_mempolicy_home_node */,
#if defined(__x86_64__)
    SYS_uselib, SYS_ustat, SYS_sysfs, SYS__sysctl, SYS_iopl, SYS_ioperm, SYS_create_module, SYS_get_kernel_syms,
    SYS_query_module,
#endif
};

/* Of socket(2), up to LAST_FAMILY: DECnet, econet, ATM, wanpipe, IrDA and others that nobody loads, AF_ALG, AF_VSOCK. */
static const uint8_t refused_families[] = {12, 19, 20, 23, 25, 34, 37, 38, 40};

/* Of personality(2): Linux, Linux with 32-bit addresses, both as old uname has them, and the question what it is. */
static const uint32_t personalities[] = {0, 8, 0x20000, 0x20008, 0xffffffff};

enum { COUNT_REFUSED = sizeof refused / sizeof *refused };

static struct instruction filter[2 * COUNT_REFUSED + 64];
static unsigned short filter_size;

static void add(uint16_t code, uint32_t value, uint8_t yes, uint8_t no)
{
    filter[filter_size++] = (struct instruction){code, yes, no, value};
}

static void give(uint32_t answer)
{
    add(RETURN, answer, 0, 0);
}

/* Every rule about the number alone; the number stays loaded. */
static void give_if(uint16_t test, uint32_t value, uint32_t answer)
{
    add(test, value, 0, 1);
    give(answer);
}

/* What follows up to `answer_by_argument` is only for this call; `length` instructions, the last of which return. */
static void only_for(uint32_t number, uint8_t length)
{
    add(EQUAL, number, 0, length + 1);
    add(LOAD, offsetof(struct call, arguments[0]), 0, 0);
}

#ifdef ARCHITECTURE
static void make_filter(void)
{
    add(LOAD, offsetof(struct call, architecture), 0, 0);
    add(EQUAL, ARCHITECTURE, 1, 0);
    give(END_PROCESS);
    add(LOAD, offsetof(struct call, number), 0, 0);
    give_if(ABOVE, LAST, REFUSE(ENOSYS)); /* x32 calls among them: X32_BIT is above */
    for (size_t i = 0; i < COUNT_REFUSED; i++)
        give_if(EQUAL, refused[i], REFUSE(EPERM));
    /* Its flags lie in memory, which a filter cannot read. */
    give_if(EQUAL, 435 /* clone3 */, REFUSE(ENOSYS));

    only_for(SYS_clone, 3);
    give_if(ANY_OF, NEW_NAMESPACES, REFUSE(EPERM));
    give(ALLOW);

    size_t families = sizeof refused_families;
    only_for(SYS_socket, 2 * families + 3);
    give_if(ABOVE, LAST_FAMILY, REFUSE(EPERM));
    for (size_t i = 0; i < families; i++)
        give_if(EQUAL, refused_families[i], REFUSE(EPERM));
    give(ALLOW);

    size_t kinds = sizeof personalities / sizeof *personalities;
    only_for(SYS_personality, 2 * kinds + 1);
    for (size_t i = 0; i < kinds; i++)
        give_if(EQUAL, personalities[i], ALLOW);
    give(REFUSE(EPERM));

    give(ALLOW);
}
#endif

/*
 * 0, or the errno. A kernel that has no filters goes without: the canary sees that there is none, and its promise is
 * not kept.
 */
static int install_filter(void)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return errno;
#ifdef ARCHITECTURE
    make_filter();
    struct program program = {filter_size, filter};
    /* The flag came with Linux 4.17. */
    if (syscall(SYS_seccomp, SET_MODE_FILTER, SPEC_ALLOW, &program) < 0 &&
        syscall(SYS_seccomp, SET_MODE_FILTER, 0, &program) < 0 && errno != EINVAL && errno != ENOSYS)
        return errno;
#endif
    return 0;
}

/*
 * 0, or the errno. The session keyring is inherited by all that a caller starts; one without a name belongs to nobody
 * else, and is gone with the last process that has it. Where the call is refused (a container) or unknown, so it is to
 * all that is started here: a container engine has made one already.
 */
static int leave_keyrings(void)
{
    /* What a user may have of keys is given back a moment after a keyring is gone. */
    struct timespec moment = {0, 20 * 1000000L};
    for (int tries = 0; syscall(SYS_keyctl, JOIN_SESSION_KEYRING, NULL, 0, 0, 0) < 0; tries++) {
        if (errno == EPERM || errno == EACCES || errno == ENOSYS)
            return 0;
        if (errno != EDQUOT || tries == 50)
            return errno;
        nanosleep(&moment, NULL);
    }
    return 0;
}

/* In the kernel's order (capabilities(7)). */
static const char *const capability_names[] = {
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
};

/* The set that "CHOWN,KILL" names; false where a name is none. */
static bool read_capabilities(const char *text, uint64_t *set)
{
    *set = 0;
    for (size_t length; *text; text += length + (text[length] == ',')) {
        size_t which = 0, count = sizeof capability_names / sizeof *capability_names;
        length = strcspn(text, ",");
        while (which < count && (strlen(capability_names[which]) != length || memcmp(capability_names[which], text, length) != 0))
            which++;
        if (which == count)
            return false;
        *set |= 1ULL << which;
    }
    return true;
}

#endif
