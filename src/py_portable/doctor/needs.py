"""What the kit needs of a machine, and what a machine lacks: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from py_portable.doctor.machine import CA_BUNDLES, HEADERS, KEYRINGS, Machine

FULL_RANGE = 65536


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `what` says what was seen or what it is for; `cure` is one shell line."""

    name: str
    ok: bool
    what: str
    cause: str | None = None
    cure: str | None = None
    required: bool = True
    """Without it the kit does not work here; else it is only told."""
    packages: tuple[str, ...] = ()
    """The Debian packages that mend it."""


@dataclass(frozen=True)
class Need:
    """Something that packages of the system bring; `names` maps a package manager to its package names."""

    name: str
    what: str
    missing: Callable[[Machine], str | None]
    """Says what is not there; None where all of it is."""
    names: Mapping[str, tuple[str, ...]]
    wanted: Callable[[Machine], bool] = lambda machine: True
    required: Callable[[Machine], bool] = lambda machine: True
    """Whether the kit does not work there without it."""


def _programs(*names: str) -> Callable[[Machine], str | None]:
    def missing(machine: Machine) -> str | None:
        absent = [name for name in names if name not in machine.programs]
        return f"{' and '.join(absent)} not found on PATH" if absent else None

    return missing


def _keyring(machine: Machine) -> str | None:
    return None if machine.files & set(KEYRINGS) else f"{KEYRINGS[0]} does not exist"


def _certificates(machine: Machine) -> str | None:
    told = {"SSL_CERT_FILE", "SSL_CERT_DIR"} & set(machine.environment)
    return None if told or machine.files & set(CA_BUNDLES) else "no bundle of CA certificates was found"


NEEDS = (
    Need(
        "bubblewrap",
        "starts commands in images",
        _programs("bwrap"),
        dict.fromkeys(("apt-get", "dnf", "zypper", "pacman"), ("bubblewrap",)),
    ),
    Need(
        "mmdebstrap",
        "makes Debian images",
        _programs("mmdebstrap"),
        dict.fromkeys(("apt-get", "dnf"), ("mmdebstrap",)),
    ),
    Need(
        "debian-archive-keyring",
        "checks the signatures of Debian's packages",
        _keyring,
        {
            "apt-get": ("debian-archive-keyring",),
            "dnf": ("debian-keyring",),
            "pacman": ("debian-archive-keyring",),
        },
    ),
    Need(
        "musl",
        "compiles static programs: those of the tests, and the helpers where the kit has none for this machine",
        _programs("musl-gcc", "gcc"),
        # Debian's musl-tools only recommends the gcc that its musl-gcc calls.
        {"apt-get": ("musl-tools", "gcc"), "dnf": ("musl-gcc", "gcc"), "pacman": ("musl", "gcc")},
        wanted=lambda machine: machine.for_tests or not machine.helpers,
    ),
    Need(
        "ca-certificates",
        "checks the servers that packages come from",
        _certificates,
        dict.fromkeys(("apt-get", "dnf", "zypper", "pacman"), ("ca-certificates",)),
    ),
    Need(
        "uidmap",
        "maps a range of ids for an ordinary user",
        _programs("newuidmap", "newgidmap"),
        {"apt-get": ("uidmap",), "dnf": ("shadow-utils",), "zypper": ("shadow",), "pacman": ("shadow",)},
        wanted=lambda machine: not machine.is_root or machine.for_tests,
    ),
    Need(
        "skopeo",
        "gets images from registries (docker or podman can, too)",
        _programs("skopeo"),
        dict.fromkeys(("apt-get", "dnf", "zypper", "pacman"), ("skopeo",)),
        required=lambda machine: machine.for_tests,
    ),
    Need(
        "docker-registry",
        "tests: a registry on loopback",
        _programs("docker-registry"),
        {"apt-get": ("docker-registry",), "dnf": ("docker-distribution",)},
        wanted=lambda machine: machine.for_tests,
    ),
    Need(
        "dockerd",
        "tests: a docker daemon of their own",
        _programs("docker", "dockerd"),
        {"apt-get": ("docker.io",), "dnf": ("moby-engine",), "zypper": ("docker",), "pacman": ("docker",)},
        wanted=lambda machine: machine.for_tests and machine.is_root,
    ),
    Need(
        "podman",
        "tests: containers without a daemon",
        _programs("podman", "runc"),
        dict.fromkeys(("apt-get", "dnf", "zypper", "pacman"), ("podman", "runc")),
        wanted=lambda machine: machine.for_tests and machine.is_root,
    ),
    Need(
        "strace",
        "tests: stops programs at chosen system calls",
        _programs("strace"),
        dict.fromkeys(("apt-get", "dnf", "zypper", "pacman"), ("strace",)),
        wanted=lambda machine: machine.for_tests,
    ),
    Need(
        "rsync",
        "tests: gitlab-ci-local copies files between jobs with it",
        _programs("rsync"),
        dict.fromkeys(("apt-get", "dnf", "zypper", "pacman"), ("rsync",)),
        wanted=lambda machine: machine.for_tests,
    ),
    Need(
        "C headers",
        "tests: compile small programs for this machine",
        lambda machine: None if machine.files & set(HEADERS) else f"{HEADERS[0]} does not exist",
        {
            "apt-get": ("libc6-dev",),
            "dnf": ("glibc-devel",),
            "zypper": ("glibc-devel",),
            "pacman": ("glibc",),
        },
        wanted=lambda machine: machine.for_tests,
    ),
)

