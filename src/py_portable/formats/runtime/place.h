/* Folders that may hold the cache, in their order, and whether one can be trusted with programs to start. */
#ifndef PLACE_H
#define PLACE_H

#include <limits.h>
#include <stdbool.h>

struct place {
    char base[PATH_MAX]; /* what the user or the system names, such as ~/.cache */
    char path[PATH_MAX]; /* the program's own folder there */
    bool shared;         /* everybody has a folder in `base` */
    const char *why;     /* it cannot be used */
};

/* The folders in their order; false behind the last one. An empty `base`: this one is not set. */
bool place_named(int number, struct place *out);
/*
 * Opens the program's own folder `NAME` there, private to this user, and fills `path`. With `make` it is made where it
 * is missing. -1 with `why` where it is missing, or where somebody else could change what lies there.
 */
int place_open(struct place *one, const char *name, bool make);
/* The number of an error as the end of a sentence that begins with a folder. */
const char *place_reason(int error);

#endif
