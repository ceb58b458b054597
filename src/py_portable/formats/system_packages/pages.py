"""The manual pages and shell completions of a package: those of the config, else the app's own, else made ones."""

from __future__ import annotations

import base64
import gzip
import io
import logging
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from py_portable.base.printable import line
from py_portable.base.regular import read_regular
from py_portable.errors import StepError
from py_portable.formats.system_packages import asking, completions, gz, help_text, man_page
from py_portable.formats.system_packages.about import PackageAbout
from py_portable.formats.system_packages.package_rules import PAGE
from py_portable.formats.system_packages.wheel_metadata import app_wheel, members
from py_portable.steps.context import Context

MOST_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"
_log = logging.getLogger(__name__)
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
"""The names of programs that may be written into scripts of shells."""
_ZSH = {"deb": "vendor-completions"}
_OTHER_ZSH = "site-functions"
_OWN = {
    "bash": ("share/bash-completion/completions/{}",),
    "zsh": ("share/zsh/site-functions/_{}", "share/zsh/vendor-completions/_{}"),
    "fish": ("share/fish/vendor_completions.d/{}.fish", "share/fish/completions/{}.fish"),
}
_OWN_PAGE = r"share/man/man[1-8]/([^/]+)"


def gathered(
    ctx: Context, folder: Path, program: str, about: PackageAbout, packager: str
) -> list[tuple[str, bytes]]:
    """Absolute paths and contents of the files. `program`: its path in the folder.

    Raises ConfigError for a wheel that cannot be read, and StepError for a page that is damaged.
    """
    told, name = ctx.params["about"], asking.called(program)
    own = dict(_of_folder(folder, name))
    if wheel := app_wheel(ctx, ctx.params["distribution"]):
        own |= members(wheel, r"[^/]+\.data/data/(share/.+)", MOST_BYTES)
    said = asking.answers(ctx) if _PLAIN.fullmatch(name) else None
    read = help_text.read(said.help) if said else None
    pages = _given_pages(told["man"]) if told["man"] is not None else _own_pages(own)
    scripts = _given(told["completions"]) if told["completions"] is not None else _own_scripts(own, name)
    if told["man"] is None and not any(_names(page, name) for page in pages) and said and read:
        pages[f"{name}.1"] = _page(name, about, said, read, ctx.env.epoch)
    if told["completions"] is None and not scripts and said:
        scripts = _made_scripts(name, said, read)
    if (
        said
        and not read
        and ((told["man"] is None and not pages) or (told["completions"] is None and not scripts))
    ):
        _warn(about.name, name, said)
    # Of a page that is there packed and as it is, one is installed.
    return [*dict(map(_installed, pages.items())).items(), *_places(scripts, name, packager)]


def _warn(package: str, name: str, said: asking.Answers) -> None:
    why = said.why or f"`{name} --help` says nothing that begins with its usage"
    _log.warning(
        "%s: the package has no manual page or completions: %s. The keys man and completions name files of yours; "
        "with man: [] and completions: {} it is not asked",
        line(package),
        line(why),
    )


def _of_folder(folder: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """Only what is named after the program: the rest belongs to what lies in the folder beside it."""
    for path in sorted(folder.glob("share/man/man[1-8]/*")):
        if _names(path.name, name) or path.name.startswith(f"{name}-"):
            yield from _regular(folder, path)
    for place in (place.format(name) for places in _OWN.values() for place in places):
        if (folder / place).is_file():
            yield from _regular(folder, folder / place)


def _regular(folder: Path, path: Path) -> Iterator[tuple[str, bytes]]:
    # The folder may be foreign: no link leads out of it.
    if path.resolve().is_relative_to(folder.resolve()):
        with suppress(OSError):
            yield path.relative_to(folder).as_posix(), read_regular(path, MOST_BYTES)


def _names(page: str, name: str) -> bool:
    found = PAGE.match(page)
    return found is not None and found["name"] == name and found["section"][0] in "18"


def _own_pages(own: Mapping[str, bytes]) -> dict[str, bytes]:
    found = ((re.fullmatch(_OWN_PAGE, place), data) for place, data in own.items())
    return {page[1]: data for page, data in found if page and PAGE.match(page[1])}


def _own_scripts(own: Mapping[str, bytes], name: str) -> dict[str, bytes]:
    there = {shell: [place.format(name) for place in places] for shell, places in _OWN.items()}
    return {
        shell: own[place] for shell, places in there.items() for place in reversed(places) if place in own
    }


def _given_pages(told: Iterable[tuple[str, str]]) -> dict[str, bytes]:
    return {name: base64.b64decode(data) for name, data in told}


def _given(told: Mapping[str, str]) -> dict[str, bytes]:
    return {shell: base64.b64decode(data) for shell, data in told.items()}


def _page(name: str, about: PackageAbout, said: asking.Answers, read: help_text.Help, seconds: int) -> bytes:
    others = ((one, help_text.read(text)) for one, text in said.commands.items())
    # Who takes the word for something else says the same help again.
    commands = {one: each for one, each in others if each and each.usage != read.usage}
    return man_page.page(name, about.version, about.summary, read, commands, seconds).encode()


def _made_scripts(name: str, said: asking.Answers, read: help_text.Help | None) -> dict[str, bytes]:
    if said.scripts:
        return {shell: text.encode() for shell, text in said.scripts.items()}
    made = {shell: completions.of_words(shell, name, read) for shell in completions.SHELLS} if read else {}
    return {shell: text.encode() for shell, text in made.items() if text}


def _installed(page: tuple[str, bytes]) -> tuple[str, bytes]:
    name, data = page
    found = PAGE.match(name)
    assert found is not None
    return f"/usr/share/man/man{found['section'][0]}/{found['plain']}.gz", _packed(name, data)


def _packed(name: str, data: bytes) -> bytes:
    """As `gzip -9n` does, also where it was packed in another way."""
    if data.startswith(_GZIP):
        try:
            with gzip.open(io.BytesIO(data)) as stream:
                data = stream.read(4 * MOST_BYTES + 1)
        except (OSError, EOFError, zlib.error) as problem:
            raise StepError(f"the manual page {name!r} cannot be unpacked: {problem}") from problem
        if len(data) > 4 * MOST_BYTES:
            raise StepError(f"the manual page {name!r} unpacks to more than {4 * MOST_BYTES} bytes")
    return gz.packed(data)


def _places(scripts: Mapping[str, bytes], name: str, packager: str) -> Iterator[tuple[str, bytes]]:
    places = {
        "bash": f"bash-completion/completions/{name}",
        "zsh": f"zsh/{_ZSH.get(packager, _OTHER_ZSH)}/_{name}",
        "fish": f"fish/vendor_completions.d/{name}.fish",
    }
    for shell, data in scripts.items():
        yield f"/usr/share/{places[shell]}", data


def folders(places: Iterable[str]) -> list[str]:
    """The folders above them that a package may have to bring along. Those of manual pages are everywhere."""
    above = {one for place in places for one in PurePosixPath(place).parents}
    return sorted(
        str(one) for one in above if len(one.parts) > 3 and one.parts[:4] != ("/", "usr", "share", "man")
    )
