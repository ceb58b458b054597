"""What the kit needs on a machine, and what a machine lacks: pure functions.

What is required depends on the machine: if docker or podman start commands in images and fetch images from
registries, nothing has to be installed for that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from py_portable.doctor import managers
from py_portable.doctor.findings import DoctorFinding, commands, lacking, packages
from py_portable.doctor.machine import CA_BUNDLES, HEADERS, KEYRINGS, Machine

FULL_RANGE = 65536
Engines = Collection[str]
"""The names of the engines that start something here and isolate it fully."""
_DAEMONS = frozenset({"docker", "podman"})
_EVERYWHERE = ("apt-get", "dnf", "zypper", "pacman")


@dataclass(frozen=True)
class Need:
    """Something that packages of the system contain; `names` maps a package manager to its package names."""

    name: str
    what: str
    missing: Callable[[Machine], str | None]
    """Says what is missing; None if nothing is."""
    names: Mapping[str, tuple[str, ...]]
    wanted: Callable[[Machine], bool] = lambda machine: True
    required: Callable[[Machine, Engines], bool] = lambda machine, engines: True
    """Whether the kit does not work on that machine without it."""
    gain: str = ""
    """What it would improve, if it is not required."""


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


def _no_engine(machine: Machine, engines: Engines) -> bool:
    return machine.for_tests or not engines


def _bootstraps(machine: Machine) -> bool:
    """Whether Debian images are made here, which takes the machine's own apt."""
    return _manager(machine) == "apt-get"


def _no_registry(machine: Machine, engines: Engines) -> bool:
    """Whether nothing here gets images from a registry."""
    return machine.for_tests or not ("skopeo" in machine.programs or _DAEMONS & set(engines))


def _manager(machine: Machine) -> str | None:
    tool = managers.manager(machine)
    return tool.program if tool else None


