/* The folders of one program in the cache, and the one that is started. */
#ifndef CACHE_H
#define CACHE_H

#include "place.h"

struct home {
    struct place place;
    int cache; /* the program's own folder, open */
    int lock;  /* held until the start */
};

/* The tree of this file, unpacked where it is not yet. Ends with a sentence where that is impossible. */
void cache_get(struct home *out);
/* Where a tree that can be started is, without making one. */
bool cache_find(struct home *out);

/* The lock of all changes in the program's own folder: it is waited for. -1 where there can be none. */
int cache_lock(int cache);
/* Removes the tree, unless somebody starts it at this moment or `in_use` says that it runs. */
bool cache_remove(int cache, const char *key, bool (*in_use)(const char *key));
/* Takes the marker away: the next start unpacks the tree again. */
void cache_forget(int cache, const char *key);
/* Removes what a start left that was killed. The lock is held. */
void cache_sweep(int cache);

#endif
