/* The part of zstd's interface that is used here, so that the runtime compiles without zstd's sources beside it. */
#ifndef ZSTD_DECODER_H
#define ZSTD_DECODER_H

#include <stddef.h>

void *ZSTD_createDCtx(void);
size_t ZSTD_freeDCtx(void *decoder);
/* How many bytes came out, or a number that is no possible size. */
size_t ZSTD_decompressDCtx(void *decoder, void *to, size_t room, const void *packed, size_t bytes);
size_t ZSTD_decompress(void *to, size_t room, const void *packed, size_t bytes);

#endif