# By the family in os-release: an apt-get on Fedora is there for mmdebstrap and knows none of its packages.
_MANAGERS = {
    "debian": "apt-get",
    "fedora": "dnf",
    "rhel": "dnf",
    "suse": "zypper",
    "opensuse": "zypper",
    "arch": "pacman",
}
_INSTALL = {
    "apt-get": "apt-get install --yes --no-install-recommends",
    "dnf": "dnf install --assumeyes",
    "zypper": "zypper --non-interactive install",
    "pacman": "pacman -S --needed --noconfirm",
}


def manager(machine: Machine) -> str | None:
    """The command that installs this system's packages; None where it is not one we know."""
    names = (name for family, name in _MANAGERS.items() if family in machine.family)
    return next((name for name in names if name in machine.programs), None)


def as_root(machine: Machine, line: str) -> str:
    """The shell line as this user has to type it."""
    return line if machine.is_root else f"sudo {line}"


def cure(machine: Machine, findings: tuple[Finding, ...]) -> str:
    """The shell lines that mend everything lacking; one line installs all that packages bring."""
    by_name = {need.name: need for need in NEEDS}
    tool = manager(machine)
    wanted: list[str] = []
    lines: list[str] = []
    for finding in lacking(findings):
        need = by_name.get(finding.name)
        if need and tool and tool in need.names:
            wanted += [name for name in need.names[tool] if name not in wanted]
        elif finding.cure and finding.cure not in lines:
            lines.append(finding.cure)
    if tool and wanted:
        lines.insert(0, as_root(machine, f"{_INSTALL[tool]} {' '.join(wanted)}"))
    return "\n".join(lines)


def _own_cure(machine: Machine, need: Need) -> str:
    tool = manager(machine)
    if tool and tool in need.names:
        return as_root(machine, f"{_INSTALL[tool]} {' '.join(need.names[tool])}")
    return f"install {need.name} by hand: this system has no package of it that the doctor knows"


def system(machine: Machine) -> tuple[Finding, ...]:
    """A finding for every need of this machine, then whether an ordinary user has a range of ids."""
    found = []
    for need in NEEDS:
        if not need.wanted(machine):
            continue
        cause = need.missing(machine)
        if cause is None:
            found.append(Finding(need.name, True, need.what, required=need.required(machine)))
            continue
        packages = need.names.get("apt-get", ())
        own, required = _own_cure(machine, need), need.required(machine)
        found.append(Finding(need.name, False, need.what, cause, own, required, packages))
    if not machine.is_root:
        found.append(_ids(machine))
    return tuple(found)


def _ids(machine: Machine) -> Finding:
    name, what = "id range", "files of other users inside images need ids to map to"
    if machine.subordinate_ids >= FULL_RANGE:
        return Finding(name, True, what)
    has = (
        f"grant {machine.user} {machine.subordinate_ids} ids"
        if machine.subordinate_ids
        else f"do not name {machine.user}"
    )
    line = as_root(machine, f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {machine.user}")
    return Finding(name, False, what, f"/etc/subuid and /etc/subgid {has}; {FULL_RANGE} are needed", line)


def lacking(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The findings that keep the kit from working here."""
    return tuple(finding for finding in findings if finding.required and not finding.ok)


def packages(findings: tuple[Finding, ...]) -> tuple[str, ...]:
    """The Debian packages that would mend what is lacking, each once, in order."""
    return tuple(dict.fromkeys(name for finding in lacking(findings) for name in finding.packages))


def render(findings: tuple[Finding, ...]) -> str:
    """One line a finding; what is not well is followed by its cause and its cure."""
    width = max((len(finding.name) for finding in findings), default=0)
    indent = " " * (11 + width)
    lines = []
    for finding in findings:
        mark = "ok" if finding.ok else "LACKING" if finding.required else "not here"
        lines.append(f"{mark:8} {finding.name:{width}}  {finding.what}")
        if finding.ok:
            continue
        if finding.cause:
            lines.append(f"{indent}cause: {finding.cause}")
        if finding.cure:
            first, *rest = finding.cure.splitlines()
            lines += [f"{indent}cure:  {first}", *(f"{indent}       {line}" for line in rest)]
    return "\n".join(lines)
