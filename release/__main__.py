"""scripts/release: check the version, make all files of a release, publish them."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from py_portable.base.regular import sha256_of
from py_portable.commands.bring import PROGRAM
from py_portable.errors import ConfigError, PortableError
from py_portable.wheels.twine import strict_check
from release import bundle, github, version, wheels

ROOT = Path(__file__).parents[1].resolve()
OUT = ROOT / "release" / "out"
"""Everything that a release is made of: `publish/` for the package index, `files/` for the release's page."""
SUMS = "SHA256SUMS"


def main(argv: Sequence[str] | None = None) -> int:
    words = argparse.ArgumentParser(prog="scripts/release", description=__doc__)
    words.add_argument("step", choices=("check", "make", "publish", "bump", "all"), nargs="?", default="all")
    words.add_argument("new", nargs="?", help="with bump: the next version")
    words.add_argument(
        "--tag",
        default=os.environ.get("PY_PORTABLE_RELEASE_TAG") or None,
        help="vX.Y.Z; without it nothing is released",
    )
    words.add_argument(
        "--dry-run", action="store_true", help="ask no server for anything: show what would be asked"
    )
    told = words.parse_args(argv)
    try:
        if told.step == "bump":
            bump(told.new or "")
            return 0
        check(told.tag)
        if told.step in ("make", "all"):
            make(dirty_is_fine=told.tag is None)
        if told.step in ("publish", "all"):
            publish(told.tag, dry=told.dry_run)
    except PortableError as problem:
        print(problem.render(), file=sys.stderr)
        return problem.exit_code
    return 0


def bump(new: str) -> None:
    try:
        version.bump(ROOT, new)
    except ValueError as problem:
        raise ConfigError(str(problem), hint="scripts/release bump MAJOR.MINOR.PATCH") from None
    say(f"the version is {new}; next: scripts/make-gitlab-templates --check, then look at git diff")


def check(tag: str | None) -> None:
    found = version.problems(ROOT, tag)
    if found:
        raise ConfigError(
            "not everything agrees with the version",
            tail="\n".join(found),
            hint="scripts/release bump, or mend it by hand",
        )
    say(f"version {version.version(ROOT)}" + (f", to be released as {tag}" if tag else ""))


def make(*, dirty_is_fine: bool) -> None:
    changed = wheels.changed(ROOT)
    if changed and not dirty_is_fine:
        raise ConfigError(
            "what is here is not the commit",
            tail="\n".join(changed[:20]),
            hint="commit it, and move the tag there",
        )
    shutil.rmtree(OUT, ignore_errors=True)
    files = OUT / "files"
    files.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="py-portable-release-") as work:
        made = wheels.make(ROOT, OUT / "publish", Path(work), wheels.epoch(ROOT))
        strict_check(made)
        say(*(f"made {path.name}" for path in made))
        name = f"{PROGRAM}-{version.version(ROOT)}-{platform.machine()}.tar.zst"
        bundle.make(ROOT, OUT / "dist", files / name, Path(work))
    for path in (*made, *sorted((ROOT / version.SCHEMAS).glob("*.json")), OUT / "dist" / "evidence.json"):
        shutil.copyfile(path, files / path.name)
    sums = [f"{sha256_of(path)}  {path.name}\n" for path in sorted(files.iterdir())]
    (files / SUMS).write_text("".join(sums))
    (OUT / "notes.md").write_text(version.notes(ROOT) + "\n", "utf-8")
    say(*(line.rstrip() for line in sums))


def publish(tag: str | None, *, dry: bool) -> None:
    """The release's page, then the tag that moves. Without a tag, or dry: what would be asked for."""
    files = sorted((OUT / "files").glob("*"))
    wanted = {line.partition("  ")[2]: line[:64] for line in _sums()}
    if {path.name: sha256_of(path) for path in files if path.name != SUMS} != wanted:
        raise ConfigError(
            f"the files are not those of {SUMS}", where=str(OUT / "files"), hint="scripts/release make"
        )
    moving, commit = version.moving_tag(ROOT), wheels.commit(ROOT)
    if tag is None and not dry:
        raise ConfigError("no tag is named", hint="--tag vX.Y.Z, or: --dry-run")
    if dry or tag is None:
        tag = f"v{version.version(ROOT)}"
        github.publish(tag, OUT / "notes.md", files, exists=False, ask=shown)
        say(f"then: {github.move(tag, moving, commit, ask=shown)}")
        return
    github.publish(tag, OUT / "notes.md", files, exists=github.is_released(tag))
    say(github.move(tag, moving, commit))


def _sums() -> list[str]:
    try:
        return (OUT / "files" / SUMS).read_text().splitlines()
    except FileNotFoundError:
        raise ConfigError("nothing was made yet", where=str(OUT), hint="scripts/release make") from None


def shown(words: Sequence[str]) -> str:
    print("would ask: gh", shlex.join(words))
    return ""


def say(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
