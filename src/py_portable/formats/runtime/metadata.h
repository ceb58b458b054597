/* The tables of SquashFS: metadata in blocks that unpack to 8 KiB each. */
#ifndef METADATA_H
#define METADATA_H

#include <stddef.h>
#include <stdint.h>

struct table {
    uint8_t *plain;
    size_t bytes;
    uint32_t *starts; /* of each block in the packed table */
    size_t count;
};

/* Unpacks all of it. NULL, or what is wrong with it. */
const char *table_read(const uint8_t *packed, size_t bytes, struct table *out);
void table_free(struct table *one);
/* What stands `offset` bytes into the block that begins at `start`: at least `bytes`; else NULL. */
const uint8_t *table_at(const struct table *one, uint64_t start, uint32_t offset, size_t bytes);

#endif
