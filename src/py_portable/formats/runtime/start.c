#define _GNU_SOURCE
#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "say.h"
#include "seal.h"
#include "unpack.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

char **start_words;

static _Noreturn void ended(const char *path)
{
    int error = errno;

    if (error == ENOENT && access(path, F_OK) == 0)
        say("%s cannot be started: this system lacks the interpreter or loader that it names", path);
    else
        say("%s cannot be started: %s", path, strerror(error));
    exit(error == ENOENT ? NOT_FOUND : CANNOT_EXECUTE);
}

_Noreturn void start_program(const char *path)
{
    execv(path, start_words);
    ended(path);
}

static bool write_to(void *self, const struct entry *of, uint64_t at, const uint8_t *data, size_t bytes)
{
    int fd = *(int *)self;

    (void)of;
    return pwrite(fd, data, bytes, (off_t)at) == (ssize_t)bytes;
}

void start_from_memory(const struct payload *from)
{
    const struct entry *only = from->list.entries;
    struct scratch scratch;
    const char *damage = NULL;
    int fd;

    if (from->list.entry_count != 1 || !S_ISREG(only->mode) || strcmp(only->path, seal()->program) != 0)
        return;
    /* Kernels before 6.3 do not know the flag; those after it may be told to refuse programs without it. */
    fd = memfd_create(seal()->name, MFD_CLOEXEC | MFD_EXEC);
    if (fd < 0)
        fd = memfd_create(seal()->name, MFD_CLOEXEC);
    if (fd < 0 || !scratch_make(from, &scratch))
        return;
    for (size_t i = 0; i < from->list.chunk_count; i++)
        if ((damage = payload_chunk(from, i, &scratch)) || !unpack_parts(from, i, scratch.plain, write_to, &fd))
            break;
    scratch_free(&scratch);
    if (damage)
        fail("%s is damaged: %s. Get the file again", seal_path(), damage);
    syscall(SYS_execveat, fd, "", start_words, environ, AT_EMPTY_PATH);
    close(fd);
}
