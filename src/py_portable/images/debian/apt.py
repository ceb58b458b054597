"""What this machine's own apt configuration says about Debian: mirrors, proxies and TLS settings."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from py_portable.base import process
from py_portable.errors import MachineError
from py_portable.images.failures import SourceUnusable

DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_ALIASES = frozenset({"stable", "oldstable", "oldoldstable", "testing", "unstable", "sid"})
_KEPT_SETTINGS = re.compile(
    r"^Acquire::(?:https?(?:::.*)?|Check-Valid-Until|Check-Date|Max-ValidTime(?:::.*)?|Retries|ForceIPv[46])$",
    re.IGNORECASE,
)
_USABLE = re.compile(r"^(?:https?|tor\+https?|file|copy|ftp|mirror(?:\+\w+)?)$", re.IGNORECASE)
_PART_NAME = re.compile(r"^[A-Za-z0-9_.-]+\.(list|sources)$")
_ONE_LINE = re.compile(r"^(deb|deb-src)\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)(?:\s+(.*))?$")
_QUOTED = re.compile(r'^(\S+) "(.*)";$')


@dataclass(frozen=True)
class AptSource:
    """One entry of the configuration. Option names are those of deb822, in lower case (`signed-by`)."""

    types: tuple[str, ...]
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Mirror:
    """Where Debian packages come from, and what apt was told about trusting it."""

    uri: str = field(repr=False)
    signed_by: str | None = None
    """Key files (comma separated), fingerprints, or an ASCII armoured key itself."""
    trusted: bool = False
    check_valid_until: bool = True


@dataclass(frozen=True)
class AptSetup:
    """The machine's configuration as far as a bootstrap needs it. `settings` may hold credentials."""

    archive: Mirror | None = None
    security: Mirror | None = None
    settings: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    netrc: tuple[tuple[str, str], ...] = ()
    """`Dir::Etc::netrc…` settings that point apt at the machine's own login files."""
    updates: bool = True
    """Whether the archive has the suite NAME-updates."""

    @property
    def ca_bundle(self) -> Path | None:
        """The bundle that apt checks https servers with, where it was told one."""
        found = {name.lower(): value for name, value in self.settings}.get("acquire::https::cainfo")
        return Path(found) if found else None


def parse_list(text: str) -> tuple[AptSource, ...]:
    """Entries of a one-line-style `.list` file; what apt would not read is left out."""
    sources = []
    for line in text.splitlines():
        match = _ONE_LINE.match(line.partition("#")[0].strip())
        if not match:
            continue
        kind, options, uri, suite, components = match.groups()
        try:
            words = shlex.split(options or "")
        except ValueError:
            words = (options or "").split()
        pairs = (word.partition("=") for word in words)
        sources.append(
            AptSource(
                (kind,),
                (uri,),
                (suite,),
                tuple((components or "").split()),
                {name.rstrip("+-").lower(): value for name, equals, value in pairs if equals},
            )
        )
    return tuple(sources)


def parse_deb822(text: str) -> tuple[AptSource, ...]:
    """Entries of a deb822 `.sources` file, without the disabled ones."""
    sources = []
    for stanza in _stanzas(text):
        if stanza.get("enabled", "yes").lower() in {"no", "false", "0", "off", "without", "disable"}:
            continue
        own = {"types", "uris", "suites", "components", "enabled"}
        source = AptSource(
            tuple(stanza.get("types", "").split()),
            tuple(stanza.get("uris", "").split()),
            tuple(stanza.get("suites", "").split()),
            tuple(stanza.get("components", "").split()),
            {name: value for name, value in stanza.items() if name not in own},
        )
        if source.types and source.uris and source.suites:
            sources.append(source)
    return tuple(sources)


def _stanzas(text: str) -> Iterable[dict[str, str]]:
    stanza: dict[str, str] = {}
    name = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if stanza:
                yield stanza
            stanza, name = {}, ""
        elif line[0] in " \t":
            if name:
                stanza[name] = f"{stanza[name]}\n{line.strip()}".strip("\n")
        else:
            head, colon, value = line.partition(":")
            name = head.strip().lower() if colon else ""
            if name:
                stanza[name] = value.strip()
    return


def parse_dump(text: str) -> tuple[tuple[str, str], ...]:
    """Name and value of every set option in the output of `apt-config dump`."""
    matches = (_QUOTED.match(line) for line in text.splitlines())
    return tuple((match[1], match[2]) for match in matches if match and match[2])


