"""Copies PY_PORTABLE_TEST_REPOSITORIES/OWNER/NAME to a path below the workspace, as a checkout would."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

workspace = Path(os.environ["GITHUB_WORKSPACE"])
wanted, where = os.environ["INPUT_REPOSITORY"], workspace / os.environ["INPUT_PATH"]
if os.environ["INPUT_PERSIST"] != "false":
    sys.exit("checkout: credentials are left behind")
if not where.resolve().is_relative_to(workspace.resolve()):
    sys.exit(f"checkout: {where} is not under {workspace}")
source = Path(os.environ["PY_PORTABLE_TEST_REPOSITORIES"], wanted)
if wanted.count("/") != 1 or not source.is_dir():
    sys.exit(f"checkout: there is no repository {wanted!r}")
for old in where.iterdir() if where.is_dir() else ():
    shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
shutil.copytree(source, where, symlinks=True, dirs_exist_ok=True)
if "PY_PORTABLE_STORE" not in os.environ:
    # A hosted runner is new to every job.
    with Path(os.environ["GITHUB_ENV"]).open("a") as stream:
        folder = tempfile.mkdtemp(dir=os.environ["PY_PORTABLE_TEST_STORES"])
        stream.write(f"PY_PORTABLE_STORE={folder}/store\n")
