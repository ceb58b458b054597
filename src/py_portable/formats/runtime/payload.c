#define _GNU_SOURCE
#include "payload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "seal.h"
#include "zstd-decoder.h"

static const char ENDS_EARLY[] = "it ends early or cannot be read";
static const char OTHER_BYTES[] = "it is not as it was packed";

static int read_all(int fd, void *to, size_t bytes, uint64_t at)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t part = pread(fd, (char *)to + done, bytes - done, (off_t)(at + done));

        if (part < 0 && errno == EINTR)
            continue;
        if (part <= 0)
            return 0;
        done += (size_t)part;
    }
    return 1;
}

/* The digest that the key has to be. */
static int sealed(int fd, const struct seal *s, const uint8_t *index, uint8_t digest[DIGEST])
{
    struct blake2b sum;
    uint8_t *program = malloc(s->program_bytes);

    if (!program || !read_all(fd, program, s->program_bytes, 0)) {
        free(program);
        return 0;
    }
    memset(program + s->key_at, 0, DIGEST);
    blake2b_begin(&sum);
    blake2b_add(&sum, program, s->program_bytes);
    blake2b_add(&sum, index, s->index_packed);
    blake2b_end(&sum, digest);
    free(program);
    return 1;
}

const char *payload_open(struct payload *out)
{
    const struct seal *s = seal();
    uint8_t digest[DIGEST], *packed = NULL, *raw = NULL;
    const char *wrong = OTHER_BYTES;
    struct stat is;

    out->fd = seal_file();
    out->first = s->program_bytes + s->index_packed;
    if (s->program_bytes < sizeof *s || s->program_bytes > MOST_INDEX || s->key_at > s->program_bytes - DIGEST ||
        s->index_packed > MOST_INDEX || s->index_bytes > MOST_INDEX)
        return wrong;
    if (fstat(out->fd, &is) || (uint64_t)is.st_size < s->file_bytes)
        return ENDS_EARLY;
    if ((uint64_t)is.st_size > s->file_bytes)
        return "something was added to its end";
    packed = malloc(s->index_packed + 1);
    raw = malloc(s->index_bytes + 1);
    if (!packed || !raw)
        wrong = "there is not enough memory for its index";
    else if (!read_all(out->fd, packed, s->index_packed, s->program_bytes) || !sealed(out->fd, s, packed, digest))
        wrong = ENDS_EARLY;
    else if (memcmp(digest, s->key, DIGEST) == 0 &&
             ZSTD_decompress(raw, s->index_bytes, packed, s->index_packed) == s->index_bytes)
        wrong = index_read(raw, s->index_bytes, &out->list);
    free(packed);
    if (!wrong && (out->list.packed != s->file_bytes - out->first || out->list.bytes != s->tree_bytes))
        wrong = OTHER_BYTES;
    return wrong;
}

int scratch_make(const struct payload *from, struct scratch *out)
{
    size_t most = 0;

    for (size_t i = 0; i < from->list.chunk_count; i++)
        if (from->list.chunks[i].packed > most)
            most = from->list.chunks[i].packed;
    out->decoder = ZSTD_createDCtx();
    out->packed = malloc(most + 1);
    out->plain = malloc(from->list.chunk_bytes);
    return out->decoder && out->packed && out->plain;
}

void scratch_free(struct scratch *one)
{
    ZSTD_freeDCtx(one->decoder);
    free(one->packed);
    free(one->plain);
}

const char *payload_chunk(const struct payload *from, size_t chunk, struct scratch *to)
{
    const struct chunk *one = from->list.chunks + chunk;
    size_t bytes = index_chunk_bytes(&from->list, chunk);
    struct blake2b sum;
    uint8_t digest[DIGEST];

    if (!read_all(from->fd, to->packed, one->packed, from->first + one->at))
        return ENDS_EARLY;
    blake2b_begin(&sum);
    blake2b_add(&sum, to->packed, one->packed);
    blake2b_end(&sum, digest);
    if (memcmp(digest, one->digest, DIGEST) != 0 ||
        ZSTD_decompressDCtx(to->decoder, to->plain, bytes, to->packed, one->packed) != bytes)
        return OTHER_BYTES;
    return NULL;
}
