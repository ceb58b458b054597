/*
 * The seal: what the packer writes into the program itself, so that a later start reads nothing of its own file.
 *
 * The file is this program, then the packed index (index.h), then the chunks. All numbers are little-endian. The key
 * is the BLAKE2b digest of all bytes of this program, with zeros where the key stands, and of the packed index, which
 * holds the digest of each chunk: so it stands for every byte of the file, for modes and links, and for this runtime.
 *
 * An AppImage is this program, then an image of SquashFS (squashfs.h). What stands for the packed index is the
 * superblock and all tables; chunks are the blocks between them, and their digests stand in the program, which the
 * packer made longer for it.
 */
#ifndef SEAL_H
#define SEAL_H

#include <stdint.h>

#include "blake2b.h"

enum { ONEFILE = 1, APPIMAGE = 2, NAME_BYTES = 64, PROGRAM_BYTES = 512, KEY_TEXT = 33 };

struct seal {
    uint8_t magic[16];
    uint32_t format;
    uint32_t key_at;        /* where in the file `key` stands */
    uint64_t program_bytes; /* of the runtime; the index, or the image, follows */
    uint64_t index_packed;
    uint64_t index_bytes; /* of an AppImage: of the digests */
    uint64_t digests_at;  /* of an AppImage: where in the program */
    uint64_t file_bytes;
    uint64_t tree_bytes; /* of the files that come out */
    uint8_t key[DIGEST];
    char name[NAME_BYTES];
    char program[PROGRAM_BYTES]; /* what is started, below the folder */
};

/* Ends with a sentence where nobody has packed anything. */
const struct seal *seal(void);
/* The first half of the key in hex digits: the name of its folder. */
void seal_key(char text[KEY_TEXT]);
/* This file, open for reading. */
int seal_file(void);
/* What this file is called in messages. */
const char *seal_path(void);

#endif
