/*
 * SquashFS 4.0 as the folder of an AppImage: its tables into the same listing that index.h gives.
 *
 * Read is what py_portable/formats/runtime/squashfs.py writes, and no more: zstd, no holes, no devices; each file either has
 * blocks of its own or lies in one fragment. Taken as one stream, in the order in which they lie in the image, blocks
 * hold all files without a gap; files may share their bytes.
 */
#ifndef SQUASHFS_H
#define SQUASHFS_H

#include "index.h"

enum { SUPERBLOCK = 96 };

/* An image without its data. */
struct squashfs {
    const uint8_t *head;    /* the superblock */
    const uint8_t *tables;  /* all that stands behind the data */
    size_t table_bytes;
    uint64_t tables_at;     /* in the image */
    const uint8_t *digests; /* of each chunk: u32 packed bytes, 32 bytes digest of them */
    size_t chunk_count;
};

/* `digests` must stay. NULL, or what is wrong with it. Nobody is trusted. */
const char *squashfs_read(const struct squashfs *image, struct listing *out);

#endif
