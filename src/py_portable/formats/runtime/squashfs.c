#define _GNU_SOURCE
#include "laying.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "number.h"

enum { DIRECTORY = 1, FILE_ = 2, LINK = 3, LONG_DIRECTORY = 8, LONG_FILE = 9 };
enum { ZSTD = 6, LEAST_INODE = 24, INODE_HEAD = 16, MOST_BLOCK = 1 << 20, FRAGMENT = 16 };
static const uint32_t ABSENT = 0xffffffff;
static const uint32_t MAGIC = 0x73717368;

static const char ENDS_EARLY[] = "it ends early";
static const char NO_MEMORY[] = "there is not enough memory for it";
static const char CONTRADICTS[] = "its tables contradict themselves";

static char *copied(const char *from, size_t bytes)
{
    char *to = malloc(bytes + 1);

    if (to) {
        memcpy(to, from, bytes);
        to[bytes] = 0;
    }
    return to;
}

static const char *read_file(struct reading *r, const uint8_t *inode, const uint8_t *end, struct laid_entry *to)
{
    bool is_long = number(inode, 2) == LONG_FILE;
    size_t head = is_long ? 40 : 16;
    const uint8_t *at = inode + INODE_HEAD;
    uint32_t fragment, offset;
    struct piece *piece;

    if ((size_t)(end - at) < head)
        return ENDS_EARLY;
    uint64_t start = is_long ? number(at, 8) : number(at, 4);
    to->entry.bytes = is_long ? number(at + 8, 8) : number(at + 12, 4);
    fragment = (uint32_t)number(at + (is_long ? 28 : 4), 4);
    offset = (uint32_t)number(at + (is_long ? 32 : 8), 4);
    if (to->entry.bytes == 0)
        return NULL;
    if (fragment != ABSENT) {
        if (fragment >= r->fragments.bytes / FRAGMENT || to->entry.bytes > r->block_bytes ||
            offset > r->block_bytes - to->entry.bytes)
            return CONTRADICTS;
        to->piece = fragment;
        to->entry.at = offset;
        piece = r->pieces + fragment;
        if (piece->bytes < offset + to->entry.bytes)
            piece->bytes = offset + to->entry.bytes;
        return NULL;
    }
    to->piece = r->piece_count++;
    piece = r->pieces + to->piece;
    *piece = (struct piece){.disk = start, .bytes = to->entry.bytes, .sizes = at + head};
    if (to->entry.bytes >> 62)
        return CONTRADICTS;
    piece->blocks = (size_t)((to->entry.bytes + r->block_bytes - 1) / r->block_bytes);
    if (piece->blocks > (size_t)(end - piece->sizes) / 4)
        return ENDS_EARLY;
    r->block_count += piece->blocks;
    return NULL;
}

static const char *read_folder(struct reading *r, const uint8_t *inode, const uint8_t *end, size_t length);

/* The entry whose inode is there; r->path is its path, of `length` bytes. */
static const char *read_inode(struct reading *r, const uint8_t *inode, size_t length)
{
    const uint8_t *end = r->inodes.plain + r->inodes.bytes;
    uint32_t kind = (uint32_t)number(inode, 2), perms = (uint32_t)number(inode + 2, 2);
    struct laid_entry *to = r->places + r->place_count;
    const char *wrong = NULL;

    /* Folders that hold themselves come to an end here. */
    if (r->place_count == r->most_places)
        return CONTRADICTS;
    *to = (struct laid_entry){.order = r->place_count++};
    to->entry.time = (uint32_t)number(inode + 8, 4);
    to->entry.path = copied(r->path, length);
    if (!to->entry.path)
        return NO_MEMORY;
    if (perms & ~07777u)
        return CONTRADICTS;
    switch (kind) {
    case DIRECTORY:
    case LONG_DIRECTORY:
        to->entry.mode = S_IFDIR | perms;
        wrong = index_entry_wrong(&to->entry);
        return wrong ? wrong : read_folder(r, inode, end, length);
    case FILE_:
    case LONG_FILE:
        to->entry.mode = S_IFREG | perms;
        wrong = read_file(r, inode, end, to);
        break;
    case LINK: {
        uint64_t bytes = number(inode + INODE_HEAD + 4, 4);

        if (bytes == 0 || bytes >= PATH_MAX || bytes > (size_t)(end - inode) - LEAST_INODE ||
            memchr(inode + LEAST_INODE, 0, bytes))
            return CONTRADICTS;
        to->entry.mode = S_IFLNK | perms;
        to->entry.target = copied((const char *)inode + LEAST_INODE, bytes);
        if (!to->entry.target)
            return NO_MEMORY;
        break;
    }
    default:
        return "an entry is neither a file nor a folder nor a link";
    }
    return wrong ? wrong : index_entry_wrong(&to->entry);
}

static const char *read_name(struct reading *r, const uint8_t *at, size_t bytes, uint64_t block, size_t length)
{
    const uint8_t *inode = table_at(&r->inodes, block, (uint32_t)number(at, 2), LEAST_INODE);

    if (!inode || memchr(at + 8, 0, bytes) || memchr(at + 8, '/', bytes))
        return CONTRADICTS;
    if (length + 1 + bytes >= sizeof r->path)
        return "a path is too long";
    if (length)
        r->path[length++] = '/';
    memcpy(r->path + length, at + 8, bytes);
    return read_inode(r, inode, length + bytes);
}

