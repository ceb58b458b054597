/* Little-endian numbers of a file. */
#ifndef NUMBER_H
#define NUMBER_H

#include <stdint.h>

static inline uint64_t number(const uint8_t *at, int bytes)
{
    uint64_t value = 0;

    while (bytes-- > 0)
        value = value << 8 | at[bytes];
    return value;
}

#endif
