#ifndef LICENCES_H
#define LICENCES_H

extern const char LICENCES[];

#endif
