"""The keys that all packages have, and the rules across them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from py_portable.base.regular import TooLargeError, read_regular
from py_portable.config.kinds import Written, is_file
from py_portable.config.problems import Problem, show
from py_portable.errors import ConfigError
from py_portable.formats.format import option, ref
from py_portable.formats.system_packages.completions import SHELLS
from py_portable.formats.system_packages.package_rules import (
    NAME,
    PAGE,
    Grammar,
    Rule,
    mended_name,
)

MAX_FILE_BYTES = 1 << 20
SCRIPTS = ("before_install", "after_install", "before_remove", "after_remove")
_RELATIVE = "Relative paths start at this file's folder"
_ONE_LINE = {
    "type": "string",
    "minLength": 1,
    "maxLength": 200,
    "pattern": "^[^\\x00-\\x1f\\x7f]+$",
    "errorMessage": "expected one line of at most 200 characters",
}
_AS_ROOT = "A script that the package manager runs as root"


DEPENDS: Mapping[str, Any] = {
    "type": "array",
    "uniqueItems": True,
    "items": {
        **_ONE_LINE,
        "pattern": "^[A-Za-z0-9][A-Za-z0-9 ._+~:()|<>=/-]*$",
        "errorMessage": "expected the name of a package, and its version where it matters",
    },
}
_TEXTS = ("name", "version", "release", "summary", "description", "license", "maintainer", "homepage")


@dataclass(frozen=True)
class AboutOptions:
    """What a package says of itself."""

    name: str | None = option(
        None, "What the package is called. By default the name of the app's project.", **_ONE_LINE
    )
    version: str | None = option(
        None, "Its version. By default that of the app's project, as package managers sort it.", **_ONE_LINE
    )
    release: str = option(
        "1",
        "What counts packages of one version: the part of its version behind `-`.",
        type="string",
        maxLength=50,
    )
    summary: str | None = option(
        None, "What it is, in one line. By default what the app's project says.", **_ONE_LINE
    )
    description: str | None = option(
        None, "What it is, in some lines.", type="string", minLength=1, maxLength=4000
    )
    license: str | None = option(None, "Its licence. By default what the app's project says.", **_ONE_LINE)
    maintainer: str | None = option(
        None,
        "Who made the package, such as `Jane Doe <jane@example.org>`. By default the maintainer or author of the app's "
        "project.",
        **_ONE_LINE,
    )
    homepage: str | None = option(
        None, "Its address on the web. By default what the app's project says.", **_ONE_LINE
    )


@dataclass(frozen=True, kw_only=True)
class LintOptions:
    """For packages that a tool of distributions looks at."""

    lint_overrides: tuple[str, ...] = option(
        (),
        "What lintian or rpmlint finds and you know better: the names of their tags.",
        type="array",
        uniqueItems=True,
        items={
            "type": "string",
            "maxLength": 100,
            "pattern": "^[a-z0-9][a-z0-9-]*$",
            "errorMessage": "expected the name of a tag, such as statically-linked-binary",
        },
    )


@dataclass(frozen=True)
class PackageOptions(AboutOptions):
    depends: tuple[str, ...] | None = option(
        None,
        "The packages that have to be installed with it, as its package manager writes them. By default the glibc that "
        "its newest ELF file needs; `[]` for none.",
        **DEPENDS,
    )
    config_files: tuple[Mapping[str, Any], ...] = option(
        (),
        "Files of yours that it puts below `/etc`. An upgrade keeps what an administrator changed in them.",
        type="array",
        items={
            "type": "object",
            "additionalProperties": False,
            "required": ["path", "to"],
            "properties": {
                "path": {"description": f"Where it lies. {_RELATIVE}.", **ref("path")},
                "to": {
                    "description": "Where it is installed.",
                    "type": "string",
                    "maxLength": 255,
                    "pattern": "^/etc(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+$",
                    "errorMessage": "expected a plain path below /etc, such as /etc/myapp/myapp.conf",
                },
            },
        },
    )
    man: tuple[Path, ...] | None = option(
        None,
        f"Manual pages of yours, such as `myapp.1`. {_RELATIVE}. By default those of the app, else one that is made "
        "of what its program says with `--help`; `[]` for none.",
        type="array",
        uniqueItems=True,
        items=ref("path"),
    )
    completions: Mapping[str, Path] | None = option(
        None,
        f"Files of yours by which shells complete its arguments, such as `{{bash: myapp.bash}}`. {_RELATIVE}. By "
        "default those of the app, else what its program says or what its `--help` names; `{}` for none.",
        type="object",
        additionalProperties=False,
        properties={shell: {"description": f"The one for {shell}.", **ref("path")} for shell in SHELLS},
    )
    before_install: Path | None = option(None, f"{_AS_ROOT} before its files come. {_RELATIVE}.")
    after_install: Path | None = option(None, f"{_AS_ROOT} after its files came. {_RELATIVE}.")
    before_remove: Path | None = option(None, f"{_AS_ROOT} before its files go. {_RELATIVE}.")
    after_remove: Path | None = option(None, f"{_AS_ROOT} after its files went. {_RELATIVE}.")


def problems(written: Written, kind: str, grammar: Grammar) -> Iterable[Problem]:
    """The problems across the keys of a package; `kind` is what it is called in texts."""
    yield from _rule(written, "name", NAME, f"cannot be the name of a {kind}", mended_name)
    yield from _rule(
        written, "version", grammar.version, f"cannot be the version of a {kind}", grammar.mended
    )
    yield from _rule(
        written, "release", grammar.release, f"cannot be the release of a {kind}", lambda _text: "1"
    )
    for key in SCRIPTS:
        yield from written.not_a_file(key.replace("_", "-"))
    yield from _of_pages(written)
    files = written.mapping.get("config-files", ())
    for each in files:
        if not is_file(written.base / each["path"]):
            yield written.wrong("config-files", f"there is no file {show(each['path'])}; {_RELATIVE.lower()}")
    places = [each["to"] for each in files]
    for place in sorted({one for one in places if places.count(one) > 1}):
        yield written.wrong("config-files", f"two files go to {show(str(place))}")


def _of_pages(written: Written) -> Iterable[Problem]:
    pages = [str(path) for path in written.mapping.get("man", ())]
    scripts = written.mapping.get("completions", {})
    for key, paths in (("man", pages), ("completions", map(str, scripts.values()))):
        for path in paths:
            if not is_file(written.base / path):
                yield written.wrong(key, f"there is no file {show(path)}; {_RELATIVE.lower()}")
    plain = []
    for path in pages:
        if found := PAGE.match(Path(path).name):
            plain.append(found["plain"])
        else:
            yield written.wrong(
                "man", f"{show(path)} has no name of a manual page: a name and its section, such as myapp.1"
            )
    for name in sorted({one for one in plain if plain.count(one) > 1}):
        yield written.wrong("man", f"two pages are called {show(name)}")


def _rule(written: Written, key: str, rule: Rule, what: str, mend: Any) -> Iterable[Problem]:
    text = written.mapping.get(key)
    if text is not None and not rule.allows(str(text)):
        yield written.wrong(key, f"{show(str(text))} {what}: {rule.says}; use {show(mend(str(text)))}")


def told(options: PackageOptions) -> dict[str, Any]:
    """The options with the contents of files in place of their paths, as JSON. Raises ConfigError."""
    return {
        **said(options),
        "depends": None if options.depends is None else list(options.depends),
        "lint_overrides": list(getattr(options, "lint_overrides", ())),
        "config": [[each["to"], _contents(Path(each["path"]))] for each in options.config_files],
        "man": None if options.man is None else [[path.name, _contents(path)] for path in options.man],
        "completions": None
        if options.completions is None
        else {shell: _contents(path) for shell, path in options.completions.items()},
        "scripts": {name: _contents(path) for name in SCRIPTS if (path := getattr(options, name))},
    }


def said(options: AboutOptions) -> dict[str, Any]:
    """What the config says of the package itself, as JSON."""
    return {name: getattr(options, name) for name in _TEXTS}


def _contents(path: Path) -> str:
    try:
        return base64.b64encode(read_regular(path, MAX_FILE_BYTES)).decode()
    except TooLargeError:
        raise ConfigError(f"is longer than {MAX_FILE_BYTES} bytes", where=str(path)) from None
    except OSError as problem:
        raise ConfigError(f"cannot be read: {problem.strerror}", where=str(path)) from problem
