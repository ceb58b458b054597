/* What a user reads of the runtime: whole sentences on stderr, after the name of the program. */
#ifndef SAY_H
#define SAY_H

enum { OWN_FAILURE = 125, CANNOT_EXECUTE = 126, NOT_FOUND = 127 };

extern const char *say_name;

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* say, then exit with OWN_FAILURE. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
