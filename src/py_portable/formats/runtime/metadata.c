#include "metadata.h"

#include <stdlib.h>
#include <string.h>

#include "index.h"
#include "number.h"
#include "zstd-decoder.h"

enum { BLOCK = 8192, RAW = 1 << 15 };

/* How many blocks there are; 0 where they do not fill it. */
static size_t blocks(const uint8_t *packed, size_t bytes)
{
    size_t count = 0;

    for (size_t at = 0; at < bytes; count++) {
        size_t size = bytes - at < 2 ? 0 : number(packed + at, 2) & (RAW - 1);

        if (size == 0 || size > BLOCK || size > bytes - at - 2)
            return 0;
        at += 2 + size;
    }
    return count;
}

const char *table_read(const uint8_t *packed, size_t bytes, struct table *out)
{
    size_t at = 0;

    memset(out, 0, sizeof *out);
    out->count = blocks(packed, bytes);
    if (out->count == 0 || out->count > MOST_INDEX / BLOCK)
        return "its tables have an impossible size";
    out->plain = malloc(out->count * BLOCK);
    out->starts = malloc(out->count * sizeof *out->starts);
    if (!out->plain || !out->starts)
        return "there is not enough memory for it";
    for (size_t i = 0; i < out->count; i++) {
        size_t head = number(packed + at, 2), size = head & (RAW - 1), got = size;

        if (head & RAW)
            memcpy(out->plain + i * BLOCK, packed + at + 2, size);
        else
            got = ZSTD_decompress(out->plain + i * BLOCK, BLOCK, packed + at + 2, size);
        if (got > BLOCK || (got < BLOCK && i + 1 < out->count))
            return "its tables are damaged";
        out->starts[i] = (uint32_t)at;
        out->bytes += got;
        at += 2 + size;
    }
    return NULL;
}

void table_free(struct table *one)
{
    free(one->plain);
    free(one->starts);
}

const uint8_t *table_at(const struct table *one, uint64_t start, uint32_t offset, size_t bytes)
{
    size_t low = 0, high = one->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (one->starts[middle] < start)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == one->count || one->starts[low] != start || offset >= BLOCK)
        return NULL;
    low = low * BLOCK + offset;
    return low > one->bytes || bytes > one->bytes - low ? NULL : one->plain + low;
}
