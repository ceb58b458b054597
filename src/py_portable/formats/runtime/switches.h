#ifndef SWITCHES_H
#define SWITCHES_H

#define SWITCH "PY_PORTABLE_ONEFILE"

/* What the variable SWITCH asks for instead of the start. */
_Noreturn void switches(const char *word);

#endif
