/* BLAKE2b with a digest of 32 bytes and without a key (RFC 7693): what Python calls blake2b(digest_size=32). */
#ifndef BLAKE2B_H
#define BLAKE2B_H

#include <stddef.h>
#include <stdint.h>

enum { DIGEST = 32 };

struct blake2b {
    uint64_t state[8], count;
    uint8_t block[128];
    size_t held;
};

void blake2b_begin(struct blake2b *b);
void blake2b_add(struct blake2b *b, const void *data, size_t bytes);
void blake2b_end(struct blake2b *b, uint8_t digest[DIGEST]);

#endif
