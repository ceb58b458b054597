#ifndef REMOVE_H
#define REMOVE_H

#include <stdbool.h>

/* Removes `name` in the folder `at`, with all that is in it; links are not followed. Whether it is gone. */
bool remove_all(int at, const char *name);

#endif
