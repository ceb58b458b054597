/*
 * zstd's decoder as one object. Its sources are not here: scripts/make-helpers fetches them by their digest
 * (requirements/helpers-sources.toml) and compiles this file beside them.
 */
#define DEBUGLEVEL 0
#define MEM_MODULE
#define XXH_NAMESPACE ZSTD_
#define XXH_PRIVATE_API
#define XXH_INLINE_ALL
#define ZSTD_LEGACY_SUPPORT 0
#define ZSTD_DISABLE_ASM 1
#define ZSTD_TRACE 0
#define ZSTD_STRIP_ERROR_STRINGS

#include "common/debug.c"
#include "common/entropy_common.c"
#include "common/error_private.c"
#include "common/fse_decompress.c"
#include "common/zstd_common.c"

#include "decompress/huf_decompress.c"
#include "decompress/zstd_ddict.c"
#include "decompress/zstd_decompress.c"
#include "decompress/zstd_decompress_block.c"
