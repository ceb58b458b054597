"""The one adapter between the caller's package index and us: pip's configuration, translated for uv.

uv does not read pip.conf or PIP_* variables. What is translated here stays in the environment of one uv call:
it enters no key, no lock, no log and no image.
"""

from __future__ import annotations

import ast
import contextlib
import json
import math
import os
import re
import secrets
import shlex
import shutil
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from py_portable.base import process
from py_portable.base.redact import hide, is_plain
from py_portable.base.servers import Route
from py_portable.errors import ConfigError, PortableError
from py_portable.lock.index.offers import Offer

NOTHING_RUNS = "no code of a package is run while names are resolved"
UV_GLIBC = (40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 28, 17)
"""Minor versions of glibc 2 that uv knows as a platform."""


class ResolveError(PortableError):
    """The index has no answer for the requirements."""


def pip_settings(listing: str) -> dict[str, str]:
    """The settings that `pip config list` printed. The environment wins over files, and a command's section over
    global.
    """
    ranked: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        key, _, quoted = line.partition("=")
        section, _, option = key.rpartition(".")
        try:
            value = str(ast.literal_eval(quoted))
        except (ValueError, SyntaxError):
            continue
        if not value:
            continue  # pip ignores an empty one, too
        rank = {":env:": 3, "install": 2, "global": 1}.get(section, 0)
        if rank and rank >= ranked.get(option, (0, ""))[0]:
            ranked[option] = (rank, value)
    return {option: value for option, (_, value) in ranked.items()}


