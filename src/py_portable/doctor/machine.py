"""What the doctor looks at on this machine."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from py_portable.base import process
from py_portable.engines import static_helpers
from py_portable.errors import MachineError

PROGRAMS = (
    "appstreamcli",
    "apt-get",
    "bwrap",
    "desktop-file-validate",
    "dnf",
    "docker",
    "docker-registry",
    "dockerd",
    "file",
    "gcc",
    "mmdebstrap",
    "musl-gcc",
    "newgidmap",
    "newuidmap",
    "pacman",
    "podman",
    "rsync",
    "runc",
    "skopeo",
    "strace",
    "sudo",
    "unsquashfs",
    "usermod",
    "zypper",
)
CA_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
)
HEADERS = ("/usr/include/stdio.h",)
SYSCTLS = (
    "kernel.apparmor_restrict_unprivileged_userns",
    "kernel.unprivileged_userns_clone",
    "user.max_user_namespaces",
)
LISTS = (("/var/lib/apt/lists", "*_Packages*"), ("/var/lib/pacman/sync", "*.db"))
"""Where package managers keep lists of packages that they fetch only when they are asked to."""
ENGINES = ("PY_PORTABLE_ENGINE", "PY_PORTABLE_BUILD_ENGINE")
OBEYED = ("CI", "PY_PORTABLE_NO_FIX", "PY_PORTABLE_TESTS", *ENGINES, "SSL_CERT_FILE", "SSL_CERT_DIR")
_SECONDS = 20.0
# An ordinary user's PATH often lacks these, and root's in a CI job too.
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin")


@dataclass(frozen=True)
class Machine:
    """Observations only; what follows from them is decided in `needs`."""

    uid: int
    user: str
    family: frozenset[str] = frozenset()
    """ID and ID_LIKE of os-release, e.g. {"ubuntu", "debian"}."""
    release: str = "unknown"
    """For people, e.g. "Debian GNU/Linux 12 (bookworm)"."""
    programs: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    """Those of CA_BUNDLES, HEADERS and KEYRINGS that exist."""
    subordinate_ids: int = 0
    """Length of the user's longest range that /etc/subuid and /etc/subgid both grant."""
    free_ids: int = 100000
    """The first id above all ranges that are granted to somebody."""
    sysctls: Mapping[str, int] = field(default_factory=dict)
    """Those of SYSCTLS that this kernel has."""
    namespaces: bool = True
    """Whether the kernel lets this process make what bubblewrap starts a command in."""
    helpers: bool = True
    """Whether the kit has compiled helpers for this machine."""
    package_lists: bool = True
    """Whether the package manager has lists of packages, if it is one that does not fetch them by itself."""
    terminal: bool = False
    """Whether somebody can be asked: stdin and stderr are a terminal."""
    platform: str = "Linux"
    """The kernel's name, e.g. "Linux", "Darwin" or "Windows"."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The variables the doctor obeys or that decide where CA certificates come from."""

    @property
    def for_tests(self) -> bool:
        """Whether the test suite is to run here, which needs more (the noxfile says so)."""
        return self.environment.get("PY_PORTABLE_TESTS") == "1"

    @property
    def asks_for_native(self) -> bool:
        """Whether an engine is named that needs nothing."""
        return any(self.environment.get(name) == "native" for name in ENGINES)

    @property
    def is_root(self) -> bool:
        return self.uid == 0

    @property
    def in_ci(self) -> bool:
        """Whether a CI says that this is one of its jobs, as GitHub and GitLab do."""
        return self.environment.get("CI", "").lower() in ("true", "1")


def observe() -> Machine:
    """Look at the machine: a few file reads, and one try at namespaces."""
    here = platform.system()
    environment = {name: os.environ[name] for name in OBEYED if os.environ.get(name)}
    terminal = bool(sys.stdin and sys.stderr and sys.stdin.isatty() and sys.stderr.isatty())
    if here != "Linux":
        return Machine(-1, "", platform=here, terminal=terminal, environment=environment)
    from py_portable.engines import ids  # Takes what other systems do not have.

    uid = os.geteuid()
    user = _user(uid)
    system = os_release(_text(Path("/etc/os-release")) or _text(Path("/usr/lib/os-release")))
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    granted = [_text(Path(name)) for name in ("/etc/subuid", "/etc/subgid")]
    return Machine(
        uid=uid,
        user=user,
        family=frozenset([system.get("ID", "linux"), *system.get("ID_LIKE", "").split()]),
        release=system.get("PRETTY_NAME", "unknown"),
        programs=frozenset(name for name in PROGRAMS if shutil.which(name, path=path)),
        files=frozenset(name for name in (*CA_BUNDLES, *HEADERS, *KEYRINGS) if Path(name).is_file()),
        subordinate_ids=min(longest_range(text, user, uid) for text in granted),
        free_ids=ids.free_range(*granted),
        sysctls=_sysctls(),
        namespaces=_namespaces(),
        helpers=static_helpers.compiled() is not None,
        package_lists=any(next(Path(folder).glob(name), None) for folder, name in LISTS),
        terminal=terminal,
        environment=environment,
    )


def _user(uid: int) -> str:
    import pwd  # Windows has none.

    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _sysctls() -> dict[str, int]:
    texts = {name: _text(Path("/proc/sys", *name.split("."))).strip() for name in SYSCTLS}
    return {name: int(text) for name, text in texts.items() if text.isdigit()}


def _namespaces() -> bool:
    """Tried with `unshare`, which every system has: neither the user's name nor a mark of a container says it."""
    from py_portable.engines import ids

    own = () if os.geteuid() == 0 and ids.has_capability(ids.CAP_SYS_ADMIN) else ids.SINGLE_FLAGS
    try:
        return process.run(("unshare", *own, "--pid", "--fork", "--mount-proc", "true"), timeout=_SECONDS).ok
    except MachineError:
        return True  # There is no unshare; the engines say so.


def os_release(text: str) -> dict[str, str]:
    """The assignments of an os-release file (freedesktop.org, os-release(5)), quotes taken off."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            found[name] = value.strip("\"'")
    return found


def longest_range(text: str, user: str, uid: int) -> int:
    """The most ids in one line of /etc/subuid or /etc/subgid for this user, by name or number (subuid(5))."""
    longest = 0
    for line in text.splitlines():
        owner, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if owner in (user, str(uid)) and first.isdigit() and count.isdigit():
            longest = max(longest, int(count))
    return longest


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
