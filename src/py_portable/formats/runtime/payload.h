/* Where the folder comes from: its listing, and its bytes chunk by chunk. Another kind of payload fills the same. */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include "index.h"

struct payload {
    struct listing list;
    int fd;
    uint64_t first; /* where the chunks begin in the file */
};

/* What one thread needs to unpack chunks. */
struct scratch {
    void *decoder;
    uint8_t *packed, *plain;
};

/* Verifies this file's own key and reads its index. NULL, or what is wrong with the file. */
const char *payload_open(struct payload *out);
/* False where there is not enough memory. */
int scratch_make(const struct payload *from, struct scratch *out);
void scratch_free(struct scratch *one);
/* Verifies the chunk and unpacks it to scratch->plain. NULL, or what is wrong with the file. */
const char *payload_chunk(const struct payload *from, size_t chunk, struct scratch *to);

#endif
