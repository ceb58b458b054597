#ifndef SWITCHES_H
#define SWITCHES_H

#include <stdbool.h>

#define SWITCH "PY_PORTABLE_ONEFILE"

/* Into a new folder: all of it, or with a pattern what it matches, and where `shown` its paths are printed. */
_Noreturn void extract(const char *folder, const char *pattern, bool shown);
/* What the variable SWITCH asks for instead of the start. */
_Noreturn void switches(const char *word);

#endif
