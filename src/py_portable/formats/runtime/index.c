#define _GNU_SOURCE
#include "index.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "number.h"

enum { HEAD = 24, CHUNK = 4 + DIGEST, LEAST_ENTRY = 2 + 4 + 8 + 2 };

/* A text that ends before `end`, and where the next thing begins; NULL where it does not end, or is empty or long. */
static const char *text(const uint8_t **at, const uint8_t *end)
{
    const char *begin = (const char *)*at;
    const uint8_t *zero = memchr(*at, 0, (size_t)(end - *at));

    if (!zero || zero == *at || zero - *at >= PATH_MAX)
        return NULL;
    *at = zero + 1;
    return begin;
}

/* Only names below the folder: no `/` at an end, nothing empty, no `.` and no `..`. */
static bool inside(const char *path)
{
    for (const char *name = path;; name = strchr(name, '/') + 1) {
        size_t bytes = strcspn(name, "/");

        if (bytes == 0 || bytes > NAME_MAX || (bytes <= 2 && strncmp(name, "..", bytes) == 0))
            return false;
        if (!name[bytes])
            return true;
    }
}

/* Whether what a link at `path` leads to is still in the folder, as far as its text tells. */
static bool leads_inside(const char *path, const char *target)
{
    int depth = 0;

    if (*target == '/')
        return false;
    for (const char *at = path; (at = strchr(at, '/')); at++)
        depth++;
    for (const char *name = target; *name;) {
        size_t bytes = strcspn(name, "/");

        if (bytes == 2 && strncmp(name, "..", 2) == 0) {
            if (--depth < 0)
                return false;
        } else if (bytes > 0 && !(bytes == 1 && *name == '.')) {
            depth++;
        }
        name += bytes + (name[bytes] == '/');
    }
    return true;
}

const char *index_entry_wrong(const struct entry *one)
{
    if (!inside(one->path))
        return "a path leaves its folder";
    switch (one->mode & ~0777u) {
    case S_IFREG:
        return (one->mode & 0422) == 0400 ? NULL : "a file has a mode that none may have";
    case S_IFDIR:
        return (one->mode & 0722) == 0700 && one->bytes == 0 && one->time == COMMON_TIME ? NULL : "a folder has a mode or time that none may have";
    case S_IFLNK:
        return one->target && one->bytes == 0 && leads_inside(one->path, one->target) ? NULL : "a link leaves its folder";
    }
    return "an entry is neither a file nor a folder nor a link";
}

static const char *read_entry(const uint8_t **at, const uint8_t *end, struct entry *out)
{
    if (end - *at < LEAST_ENTRY)
        return "it ends early";
    out->mode = (uint32_t)number(*at, 2);
    out->time = (uint32_t)number(*at + 2, 4);
    out->bytes = number(*at + 6, 8);
    *at += 14;
    out->path = text(at, end);
    if (!out->path)
        return "a path leaves its folder";
    if (S_ISLNK(out->mode))
        out->target = text(at, end);
    return index_entry_wrong(out);
}

static const char *read_chunks(const uint8_t *at, struct listing *out)
{
    for (size_t i = 0; i < out->chunk_count; i++, at += CHUNK) {
        out->chunks[i] = (struct chunk){
            .at = out->packed, .begin = (uint64_t)i * out->chunk_bytes, .packed = (uint32_t)number(at, 4), .digest = at + 4};
        if (out->chunks[i].packed == 0 || out->chunks[i].packed > 2u * MOST_CHUNK)
            return "a chunk has an impossible size";
        out->packed += out->chunks[i].packed;
    }
    return NULL;
}

const char *index_read(const uint8_t *raw, size_t bytes, struct listing *out)
{
    const uint8_t *end = raw + bytes, *at = raw + HEAD;
    uint64_t total = 0;
    const char *wrong;

    memset(out, 0, sizeof *out);
    if (bytes < HEAD || bytes > MOST_INDEX)
        return "it has an impossible size";
    out->entry_count = number(raw, 4);
    out->chunk_count = number(raw + 4, 4);
    out->chunk_bytes = number(raw + 8, 4);
    out->bytes = out->stream = number(raw + 16, 8);
    if (out->chunk_count > (bytes - HEAD) / CHUNK)
        return "it ends early";
    at += out->chunk_count * CHUNK;
    if (out->entry_count > (size_t)(end - at) / LEAST_ENTRY)
        return "it ends early";
    if (out->chunk_bytes == 0 || out->chunk_bytes > MOST_CHUNK || out->bytes >> 62 ||
        out->chunk_count != (out->bytes + out->chunk_bytes - 1) / out->chunk_bytes)
        return "its chunks do not hold its files";
    out->entries = calloc(out->entry_count + 1, sizeof *out->entries);
    out->chunks = calloc(out->chunk_count + 1, sizeof *out->chunks);
    if (!out->entries || !out->chunks)
        return "there is not enough memory for it";
    if ((wrong = read_chunks(raw + HEAD, out)))
        return wrong;
    for (size_t i = 0; i < out->entry_count; i++) {
        struct entry *one = out->entries + i;

        if ((wrong = read_entry(&at, end, one)))
            return wrong;
        if (one->bytes > out->bytes - total)
            return "its chunks do not hold its files";
        one->at = total;
        total += one->bytes;
    }
    return at == end && total == out->bytes ? NULL : "its chunks do not hold its files";
}

size_t index_chunk_bytes(const struct listing *list, size_t chunk)
{
    uint64_t end = chunk + 1 < list->chunk_count ? list->chunks[chunk + 1].begin : list->stream;

    return (size_t)(end - list->chunks[chunk].begin);
}

bool index_spans(const struct listing *list, const struct entry *one)
{
    size_t low = 0, high = list->chunk_count;

    /* The last chunk that begins at its first byte or before. */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (list->chunks[middle].begin <= one->at)
            low = middle;
        else
            high = middle;
    }
    return one->bytes > 0 && one->at + one->bytes > list->chunks[low].begin + index_chunk_bytes(list, low);
}
