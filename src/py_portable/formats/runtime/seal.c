#define _GNU_SOURCE
#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "say.h"

/* Filled in after it was compiled: without volatile the compiler would believe the zeros. */
static const volatile struct seal patched __attribute__((used)) = {
    .magic = {0x8f, 'p', 'y', '-', 'p', 'o', 'r', 't', 'a', 'b', 'l', 'e', 0x1a, 0xc3, 0x5e, 0x01},
};

const struct seal *seal(void)
{
    static struct seal copy;
    const volatile uint8_t *from = (const volatile uint8_t *)&patched;

    if (copy.format == 0)
        for (size_t i = 0; i < sizeof copy; i++)
            ((uint8_t *)&copy)[i] = from[i];
    if ((copy.format != ONEFILE && copy.format != APPIMAGE) || !*copy.name || !*copy.program || copy.name[NAME_BYTES - 1] ||
        copy.program[PROGRAM_BYTES - 1])
        fail("this is the runtime alone, and nothing is packed into it");
    say_name = copy.name;
    return &copy;
}

void seal_key(char text[KEY_TEXT])
{
    for (int i = 0; i < KEY_TEXT / 2; i++)
        snprintf(text + 2 * i, 3, "%02x", seal()->key[i]);
}

int seal_file(void)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        fd = open(seal_path(), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail("it cannot read its own file %s: %s", seal_path(), strerror(errno));
    return fd;
}

const char *seal_path(void)
{
    static char path[PATH_MAX];
    ssize_t bytes = readlink("/proc/self/exe", path, sizeof path - 1);

    if (bytes <= 0)
        return (const char *)getauxval(AT_EXECFN);
    path[bytes] = 0;
    return path;
}