NEEDS = (
    Need(
        "bubblewrap",
        "starts commands in images",
        _programs("bwrap"),
        dict.fromkeys(_EVERYWHERE, ("bubblewrap",)),
        wanted=lambda machine: not confined(machine),
        required=_no_engine,
        gain="would start commands in images faster: a cell takes about 0.02 s, with docker and podman 0.3 s",
    ),
    Need(
        "mmdebstrap",
        "makes Debian images",
        _programs("mmdebstrap"),
        {"apt-get": ("mmdebstrap",)},
        wanted=lambda machine: _bootstraps(machine) or machine.for_tests,
        required=_no_registry,
        gain="would make Debian images through this machine's own apt, instead of taking them from a registry",
    ),
    Need(
        "debian-archive-keyring",
        "checks the signatures of Debian's packages",
        _keyring,
        {"apt-get": ("debian-archive-keyring",)},
        wanted=lambda machine: _bootstraps(machine) or machine.for_tests,
        required=_no_registry,
        gain="would check the signatures of Debian's packages, for mmdebstrap",
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
        dict.fromkeys(_EVERYWHERE, ("ca-certificates",)),
    ),
    Need(
        "uidmap",
        "maps a range of ids for an ordinary user",
        _programs("newuidmap", "newgidmap"),
        {"apt-get": ("uidmap",), "dnf": ("shadow-utils",), "zypper": ("shadow",), "pacman": ("shadow",)},
        wanted=lambda machine: not confined(machine) and (not machine.is_root or machine.for_tests),
        required=_no_engine,
        gain="would map a range of ids for bubblewrap, podman and mmdebstrap",
    ),
    Need(
        "skopeo",
        "gets images from registries",
        _programs("skopeo"),
        dict.fromkeys(_EVERYWHERE, ("skopeo",)),
        required=lambda machine, engines: (
            machine.for_tests or not (_bootstraps(machine) or _DAEMONS & set(engines))
        ),
        gain="would get images from registries, where neither docker nor podman can",
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
        dict.fromkeys(_EVERYWHERE, ("podman", "runc")),
        wanted=lambda machine: machine.for_tests and machine.is_root,
    ),
    Need(
        "strace",
        "tests: stops programs at chosen system calls",
        _programs("strace"),
        dict.fromkeys(_EVERYWHERE, ("strace",)),
        wanted=lambda machine: machine.for_tests,
    ),
    Need(
        "rsync",
        "tests: gitlab-ci-local copies files between jobs with it",
        _programs("rsync"),
        dict.fromkeys(_EVERYWHERE, ("rsync",)),
        wanted=lambda machine: machine.for_tests,
    ),
    Need(
        "readers of AppImages",
        "tests: unpack what is in one, and check its desktop file and metadata",
        _programs("file", "unsquashfs", "desktop-file-validate", "appstreamcli"),
        {
            "apt-get": ("file", "squashfs-tools", "desktop-file-utils", "appstream"),
            "dnf": ("file", "squashfs-tools", "desktop-file-utils", "appstream"),
            "pacman": ("file", "squashfs-tools", "desktop-file-utils", "appstream"),
        },
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

_FORBIDDING: Mapping[str, tuple[int, int, str]] = {
    "kernel.apparmor_restrict_unprivileged_userns": (
        1,
        0,
        "AppArmor forbids them to ordinary users (Ubuntu 23.10 and later)",
    ),
    "kernel.unprivileged_userns_clone": (0, 1, "they are switched off for ordinary users"),
    "user.max_user_namespaces": (0, 15000, "none is allowed"),
}
"""By setting of the kernel: the value that forbids user namespaces, one that allows them, and why."""
_WITHOUT_IMAGES = ("musl", "ca-certificates")
"""What is still possible if nothing can be started in an image."""
INSIDE = (
    "artifacts can be started in this job's own image: py-portable portability --engine native\n"
    "if this container is thrown away afterwards and its image is the baseline, artifacts can be built in it, too: "
    "py-portable build --build-engine native\n"
    "GitLab's template does both by itself (docs/gitlab.md); all else needs docker, or a container with more rights "
    "(docker run --privileged)"
)
"""What is possible where the kernel refuses namespaces."""


def confined(machine: Machine) -> bool:
    """Whether the kernel refuses namespaces, and not by one of the settings that root can change."""
    return not machine.namespaces and (machine.is_root or _forbidden(machine) is None)


def _forbidden(machine: Machine) -> str | None:
    """The setting that forbids them to ordinary users."""
    return next(
        (name for name, (value, *_) in _FORBIDDING.items() if machine.sysctls.get(name) == value), None
    )


def line(machine: Machine, findings: tuple[DoctorFinding, ...]) -> str:
    """One shell command that installs everything that is missing and can be installed."""
    return managers.line(machine, packages(findings), commands(findings))


def cure(machine: Machine, findings: tuple[DoctorFinding, ...]) -> str:
    """The command that installs everything that is missing; below it what no command can install."""
    first = line(machine, findings)
    bad = lacking(findings)
    others = [finding.cure for finding in bad if finding.cure and not (finding.packages or finding.command)]
    return "\n".join(dict.fromkeys([*([first] if first else []), *others]))


def system(machine: Machine, engines: Engines = ()) -> tuple[DoctorFinding, ...]:
    """A finding for every need of this machine, then whether an ordinary user has a range of ids."""
    tool = _manager(machine) or ""
    found = []
    no_images = confined(machine) and not engines
    for need in NEEDS:
        if not need.wanted(machine) or (no_images and need.name not in _WITHOUT_IMAGES):
            continue
        cause, required = need.missing(machine), need.required(machine, engines)
        if cause is None:
            found.append(DoctorFinding(need.name, True, need.what, required=required))
            continue
        brings = need.names.get(tool, ())
        by_line = managers.line(machine, brings) or (
            f"install {need.name} by hand: the doctor knows no package of this system that contains it"
        )
        what = need.what if required else need.gain or need.what
        found.append(DoctorFinding(need.name, False, what, cause, by_line, required, brings))
    if confined(machine):
        found.append(_refused(machine, engines))
    elif not machine.is_root:
        found += [_ids(machine, engines), _namespaces(machine, engines)]
    return tuple(found)


def _refused(machine: Machine, engines: Engines) -> DoctorFinding:
    required = _no_engine(machine, engines) and not machine.asks_for_native
    though = ", though it is root" if machine.is_root else ""
    cause = (
        f"the kernel refuses them to this process{though}, as in an unprivileged container; "
        "installing something does not change that"
    )
    what = "let bubblewrap and chroot start commands in images"
    return DoctorFinding("namespaces", False, what, cause, None if engines else INSIDE, required)


def _namespaces(machine: Machine, engines: Engines) -> DoctorFinding:
    name, required = "user namespaces", _no_engine(machine, engines)
    what = "let an ordinary user start bubblewrap"
    setting = _forbidden(machine)
    if setting is None:
        return DoctorFinding(name, True, what, required=required)
    forbids, allows, why = _FORBIDDING[setting]
    command = ("sysctl", "-w", f"{setting}={allows}")
    cause = f"{why}: {setting} is {forbids}"
    what = what if required else f"would {what}"
    cure = managers.line(machine, (), [command])
    return DoctorFinding(name, False, what, cause, cure, required, command=command)


def _ids(machine: Machine, engines: Engines) -> DoctorFinding:
    name, what = "id range", "files of other users inside images need ids to map to"
    required = _no_engine(machine, engines)
    if machine.subordinate_ids >= FULL_RANGE:
        return DoctorFinding(name, True, what, required=required)
    has = (
        f"grant {machine.user} {machine.subordinate_ids} ids"
        if machine.subordinate_ids
        else f"do not name {machine.user}"
    )
    span = f"{machine.free_ids}-{machine.free_ids + FULL_RANGE - 1}"
    command = ("usermod", "--add-subuids", span, "--add-subgids", span, machine.user)
    cause = f"/etc/subuid and /etc/subgid {has}; {FULL_RANGE} are needed"
    return DoctorFinding(
        name, False, what, cause, managers.line(machine, (), [command]), required, command=command
    )
