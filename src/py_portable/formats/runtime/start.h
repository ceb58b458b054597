/* The program instead of this one: its exit status and signals are then its own, and no parent stays. */
#ifndef START_H
#define START_H

#include "payload.h"

/* As its user called it, argv[0] too. */
extern char **start_words;

/* From a folder. */
_Noreturn void start_program(const char *path);
/* From memory, where it is one single file; else it returns. */
void start_from_memory(const struct payload *from);

#endif
