"""A cache as GitHub's: keys are never written twice, the newest of a beginning is taken, a path belongs to a key."""

import os
import shutil
import sys
from pathlib import Path

path, key = Path(os.environ["INPUT_PATH"]), os.environ["INPUT_KEY"]
# act makes a new folder of runners for each run; GitHub's is always the same.
place = os.path.relpath(path, os.environ["RUNNER_TEMP"])
store = Path(os.environ["PY_PORTABLE_TEST_CACHE"])
if not key or len(key) > 512 or "," in key:
    sys.exit(f"cache: {key!r} is no key")
if os.environ["INPUT_VERB"] == "save":
    if not path.exists():
        sys.exit(f"cache: {path} is not there")
    if (store / key).exists():
        sys.exit(f"cache: {key} exists already")
    shutil.copytree(path, store / key / "files", symlinks=True)
    (store / key / "path").write_text(place)
    sys.exit()
known = sorted(store.iterdir(), key=lambda one: one.stat().st_mtime_ns, reverse=True) if store.exists() else []
known = [one for one in known if (one / "path").read_text() == place]
begins = [key, *(line.strip() for line in os.environ["INPUT_RESTORE_KEYS"].splitlines() if line.strip())]
found = next((one for begin in begins for one in known if one.name.startswith(begin)), None)
if found:
    shutil.copytree(found / "files", path, symlinks=True, dirs_exist_ok=True)
with Path(os.environ["GITHUB_OUTPUT"]).open("a") as stream:
    stream.write(f"cache-matched-key={found.name if found else ''}\n")
    stream.write(f"cache-hit={str(bool(found and found.name == key)).lower()}\n")