static const char *read_folder(struct reading *r, const uint8_t *inode, const uint8_t *end, size_t length)
{
    bool is_long = number(inode, 2) == LONG_DIRECTORY;
    const uint8_t *body = inode + INODE_HEAD, *at;
    const char *wrong;

    if ((size_t)(end - body) < (is_long ? 24u : 16u))
        return ENDS_EARLY;
    uint64_t block = is_long ? number(body + 8, 4) : number(body, 4);
    uint64_t bytes = is_long ? number(body + 4, 4) : number(body + 8, 2);
    uint32_t offset = (uint32_t)number(body + (is_long ? 18 : 10), 2);

    /* `.`, `..` and one more count, and are not there. */
    if (bytes < 3)
        return CONTRADICTS;
    if ((bytes -= 3) == 0)
        return NULL;
    if (!(at = table_at(&r->names, block, offset, bytes)))
        return CONTRADICTS;
    for (end = at + bytes; at < end;) {
        if (end - at < 12)
            return ENDS_EARLY;
        uint64_t count = number(at, 4) + 1, inodes = number(at + 4, 4);

        for (at += 12; count > 0; count--) {
            size_t name = end - at < 8 ? 0 : number(at + 6, 2) + 1;

            if (name == 0 || name > (size_t)(end - at) - 8)
                return ENDS_EARLY;
            if ((wrong = read_name(r, at, name, inodes, length)))
                return wrong;
            at += 8 + name;
        }
    }
    return NULL;
}

/* The fragments become the first pieces. */
static void take_fragments(struct reading *r)
{
    for (size_t i = 0; i < r->fragments.bytes / FRAGMENT; i++) {
        const uint8_t *at = r->fragments.plain + i * FRAGMENT;

        r->pieces[i] = (struct piece){.disk = number(at, 8), .sizes = at + 8, .blocks = 1, .fragment = true};
    }
    r->piece_count = r->block_count = r->fragments.bytes / FRAGMENT;
}

/* The place in the tables that a field of the superblock names; one beyond them where it names none. */
static uint64_t named(const struct squashfs *image, int field)
{
    uint64_t at = number(image->head + field, 8);

    return at < image->tables_at || at - image->tables_at > image->table_bytes ? UINT64_MAX : at - image->tables_at;
}

/* The same of the first pointer in a list that stands there; it leads to what lies before the list. */
static uint64_t pointed(const struct squashfs *image, uint64_t list)
{
    uint64_t at = list > image->table_bytes || image->table_bytes - list < 8 ? 0 : number(image->tables + list, 8);

    return at < image->tables_at || at - image->tables_at > list ? UINT64_MAX : at - image->tables_at;
}

static const char *read_tables(const struct squashfs *image, struct reading *r, uint64_t *root)
{
    const uint8_t *head = image->head;
    uint64_t names = named(image, 72), list = named(image, 80), ids = named(image, 48), fragments = number(head + 16, 4);
    uint64_t end = pointed(image, fragments ? list : ids);
    const char *wrong = NULL;

    r->block_bytes = (uint32_t)number(head + 12, 4);
    *root = number(head + 32, 8);
    if (number(head, 4) != MAGIC || number(head + 28, 4) != 4 || number(head + 20, 2) != ZSTD)
        return "it is no SquashFS with zstd";
    if (r->block_bytes == 0 || r->block_bytes > MOST_BLOCK || number(head + 64, 8) != image->tables_at ||
        names > image->table_bytes || end > image->table_bytes || names > end)
        return CONTRADICTS;
    wrong = table_read(image->tables, names, &r->inodes);
    if (!wrong)
        wrong = table_read(image->tables + names, end - names, &r->names);
    if (!wrong && fragments)
        wrong = table_read(image->tables + end, list - end, &r->fragments);
    if (wrong)
        return wrong;
    return r->fragments.bytes == fragments * FRAGMENT ? NULL : CONTRADICTS;
}

static const char *read_all(const struct squashfs *image, struct reading *r, struct listing *out)
{
    uint64_t root, inodes = number(image->head + 4, 4);
    const char *wrong = read_tables(image, r, &root);
    const uint8_t *inode;

    if (wrong)
        return wrong;
    if (inodes == 0 || inodes > r->inodes.bytes / LEAST_INODE)
        return CONTRADICTS;
    r->most_places = inodes;
    r->places = calloc(inodes, sizeof *r->places);
    r->pieces = calloc(inodes + r->fragments.bytes / FRAGMENT, sizeof *r->pieces);
    if (!r->places || !r->pieces)
        return NO_MEMORY;
    take_fragments(r);
    inode = table_at(&r->inodes, root >> 16, root & 0xffff, LEAST_INODE);
    if (!inode || (number(inode, 2) != DIRECTORY && number(inode, 2) != LONG_DIRECTORY))
        return CONTRADICTS;
    r->place_count = 1;
    r->places[0].entry.mode = S_IFDIR;
    if ((wrong = read_folder(r, inode, r->inodes.plain + r->inodes.bytes, 0)) ||
        (wrong = lay_blocks(r, image->tables_at, out)) || (wrong = lay_files(r, out)))
        return wrong;
    return lay_chunks(image, out);
}

const char *squashfs_read(const struct squashfs *image, struct listing *out)
{
    struct reading r = {0};

    memset(out, 0, sizeof *out);
    const char *wrong = read_all(image, &r, out);
    table_free(&r.inodes);
    table_free(&r.names);
    table_free(&r.fragments);
    free(r.places);
    free(r.pieces);
    return wrong;
}
