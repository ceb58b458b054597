#include "blake2b.h"

#include <string.h>

static const uint64_t START[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

static const uint8_t ORDER[12][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
};

static uint64_t little(const uint8_t *at)
{
    uint64_t value = 0;

    for (int byte = 7; byte >= 0; byte--)
        value = value << 8 | at[byte];
    return value;
}

static uint64_t turned(uint64_t value, int by)
{
    return value >> by | value << (64 - by);
}

static void mix(uint64_t *a, uint64_t *b, uint64_t *c, uint64_t *d, uint64_t x, uint64_t y)
{
    *a += *b + x;
    *d = turned(*d ^ *a, 32);
    *c += *d;
    *b = turned(*b ^ *c, 24);
    *a += *b + y;
    *d = turned(*d ^ *a, 16);
    *c += *d;
    *b = turned(*b ^ *c, 63);
}

static void compress(struct blake2b *b, const uint8_t *block, int last)
{
    uint64_t v[16], m[16];

    for (int i = 0; i < 8; i++) {
        v[i] = b->state[i];
        v[i + 8] = START[i];
    }
    for (int i = 0; i < 16; i++)
        m[i] = little(block + 8 * i);
    v[12] ^= b->count;
    if (last)
        v[14] = ~v[14];
    for (int round = 0; round < 12; round++) {
        const uint8_t *s = ORDER[round];

        mix(v + 0, v + 4, v + 8, v + 12, m[s[0]], m[s[1]]);
        mix(v + 1, v + 5, v + 9, v + 13, m[s[2]], m[s[3]]);
        mix(v + 2, v + 6, v + 10, v + 14, m[s[4]], m[s[5]]);
        mix(v + 3, v + 7, v + 11, v + 15, m[s[6]], m[s[7]]);
        mix(v + 0, v + 5, v + 10, v + 15, m[s[8]], m[s[9]]);
        mix(v + 1, v + 6, v + 11, v + 12, m[s[10]], m[s[11]]);
        mix(v + 2, v + 7, v + 8, v + 13, m[s[12]], m[s[13]]);
        mix(v + 3, v + 4, v + 9, v + 14, m[s[14]], m[s[15]]);
    }
    for (int i = 0; i < 8; i++)
        b->state[i] ^= v[i] ^ v[i + 8];
}

void blake2b_begin(struct blake2b *b)
{
    memcpy(b->state, START, sizeof START);
    b->state[0] ^= 0x01010000 ^ DIGEST;
    b->count = b->held = 0;
}

void blake2b_add(struct blake2b *b, const void *data, size_t bytes)
{
    const uint8_t *from = data;

    while (bytes > 0) {
        /* A full block is kept until more comes: the last one is compressed in another way. */
        if (b->held == sizeof b->block) {
            b->count += sizeof b->block;
            compress(b, b->block, 0);
            b->held = 0;
        }
        while (b->held == 0 && bytes > sizeof b->block) {
            b->count += sizeof b->block;
            compress(b, from, 0);
            from += sizeof b->block;
            bytes -= sizeof b->block;
        }
        size_t part = sizeof b->block - b->held;
        if (part > bytes)
            part = bytes;
        memcpy(b->block + b->held, from, part);
        b->held += part;
        from += part;
        bytes -= part;
    }
}

void blake2b_end(struct blake2b *b, uint8_t digest[DIGEST])
{
    b->count += b->held;
    memset(b->block + b->held, 0, sizeof b->block - b->held);
    compress(b, b->block, 1);
    for (int i = 0; i < DIGEST; i++)
        digest[i] = (uint8_t)(b->state[i / 8] >> (8 * (i % 8)));
}
