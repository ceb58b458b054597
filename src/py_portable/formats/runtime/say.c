#include "say.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *say_name = "onefile";

static void sentence(const char *format, va_list words)
{
    char line[8192];
    int at = snprintf(line, sizeof line, "%s: ", say_name);

    vsnprintf(line + at, sizeof line - (size_t)at - 1, format, words);
    strcat(line, "\n");
    /* One write, so that sixteen first starts at once stay readable. */
    if (write(STDERR_FILENO, line, strlen(line)) < 0)
        return;
}

void say(const char *format, ...)
{
    va_list words;

    va_start(words, format);
    sentence(format, words);
    va_end(words);
}

_Noreturn void fail(const char *format, ...)
{
    va_list words;

    va_start(words, format);
    sentence(format, words);
    va_end(words);
    exit(OWN_FAILURE);
}
