#ifndef RUNNING_H
#define RUNNING_H

#include <stdbool.h>

/* Whether a process of this user (of anybody, for root) runs out of the tree KEY. Without /proc: true. */
bool running(const char *key);

#endif
