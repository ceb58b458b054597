"""What a package says of itself: from the metadata of the app's wheel, where the config says nothing else. Pure."""

from __future__ import annotations

import email
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.utils import parseaddr
from typing import Any

from packaging.utils import canonicalize_name

from py_portable.errors import StepError
from py_portable.formats.system_packages.package_rules import DEBIAN, NAME, Grammar, mended_name

_MOST_SUMMARY = 78
_UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class PackageAbout:
    """`name` and `version` as the package manager takes them; `release` stands behind the version."""

    name: str
    version: str
    release: str
    summary: str
    description: str
    license: str
    maintainer: str
    homepage: str

    @property
    def full_version(self) -> str:
        return f"{self.version}-{self.release}"


def about(
    told: Mapping[str, Any], metadata: str | None, program: str, grammar: Grammar = DEBIAN
) -> PackageAbout:
    """`told`: what the config says, see `package_options.told`; `metadata`: the text of the wheel's METADATA, or None.

    Raises StepError where nothing says the version, or where it cannot be one.
    """
    own = email.message_from_string(metadata or "")
    name = told["name"] or _named(_field(own, "Name") or program)
    version = told["version"] or _version(_field(own, "Version"), grammar)
    summary = told["summary"] or _sentence(_field(own, "Summary")) or "Program for the command line"
    return PackageAbout(
        name=name,
        version=version,
        release=f"{grammar.release_begins}{told['release']}",
        summary=summary,
        description=told["description"] or f"{program} and all that it needs, in a folder of its own.",
        license=told["license"] or _license(own) or "unknown",
        maintainer=addressed(told["maintainer"] or _person(own) or f"The packagers of {name}"),
        homepage=told["homepage"] or _homepage(own),
    )


def _named(name: str) -> str:
    named = canonicalize_name(name)
    if not NAME.allows(named):
        raise StepError(
            f"{name!r} cannot be the name of a package: {NAME.says}",
            hint=f"write into the artifact: name: {mended_name(name)}",
        )
    return named


def _version(version: str, grammar: Grammar) -> str:
    if not version:
        raise StepError("nothing says its version", hint='write into the artifact: version: "1.0"')
    mended = grammar.mended(version)
    if not grammar.version.allows(mended):
        raise StepError(
            f"{version!r} cannot be the version of a package: {grammar.version.says}",
            hint='write into the artifact: version: "1.0"',
        )
    return mended


def _field(metadata: Message, name: str) -> str:
    """A field in one line, "" where it is missing. Foreign text: nothing of it may begin another line."""
    value = " ".join(str(metadata.get(name) or "").split())
    return "" if value == _UNKNOWN else "".join(char for char in value if char.isprintable())


def _sentence(text: str) -> str:
    """As a synopsis has it: without an article and a full stop, and no longer than a line."""
    text = re.sub(r"^(?:a|an|the) +(?=\S)", "", text.rstrip("."), flags=re.IGNORECASE)
    text = text[:1].upper() + text[1:]
    return text if len(text) <= _MOST_SUMMARY else f"{text[: _MOST_SUMMARY - 1].rsplit(' ', 1)[0]}…"


def _license(metadata: Message) -> str:
    said = _field(metadata, "License-Expression") or _field(metadata, "License")
    if said and len(said) <= _MOST_SUMMARY:
        return said
    prefix = "License :: OSI Approved :: "
    classifiers = [str(one) for one in metadata.get_all("Classifier") or ()]
    return next((" ".join(one[len(prefix) :].split()) for one in classifiers if one.startswith(prefix)), "")


def _person(metadata: Message) -> str:
    for who in ("Maintainer", "Author"):
        name, address = parseaddr(_field(metadata, f"{who}-email"))
        name = re.sub(r"[<>,]", "", name or _field(metadata, who)).strip()
        if "@" in address:
            return f"{name or address.partition('@')[0]} <{address}>"
    return ""


def addressed(person: str) -> str:
    """With an address, without which a changelog of Debian cannot be read."""
    if re.fullmatch(r"[^<>]+ <[^<>]+>", person):
        return person
    return f"{re.sub('[<>]', '', person).strip()} <root@localhost>"


def _homepage(metadata: Message) -> str:
    urls = {
        label.strip().lower(): url.strip()
        for label, _, url in (str(one).partition(",") for one in metadata.get_all("Project-URL") or ())
    }
    found = _field(metadata, "Home-page") or next(
        (urls[one] for one in ("homepage", "home", "repository", "source") if one in urls), ""
    )
    return found if re.fullmatch(r"https?://[!-~]{1,500}", found) else ""
