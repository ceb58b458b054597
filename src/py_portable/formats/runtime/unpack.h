/* The folder of a payload onto a disk, by as many threads as there are processors. */
#ifndef UNPACK_H
#define UNPACK_H

#include <stdbool.h>
#include <time.h>

#include "payload.h"

extern const struct timespec COMMON_TIMES[2];

struct trouble {
    const char *damage; /* of the file that is unpacked */
    int error;          /* of the disk */
};

/* Into the open folder `into`, which is empty and private. Whether all of it is there. */
bool unpack(const struct payload *from, int into, struct trouble *out);

/* Calls `each` for every file, or part of one, that the chunk holds, until it says false. */
typedef bool unpack_part(void *self, const struct entry *of, uint64_t at, const uint8_t *data, size_t bytes);
bool unpack_parts(const struct payload *from, size_t chunk, const uint8_t *plain, unpack_part *each, void *self);

#endif
