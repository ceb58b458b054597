/* What was read of an image of SquashFS, and how a listing is made of it. */
#ifndef LAYING_H
#define LAYING_H

#include <limits.h>
#include <stdbool.h>

#include "metadata.h"
#include "squashfs.h"

/* What lies in one piece in the image: a fragment, or the blocks of a file. */
struct piece {
    uint64_t disk, stream, bytes; /* where in the image, where in the stream, and how much of that */
    const uint8_t *sizes;         /* of its blocks, u32 each */
    size_t blocks;
    bool fragment;
};

/* Where an entry's bytes are: in a piece, `entry.at` bytes from its begin. */
struct laid_entry {
    struct entry entry;
    size_t piece, order;
};

struct reading {
    struct table inodes, names, fragments;
    struct laid_entry *places;
    struct piece *pieces;
    size_t place_count, most_places, piece_count, block_count;
    uint32_t block_bytes;
    char path[PATH_MAX];
};

/* In this order. NULL, or what is wrong with the image, whose tables begin at `end`. */
const char *lay_blocks(struct reading *r, uint64_t end, struct listing *out);
const char *lay_files(struct reading *r, struct listing *out);
const char *lay_chunks(const struct squashfs *image, struct listing *out);

#endif