def kept_settings(options: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Those options that say how servers are reached: proxies, TLS, time limits, expiry checks."""
    return tuple((name, value) for name, value in options if _KEPT_SETTINGS.match(name))


def find_mirrors(
    sources: Sequence[AptSource], codenames: Iterable[str]
) -> tuple[Mirror | None, Mirror | None]:
    """The archive's and the security archive's mirror among `sources`, None for what is not there.

    Other vendors name their suites after Debian's releases too. What tells the archive from them: it carries
    NAME-updates, its keys are the distribution's, its path ends in /debian.
    """
    known = frozenset(codenames) | _ALIASES
    scores: dict[str, dict[Mirror, int]] = {"archive": {}, "security": {}}
    for source in sources:
        if "deb" not in source.types or "main" not in source.components:
            continue
        for suite in source.suites:
            kind, weight = _kind(suite, known)
            for uri in source.uris if kind else ():
                if _USABLE.match(urlsplit(uri).scheme or uri.partition(":")[0]):
                    mirror = _mirror(uri, source.options)
                    table = scores[kind]
                    table[mirror] = table.get(mirror, _likeness(mirror)) + weight
    best = [max(t, key=lambda m: t[m]) if t else None for t in (scores["archive"], scores["security"])]
    archive, security = (m if m and t[m] > 0 else None for m, t in zip(best, scores.values(), strict=True))
    return archive, security


def _kind(suite: str, known: frozenset[str]) -> tuple[str, int]:
    if suite in known:
        return "archive", 1
    base, _, rest = suite.partition("-") if "-" in suite else suite.partition("/")
    if base not in known:
        return "", 0
    if rest == "security" or suite.endswith("/updates"):
        return "security", 1
    return ("archive", 4) if rest == "updates" else ("", 0)


def _mirror(uri: str, options: Mapping[str, str]) -> Mirror:
    valid = options.get("check-valid-until", "yes").lower() not in {"no", "false", "0"}
    trusted = options.get("trusted", "no").lower() in {"yes", "true", "1"}
    return Mirror(uri.rstrip("/"), options.get("signed-by") or None, trusted, valid)


def _likeness(mirror: Mirror) -> int:
    path = urlsplit(mirror.uri).path
    score = 2 if path.endswith(("/debian", "/debian-security")) else 0
    if mirror.signed_by and "debian-archive" in mirror.signed_by:
        score += 4
    elif mirror.signed_by and mirror.signed_by.startswith("/"):
        score -= 3
    return score


def read(codenames: Iterable[str], *, timeout: float = 20) -> AptSetup:
    """Read this machine's configuration. Raises MachineError; SourceUnusable where there is no apt."""
    if not shutil.which("apt-config"):
        raise SourceUnusable(
            "there is no apt on this machine: Debian images cannot be bootstrapped",
            hint="use a machine with Debian or Ubuntu, or install skopeo: images then come from a registry",
        )
    shown = process.check(
        ["apt-config", "dump"],
        what="reading apt's configuration",
        error=MachineError,
        hint="images are bootstrapped with apt: run py-portable doctor",
        timeout=timeout,
    )
    options = parse_dump(shown.stdout.text)
    folder = dict(options)
    etc = Path("/") / folder.get("Dir", "/") / folder.get("Dir::Etc", "etc/apt")
    sources = read_sources(
        etc / folder.get("Dir::Etc::sourcelist", "sources.list"),
        etc / folder.get("Dir::Etc::sourceparts", "sources.list.d"),
    )
    archive, security = find_mirrors(sources, codenames)
    login = etc / folder.get("Dir::Etc::netrc", "auth.conf")
    logins = etc / folder.get("Dir::Etc::netrcparts", "auth.conf.d")
    netrc = []
    if login.is_file():
        netrc.append(("Dir::Etc::netrc", str(login)))
    if logins.is_dir():
        netrc.append(("Dir::Etc::netrcparts", str(logins)))
    return AptSetup(archive, security, kept_settings(options), tuple(netrc))


def read_sources(main: Path, parts: Path) -> tuple[AptSource, ...]:
    """All entries of the two places; files that cannot be read count as absent, as they do for the user."""
    files = [main] if main.is_file() else []
    if parts.is_dir():
        files += sorted(path for path in parts.iterdir() if _PART_NAME.match(path.name) and path.is_file())
    found: list[AptSource] = []
    for path in files:
        try:
            text = path.read_text("utf-8", "replace")
        except PermissionError:
            continue
        found += parse_deb822(text) if path.suffix == ".sources" else parse_list(text)
    return tuple(found)


def source_lines(setup: AptSetup, suite: str, *, keyrings: Sequence[Path]) -> tuple[str, ...]:
    """The one-line entries for `suite` and its updates, or nothing where the machine names no mirror."""
    if setup.archive is None:
        return ()
    wanted = [(setup.archive, suite)]
    if setup.updates:
        wanted.append((setup.archive, f"{suite}-updates"))
    if setup.security is not None:
        wanted.append((setup.security, f"{suite}-security"))
    return tuple(f"deb{_options(mirror, keyrings)} {mirror.uri} {name} main" for mirror, name in wanted)


def _options(mirror: Mirror, keyrings: Sequence[Path]) -> str:
    # The machine's own release may be trusted through a key file of its own; older releases then need the
    # distribution's whole keyring beside it.
    files = [word for word in re.split(r"[,\s]+", mirror.signed_by or "") if word.startswith("/")]
    files += [str(path) for path in keyrings if str(path) not in files]
    words = [f'signed-by="{",".join(files)}"'] if files else []
    words += ["trusted=yes"] if mirror.trusted else []
    words += [] if mirror.check_valid_until else ["check-valid-until=no"]
    return f" [{' '.join(words)}]" if words else ""
