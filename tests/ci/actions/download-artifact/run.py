"""As GitHub's: one by its name, which must be there; several by a pattern, each into a folder of its name."""

import fnmatch
import os
import shutil
import sys
from pathlib import Path

store, to = Path(os.environ["PY_PORTABLE_TEST_ARTIFACTS"]), Path(os.environ["INPUT_PATH"])
name, pattern = os.environ["INPUT_NAME"], os.environ["INPUT_PATTERN"]
if bool(name) == bool(pattern):
    sys.exit("download-artifact: either a name or a pattern")
to.mkdir(parents=True, exist_ok=True)
if name:
    if not (store / name).is_dir():
        sys.exit(f"download-artifact: artifact not found for name: {name}")
    shutil.copytree(store / name, to, dirs_exist_ok=True)
for one in sorted(store.iterdir()) if pattern else ():
    if fnmatch.fnmatchcase(one.name, pattern):
        shutil.copytree(one, to / one.name, dirs_exist_ok=True)
