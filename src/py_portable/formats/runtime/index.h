/*
 * The index: what the folder holds. Unpacked it is
 *
 *   u32 entries, u32 chunks, u32 bytes of a chunk, u32 zero, u64 bytes of all files
 *   chunks  x  u32 packed bytes, 32 bytes digest of them
 *   entries x  u16 mode with the bits of its type, u32 time, u64 bytes (0 unless a file), its path, 0;
 *              of a link what it leads to, 0
 *
 * The bytes of all files, one after the other in the order of the entries, are cut into chunks of equal size; the last
 * one may be shorter. Folders come before what lies in them. All have the same time, but for
 * sources whose compiled form names theirs.
 */
#ifndef INDEX_H
#define INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blake2b.h"

/* 1980-01-02: before all that a build makes, and zip files can hold it in each time zone. Whatever has another time
 * than it was unpacked with was changed since. */
enum { COMMON_TIME = 315619200 };
enum { MOST_CHUNK = 64 << 20, MOST_INDEX = 256 << 20 };

struct entry {
    const char *path;
    const char *target; /* of a link */
    uint64_t at, bytes; /* of a file: where it stands in the bytes of all */
    uint32_t mode, time;
};

struct chunk {
    uint64_t at;    /* counted from the first chunk */
    uint64_t begin; /* of its bytes, unpacked, in the bytes of all */
    uint32_t packed;
    const uint8_t *digest;
    size_t block; /* the first of its blocks */
};

/* Of SquashFS, where a chunk is several of them. */
struct block {
    uint32_t packed, plain;
    bool raw;
};

struct listing {
    struct entry *entries;
    struct chunk *chunks;
    struct block *blocks; /* NULL: a chunk is packed as a whole */
    size_t entry_count, chunk_count, block_count;
    uint64_t bytes, packed; /* of all files, and of all chunks */
    uint64_t stream;        /* of all chunks, unpacked: less than `bytes` where files share theirs */
    size_t chunk_bytes;     /* the most that one unpacks to */
};

/* Points into `raw`, which must stay. NULL, or what is wrong with it. Nobody is trusted: it may be made by hand. */
const char *index_read(const uint8_t *raw, size_t bytes, struct listing *out);
/* What is wrong with an entry by itself, or NULL. */
const char *index_entry_wrong(const struct entry *one);
/* How many bytes the chunk has when it is unpacked. */
size_t index_chunk_bytes(const struct listing *list, size_t chunk);
/* Whether more than one chunk has bytes of the file. */
bool index_spans(const struct listing *list, const struct entry *one);

#endif
