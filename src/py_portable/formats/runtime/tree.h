/*
 * An unpacked folder in the cache: KEY/tree, and KEY/marker, which is written when all of it is on the disk.
 *
 * The marker lists what a start looks at: all folders, then files, MOST_SEEN together. That nothing was added,
 * removed or replaced the time of a folder tells; that a file was changed, its own time and size. It takes about half a
 * millisecond. Where there is more than that, all of it is looked at once a day.
 */
#ifndef TREE_H
#define TREE_H

#include <stdbool.h>

#include "payload.h"

enum { MOST_SEEN = 800 };

/*
 * Whether the tree KEY in the folder `cache` can be started: `lock`, which keeps others from removing it, is then to
 * be held until it is. Nothing is read but the marker.
 */
bool tree_ready(int cache, const char *key, int *lock);
/* Writes the marker of a tree into its folder; errno where it fails. */
bool tree_mark(int folder, const struct payload *from);
/*
 * NULL where all that the index lists is there as it was unpacked, as far as the system tells without reading it, and
 * then also forgets what was added. Else the path of what is not.
 */
const char *tree_changed(int cache, const char *key, const struct payload *from);
/* The same by comparing every byte. `damage` says what is wrong with the file that it is compared with. */
const char *tree_differs(int cache, const char *key, const struct payload *from, const char **damage);

#endif
