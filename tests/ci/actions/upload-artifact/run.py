"""As GitHub's: a name is taken once a run, modes and links are lost, no files is an error where that is asked for."""

import os
import re
import shutil
import sys
from pathlib import Path

name, path = os.environ["INPUT_NAME"], Path(os.environ["INPUT_PATH"])
if not name or re.search(r'["<>|*?:\r\n\\/]', name):
    sys.exit(f"upload-artifact: the name {name!r} is not valid")
files = [one for one in sorted(path.rglob("*")) if one.is_file()] if path.is_dir() else []
if not files and os.environ["INPUT_NONE"] == "error":
    sys.exit(f"upload-artifact: no files were found in {path}")
to = Path(os.environ["PY_PORTABLE_TEST_ARTIFACTS"], name)
try:
    to.mkdir(parents=True)
except FileExistsError:
    sys.exit(f"upload-artifact: an artifact with the name {name} exists already")
for one in files:
    where = to / one.relative_to(path)
    where.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(one, where)
    where.chmod(0o644)
