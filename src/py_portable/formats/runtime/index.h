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
    uint64_t at; /* counted from the first chunk */
    uint32_t packed;
    const uint8_t *digest;
};

struct listing {
    struct entry *entries;
    struct chunk *chunks;
    size_t entry_count, chunk_count;
    uint64_t bytes, packed; /* of all files, and of all chunks */
    size_t chunk_bytes;
};

/* Points into `raw`, which must stay. NULL, or what is wrong with it. Nobody is trusted: it may be made by hand. */
const char *index_read(const uint8_t *raw, size_t bytes, struct listing *out);
/* How many bytes the chunk has when it is unpacked. */
size_t index_chunk_bytes(const struct listing *list, size_t chunk);

#endif
