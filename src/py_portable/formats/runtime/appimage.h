#ifndef APPIMAGE_H
#define APPIMAGE_H

/* Does what the first word asks for, where it begins with `--appimage-`, and ends; or takes the word away and returns
 * where it is one that starts the app. */
void appimage_switch(char ***words);
/* The variables that the app of an AppImage gets; `tree` is its folder. */
void appimage_environment(const char *tree, const char *called);

#endif
