"""What a package says of itself in files: its licences, its changelog, and why it lies in /opt."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from py_portable.formats.system_packages import gz
from py_portable.formats.system_packages.about import PackageAbout

_OVERRIDES = """\
# The package is made by whoever publishes the app, and not by the distribution. It brings libraries along, in one
# folder in /opt, as the File Hierarchy Standard (3.13) has it for add-on software. They are taken as their own projects
# built them, and find each other there.
{name}: dir-or-file-in-opt
{name}: embedded-library
{name}: custom-library-search-path
{name}: unstripped-binary-or-object
{name}: shared-library-lacks-prerequisites
{name}: library-not-linked-against-libc
{name}: hardening-no-relro
{name}: shared-library-is-executable *[{place}/*]
# Its scripts are started by the interpreter that is beside them, which nobody but root can give bytecode.
{name}: package-installs-python-pycache-dir *[{place}/*]
{name}: python3-script-but-no-python3-dep *[{place}/*]
{name}: script-not-executable *[{place}/*]
{name}: unusual-interpreter *[{place}/*]
{name}: wrong-path-for-interpreter *[{place}/*]
{name}: statically-linked-binary *[{place}/*]
# Programs of the system that it names are called only where they are.
{name}: missing-depends-on-sensible-utils *[{place}/*]
# The first line is one of the shell and of Python.
{name}: shell-script-fails-syntax-check *[{place}/*]
# No bug of the distribution asked for it.
{name}: initial-upload-closes-no-bugs
# The dpkg of every release that it is made for reads this.
{name}: malformed-deb-archive third (official) member data.tar.zst *
"""


_COMMON = (
    (r"\bapache", "Apache-2.0"),
    (r"\bMPL-2|Mozilla Public License 2", "MPL-2.0"),
    (r"\bLGPL(-2\.1|v2\.1)|Lesser .*v2\.1", "LGPL-2.1"),
    (r"\bLGPL(-3|v3)|Lesser .*v3", "LGPL-3"),
    (r"\bLGPL|Lesser", "LGPL"),
    (r"\bGPL(-2|v2)", "GPL-2"),
    (r"\bGPL(-3|v3)", "GPL-3"),
    (r"\bGPL|GNU General Public", "GPL"),
)
_MOST_SHORT = 5000
"""Characters: more than the licences of MIT, BSD and ISC have, and less than those of Apache and GNU."""


@dataclass(frozen=True)
class PackageDocument:
    """`place`: where it is installed; `kind`: what nfpm calls it."""

    place: str
    data: bytes
    kind: str = ""


@dataclass(frozen=True)
class Licences:
    """Texts: the app's `own`, "" where it is not known, and those of what it brings along, by project."""

    own: str
    others: Mapping[str, str]

    @property
    def fits(self) -> bool:
        """Whether its own is a short one. The long ones are known by their names, and stand in a file of their own."""
        return 0 < len(self.own) <= _MOST_SHORT


def of_deb(
    about: PackageAbout, licences: Licences, epoch: int, lint_overrides: Sequence[str] = ()
) -> tuple[PackageDocument, ...]:
    """`lint_overrides`: more tags of lintian. See Debian policy 12.5 and 12.7."""
    top = f"/usr/share/doc/{about.name}"
    return (
        PackageDocument(f"{top}/copyright", _copyright(about, licences, f"{top}/licenses")),
        PackageDocument(f"{top}/changelog.Debian.gz", gz.packed(debian_changelog(about, epoch).encode())),
        *(PackageDocument(f"{top}/licenses/{name}.txt", text) for name, text in _texts(about, licences)),
        PackageDocument(
            f"/usr/share/lintian/overrides/{about.name}",
            overrides(about.name, f"opt/{about.name}", lint_overrides).encode(),
        ),
    )


def of_rpm(about: PackageAbout, licences: Licences) -> tuple[PackageDocument, ...]:
    return tuple(replace(one, kind="doc") for one in of_apk(about, licences))


def of_apk(about: PackageAbout, licences: Licences) -> tuple[PackageDocument, ...]:
    # Not in /usr/share/licenses: a system without this folder would keep it after the removal.
    top = f"/usr/share/doc/{about.name}"
    return (
        PackageDocument(f"{top}/LICENSE", _copyright(about, licences, f"{top}/licenses")),
        *(PackageDocument(f"{top}/licenses/{name}.txt", text) for name, text in _texts(about, licences)),
    )


def rpm_changelog(about: PackageAbout, epoch: int, room: Path) -> str:
    """The path of the file from which nfpm writes the changelog into the header."""
    entry = {
        "semver": about.full_version.rpartition(":")[2],
        "date": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "packager": about.maintainer,
        "changes": [{"note": f"Version {about.version}"}],
    }
    path = room / "changelog.yaml"
    path.write_text(json.dumps([entry]))
    return os.fspath(path)


def contents(documents: tuple[PackageDocument, ...], room: Path, mtime: str) -> Iterator[dict[str, Any]]:
    """The documents as nfpm's config has them, their bytes in `room`; the folders that are only theirs, too."""
    room.mkdir()
    info = {"mode": 0o644, "mtime": mtime}
    folders = {os.path.dirname(one.place) for one in documents if one.place.startswith("/usr/share/doc/")}  # noqa: PTH120
    for folder in sorted(folders):
        yield {"dst": folder, "type": "dir", "file_info": {"mode": 0o755, "mtime": mtime}}
    for number, one in enumerate(documents):
        source = room / str(number)
        source.write_bytes(one.data)
        yield {"src": os.fspath(source), "dst": one.place, "type": one.kind, "file_info": info}


def overrides(name: str, place: str, more: Sequence[str] = ()) -> str:
    """What lintian finds in a package whose files are in the folder `place` (without the first slash), and why it is
    meant. `more`: further tags."""
    own = (
        "".join(["# Its publisher knows of these.\n", *(f"{name}: {tag}\n" for tag in more)]) if more else ""
    )
    return _OVERRIDES.format(name=name, place=place) + own


def _copyright(about: PackageAbout, licences: Licences, folder: str) -> bytes:
    told = [f"This is {about.name} {about.version}, in a package made by {about.maintainer}."]
    if about.homepage:
        told.append(f"Its source: {about.homepage}")
    told.append(f"Copyright: the authors of {about.name}\nLicense: {about.license}")
    told += [
        f"On Debian systems its text is in /usr/share/common-licenses/{one}."
        for one in _common(about.license)
    ]
    if licences.fits:
        told.append(licences.own)
    if licences.others or licences.own:
        told.append(f"The texts of the licences of all that is in it are in {folder}.")
    return ("\n\n".join(told) + "\n").encode("utf-8", "replace")


def _common(license: str) -> list[str]:
    """The file in which Debian has the text of a well-known licence."""
    return [name for pattern, name in _COMMON if re.search(pattern, license, re.IGNORECASE)][:1]


def debian_changelog(about: PackageAbout, epoch: int, suite: str = "unstable") -> str:
    """The file debian/changelog with one entry, see deb-changelog(5)."""
    date = format_datetime(datetime.fromtimestamp(epoch, UTC))
    return (
        f"{about.name} ({about.full_version}) {suite}; urgency=medium\n\n  * Version {about.version}.\n\n"
        f" -- {about.maintainer}  {date}\n"
    )


def _texts(about: PackageAbout, licences: Licences) -> Iterator[tuple[str, bytes]]:
    every = {**licences.others, **({about.name: licences.own} if licences.own else {})}
    for project, text in sorted(every.items()):
        yield re.sub(r"[^A-Za-z0-9._-]+", "-", project), f"{text.rstrip()}\n".encode("utf-8", "replace")
