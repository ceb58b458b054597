"""Mirrors: prefixes of image names rewritten, for networks that reach only a registry of their own. Pure.

A mirror decides where bytes are fetched from. What they are is said by digests, so it enters no lock, no key
and no evidence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from py_portable.errors import ConfigError
from py_portable.images.registry.reference import Reference, parse

VARIABLE = "PY_PORTABLE_MIRRORS"
# What docker and skopeo make of a short name. Only the prefixes of mirrors are compared with it.
_SHORT = "docker.io"

Mirrors = Sequence[tuple[str, str]]
"""(prefix, replacement), as they were given."""


def read(environ: Mapping[str, str]) -> Mirrors:
    """What PY_PORTABLE_MIRRORS says: `PREFIX=REPLACEMENT` separated by spaces. Raises ConfigError."""
    found: dict[str, str] = {}
    for word in environ.get(VARIABLE, "").split():
        prefix, equals, target = word.partition("=")
        wrong = None
        if "@" in prefix or "://" in word:
            # Not shown: it may be a login that somebody thought belongs here.
            prefix, wrong = "", "an entry is not an address: write no scheme and no login (use docker login)"
        elif "@" in target:
            prefix, wrong = "", "an entry has an '@': it must contain neither a login nor a digest"
        elif not (prefix and equals and target):
            wrong = "expected PREFIX=REPLACEMENT"
        elif prefix in found and found[prefix] != target:
            wrong = "the prefix appears twice"
        elif not (_is_prefix(prefix) and _is_prefix(target)):
            wrong = "a prefix begins with the host name of a registry, such as quay.io/"
        elif prefix.endswith("/") != target.endswith("/"):
            wrong = "either both sides end with a slash, or neither does"
        if wrong:
            raise ConfigError(
                f"{prefix}: {wrong}" if prefix else wrong,
                where=VARIABLE,
                hint=f'write: {VARIABLE}="quay.io/=registry.example/quay/ docker.io/=registry.example/hub/"',
            )
        found[prefix] = target
    return tuple(found.items())


def apply(reference: Reference, mirrors: Mirrors) -> Reference:
    """The reference to ask instead: the longest prefix that fits is replaced. Tag and digest stay.

    A short name is found as docker.io/library/NAME (docker.io/NAME where it has a slash). Raises ConfigError
    where what comes of it is no reference.
    """
    if reference.registry:
        name = reference.name
    else:
        inside = reference.repository if "/" in reference.repository else f"library/{reference.repository}"
        name = f"{_SHORT}/{inside}"
    fitting = [(prefix, target) for prefix, target in mirrors if _fits(name, prefix)]
    if not fitting:
        return reference
    prefix, target = max(fitting, key=lambda pair: len(pair[0]))
    try:
        found = parse(target + name[len(prefix) :])
    except ConfigError as problem:
        raise ConfigError(f"{prefix} makes {reference}: {problem.what}", where=VARIABLE) from None
    return Reference(found.repository, found.registry, reference.tag, reference.digest)


def _fits(name: str, prefix: str) -> bool:
    # `quay.io/pypa` is no prefix of `quay.io/pypas`.
    return name.startswith(prefix) and (prefix.endswith("/") or name[len(prefix) :][:1] in ("", "/"))


def _is_prefix(text: str) -> bool:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/-]*", text):
        return False
    try:
        found = parse(f"{text.rstrip('/')}/x")
    except ConfigError:
        return False
    return found.registry is not None and found.tag is None