def uv_environment(settings: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` with pip's settings translated for uv. What the caller has set for uv itself wins."""
    told: dict[str, str] = {}
    if (url := settings.get("index-url")) and not environ.get("UV_INDEX_URL"):
        told["UV_DEFAULT_INDEX"] = url
    if (extra := settings.get("extra-index-url")) and not environ.get("UV_EXTRA_INDEX_URL"):
        told["UV_INDEX"] = " ".join(extra.split())
        # pip looks at all indexes and takes the best version; uv's default stops at the first that has the name.
        told["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    links = [_link(link) for link in settings.get("find-links", "").split()]
    if found := [link for link in links if "://" in link or Path(link).exists()]:
        told["UV_FIND_LINKS"] = ",".join(found)
    if hosts := settings.get("trusted-host"):
        told["UV_INSECURE_HOST"] = " ".join(hosts.split())
    if cert := settings.get("cert"):
        told["SSL_CERT_FILE"] = _link(cert)
    if client := settings.get("client-cert"):
        told["SSL_CLIENT_CERT"] = _link(client)
    if proxy := settings.get("proxy"):
        told["ALL_PROXY"] = told["HTTPS_PROXY"] = told["HTTP_PROXY"] = proxy
    if seconds := _seconds(settings.get("timeout", settings.get("default-timeout", ""))):
        told["UV_HTTP_TIMEOUT"] = str(seconds)
    if keyring := settings.get("keyring-provider"):
        told["UV_KEYRING_PROVIDER"] = "subprocess" if keyring in ("subprocess", "auto", "import") else keyring
    keep = {name: value for name, value in environ.items() if name not in ("VIRTUAL_ENV", "UV_PYTHON")}
    return {**told, **{name: value for name, value in keep.items() if value or name not in told}}


def uv_options(settings: Mapping[str, str]) -> list[str]:
    """Those of pip's settings that uv accepts on its command line only."""
    return ["--no-index"] if settings.get("no-index", "").lower() in ("1", "true", "yes", "on") else []


@dataclass(frozen=True)
class Access:
    """How files come from the caller's indexes. `logins`: (scheme, host and port) -> user and password."""

    logins: Mapping[tuple[str, str], str] = field(repr=False)
    route: Route


def access(environ: Mapping[str, str]) -> Access:
    """What pip's configuration and the environment say of the indexes.

    An index offers its files without the login; as pip does, they are asked for with that of their index.
    """
    settings = read_pip_settings(environ)
    return Access(_logins(uv_environment(settings, environ)), route(settings))


def route(settings: Mapping[str, str]) -> Route:
    """pip's `cert`, `proxy` and `trusted-host` for our own downloads; the environment's hold all the same."""
    return Route(
        ca_bundle=settings.get("cert"),
        proxy=settings.get("proxy"),
        unverified_hosts=frozenset(settings.get("trusted-host", "").split()),
    )


def _logins(told: Mapping[str, str]) -> dict[tuple[str, str], str]:
    names = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX")
    found = {}
    for word in " ".join(told.get(name, "") for name in names).split():
        parts = urlsplit(re.sub(r"^[\w.-]+=(?=\w+://)", "", word))
        login, at, host = parts.netloc.rpartition("@")
        if at:
            found[parts.scheme, host] = login
    return found


def _link(text: str) -> str:
    """A path in pip's settings, made absolute, since uv runs in another folder."""
    return text if "://" in text else str(Path(text).expanduser().absolute())


def _seconds(text: str) -> int:
    """uv takes whole seconds, pip takes fractions of them."""
    try:
        return math.ceil(float(text))
    except (ValueError, OverflowError):
        return 0


def read_pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The configuration of pip. It is asked once in a run, since pip takes a third of a second to answer."""
    return dict(_pip_settings(tuple(sorted(environ.items()))))


@lru_cache(maxsize=4)
def _pip_settings(environ: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    outcome = process.run([sys.executable, "-m", "pip", "config", "list"], env=dict(environ), timeout=60)
    return tuple(pip_settings(outcome.stdout.text).items()) if outcome.ok else ()


def offers(
    requirements: Sequence[str],
    *,
    python: str,
    max_glibc: str,
    arch: str,
    cache: Path,
    environ: Mapping[str, str],
    constraints: Sequence[str] = (),
    overrides: Sequence[str] = (),
    metadata: Mapping[str, Sequence[str]] | None = None,
    versions: Mapping[str, str] | None = None,
    project: str | None = None,
    deps: bool = True,
) -> list[Offer]:
    """Every file the index offers for the resolution of `requirements` (PEP 751 through `uv pip compile`).

    `python` is a version such as 3.13 or, so that markers see all of it, 3.13.5. `metadata` gives the dependencies
    of sdists that can't tell them without being built, and `versions` the version of those that are asked for by
    address: nothing of a package is ever run to find out. `project` is the text of a pyproject.toml whose
    dependencies are asked for, too. Raises ResolveError with uv's own explanation, ConfigError for a text that is
    no requirement.
    """
    for line in (*requirements, *constraints, *overrides):
        # Some come from sdists: a requirement that looks like an option must not become one.
        _check(line)
    settings = read_pip_settings(environ)
    with tempfile.TemporaryDirectory(prefix="py-portable-") as name:
        folder = Path(name)
        (folder / "requirements.in").write_text("".join(f"{line}\n" for line in requirements))
        (folder / "constraints.txt").write_text("".join(f"{line}\n" for line in constraints))
        (folder / "overrides.txt").write_text("".join(f"{line}\n" for line in overrides))
        (folder / "uv.toml").write_text(_metadata_toml(metadata or {}, versions or {}))
        minor = int(max_glibc.split(".")[1])
        known = next((m for m in UV_GLIBC if m <= minor), 17)
        words = [
            _uv(),
            "pip",
            "compile",
            "--quiet",
            "--format",
            "pylock.toml",
            "--output-file",
            "pylock.toml",
        ]
        words += ["--python-version", python, "--python-platform", f"{arch}-manylinux_2_{known}"]
        words += ["--no-header", "--constraint", "constraints.txt", "--override", "overrides.txt"]
        words += ["--python", str(stand_in(folder / "bare")), "--no-build-isolation"]
        words += [] if deps else ["--no-deps"]
        words += uv_options(settings)
        words += ["requirements.in"]
        if project is not None:
            (folder / "pyproject.toml").write_text(project)
            words += ["pyproject.toml"]
        told = uv_environment(settings, environ)
        env = {
            **told,
            "UV_CACHE_DIR": str(folder / "cache" if _has_token(told) else cache),
            "UV_NO_PROGRESS": "1",
            # Only the kit itself fetches repositories, and pins them.
            "GIT_ALLOW_PROTOCOL": "none",
        }
        if env.pop("UV_NO_CONFIG", ""):
            # The file that we write must still be read, and no other.
            words += ["--config-file", "uv.toml"]
        outcome = process.run(words, cwd=folder, env=env, timeout=900)
        if not outcome.ok:
            raise ResolveError(
                "the requirements cannot be resolved",
                tail=hide(outcome.stderr.text),
                hint="the index that pip is configured for may lack a name or version; look at: pip config list",
            )
        found = list(_parse(tomllib.loads((folder / "pylock.toml").read_text()), folder))
        if not all(is_plain(offer.url) for offer in found):
            _forget_answers(cache)
        return found


_INDEXES = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_FIND_LINKS")


def _has_token(told: Mapping[str, str]) -> bool:
    """Whether the address of an index has a query. A login uv keeps to itself, a query it writes into its cache."""
    words = " ".join(told.get(name, "") for name in _INDEXES).replace(",", " ").split()
    return any("?" in word and not is_plain(word) for word in words)


def _forget_answers(cache: Path) -> None:
    """Of indexes that offer files by signed addresses. Renamed first: another uv finds all of it or nothing."""
    for bucket in (*cache.glob("simple-v*"), *cache.glob("wheels-v*"), *cache.glob("sdists-v*")):
        with contextlib.suppress(OSError):
            aside = bucket.with_name(f".{bucket.name}.{secrets.token_hex(8)}")
            bucket.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)


def stand_in(folder: Path) -> Path:
    """An interpreter that tells uv what it is and runs nothing else: the code of a package would be run with it.

    uv has no option for that which leaves sdists in the resolution: with --no-build they are no candidates.
    """
    venv.create(folder, symlinks=True)
    program = folder / "bin" / "python"
    real = shlex.quote(os.path.realpath(sys.executable))
    for name in ("python", "python3", f"python3.{sys.version_info.minor}"):
        (folder / "bin" / name).unlink(missing_ok=True)
    # The question is asked with these options, a build backend is run without. The real one takes the name of
    # this program from its first word, so that uv comes back here for all that it runs.
    program.write_text(
        "#!/bin/sh\n"
        f'[ "$1 $2 $3" = "-I -B -c" ] || {{ echo "{NOTHING_RUNS}" >&2; exit 1; }}\n'
        f'exec {real} -I -S -c \'import os, sys; os.execv(sys.argv[1], sys.argv[2:])\' {real} "$0" "$@"\n'
    )
    program.chmod(0o755)
    return program


def _check(line: str) -> None:
    try:
        Requirement(line)
    except InvalidRequirement as problem:
        raise ConfigError(f"{line!r} is not a requirement: {str(problem).splitlines()[0]}")


def _uv() -> str:
    from uv import find_uv_bin

    return str(find_uv_bin())


def _metadata_toml(metadata: Mapping[str, Sequence[str]], versions: Mapping[str, str]) -> str:
    def table(name: str, requires: Sequence[str]) -> str:
        version = f"version = {quoted(versions[name])}\n" if name in versions else ""
        listed = ", ".join(map(quoted, requires))
        return f"[[dependency-metadata]]\nname = {quoted(name)}\n{version}requires-dist = [{listed}]\n\n"

    return "".join(table(name, requires) for name, requires in sorted(metadata.items()))


def quoted(text: str) -> str:
    """A basic string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _parse(document: Mapping[str, Any], folder: Path) -> Iterable[Offer]:
    for package in document.get("packages", ()):
        name, version = canonicalize_name(package["name"]), package.get("version", "")
        for kind in ("vcs", "directory"):
            if kind in package:
                raise ConfigError(
                    f"{name} is asked for as a {'repository' if kind == 'vcs' else 'folder'} by a "
                    "package that you did not name yourself",
                    hint="only the app and packages that it names by address may do this: name it "
                    "in the app's dependencies",
                )
        direct = [package["archive"]] if "archive" in package else []
        for told in (
            *package.get("wheels", ()),
            *([package["sdist"]] if "sdist" in package else ()),
            *direct,
        ):
            url = told.get("url") or (folder / told["path"]).resolve().as_uri()
            file = told.get("name") or unquote(PurePosixPath(urlsplit(url).path).name)
            if file in ("", "..") or PurePosixPath(file).name != file or "\0" in file:
                raise ConfigError(f"the index names a file of {name} {file!r}, which is not a file name")
            sha256 = told.get("hashes", {}).get("sha256")
            if sha256 is None:
                raise ConfigError(f"the index gives no sha256 for {file}", where="wheels")
            yield Offer(name, version, file, url, sha256, told.get("size"), direct=bool(direct))
