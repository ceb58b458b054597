"""What the doctor concludes from a machine: pure, so any machine can be tried."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from py_portable import doctor
from py_portable.doctor import consent, engines, findings, machine, managers, needs
from py_portable.engines.engine import Engine, EngineInfo, Job
from py_portable.errors import MachineError

PROGRAMS = frozenset({"apt-get", "bwrap", "gcc", "mmdebstrap", "musl-gcc", "newgidmap", "newuidmap", "sudo"})
FILES = frozenset({machine.KEYRINGS[0], machine.CA_BUNDLES[0]})
ROOT = machine.Machine(0, "root", frozenset({"debian"}), programs=PROGRAMS, files=FILES)
USER = machine.Machine(
    1000, "ada", frozenset({"ubuntu", "debian"}), programs=PROGRAMS, files=FILES, subordinate_ids=65536
)


def lacking(one: machine.Machine, *engines: str) -> dict[str, findings.DoctorFinding]:
    return {finding.name: finding for finding in findings.lacking(needs.system(one, engines))}


@pytest.mark.parametrize("one", [ROOT, USER], ids=["root", "user"])
def test_nothing_is_lacking_where_all_is_there(one: machine.Machine) -> None:
    found = needs.system(one)
    assert found
    assert findings.lacking(found) == ()
    assert needs.cure(one, found) == ""


def test_only_an_ordinary_user_needs_uidmap_and_a_range() -> None:
    names = {finding.name for finding in needs.system(USER)} - {finding.name for finding in needs.system(ROOT)}
    assert names == {"uidmap", "id range", "user namespaces"}


@pytest.mark.parametrize(
    ("program", "name"),
    [("bwrap", "bubblewrap"), ("mmdebstrap", "mmdebstrap")],
)
def test_a_missing_program_is_named(program: str, name: str) -> None:
    found = lacking(dataclasses.replace(ROOT, programs=PROGRAMS - {program}))
    assert list(found) == [name]
    assert found[name].cause == f"{program} not found on PATH"


@pytest.mark.parametrize("program", ["musl-gcc", "gcc"])
def test_a_compiler_is_needed_where_the_kit_has_no_helpers_and_for_the_tests(program: str) -> None:
    without = dataclasses.replace(ROOT, programs=PROGRAMS - {program})
    assert lacking(without) == {}
    (cure,) = {
        lacking(dataclasses.replace(without, **more))["musl"].cure  # type: ignore[arg-type]
        for more in ({"helpers": False}, {"environment": {"PY_PORTABLE_TESTS": "1"}})
    }
    assert cure == "apt-get install --yes --no-install-recommends musl-tools gcc"


def test_the_test_suite_needs_more() -> None:
    told = dataclasses.replace(ROOT, environment={"PY_PORTABLE_TESTS": "1"})
    assert list(lacking(told)) == [
        "skopeo",
        "docker-registry",
        "dockerd",
        "podman",
        "strace",
        "rsync",
        "readers of AppImages",
        "C headers",
    ]
    more = PROGRAMS | {"strace", "rsync", "skopeo", "docker-registry", "docker", "dockerd", "podman", "runc"}
    more |= {"file", "unsquashfs", "desktop-file-validate", "appstreamcli"}
    assert lacking(dataclasses.replace(told, programs=more, files=FILES | set(machine.HEADERS))) == {}


def test_without_skopeo_the_kit_works_and_says_what_is_missed() -> None:
    (told,) = (finding for finding in needs.system(ROOT) if finding.name == "skopeo")
    assert (told.ok, told.required) == (False, False)
    assert told.cure == "apt-get install --yes --no-install-recommends skopeo"
    assert "not here skopeo" in findings.render((told,))


def test_a_missing_keyring_is_found_on_ubuntu() -> None:
    bare = dataclasses.replace(USER, files=FILES - set(machine.KEYRINGS))
    assert lacking(bare)["debian-archive-keyring"].cure == (
        "sudo apt-get install --yes --no-install-recommends debian-archive-keyring"
    )


def test_certificates_that_the_caller_names_will_do() -> None:
    bare = dataclasses.replace(ROOT, files=FILES - set(machine.CA_BUNDLES))
    assert list(lacking(bare)) == ["ca-certificates"]
    assert lacking(dataclasses.replace(bare, environment={"SSL_CERT_FILE": "/mine.pem"})) == {}


def test_one_line_installs_everything_on_a_bare_debian() -> None:
    bare = machine.Machine(0, "root", frozenset({"debian"}), programs=frozenset({"apt-get"}))
    found = needs.system(bare)
    assert needs.cure(bare, found) == (
        "apt-get install --yes --no-install-recommends bubblewrap mmdebstrap debian-archive-keyring ca-certificates"
    )
    assert findings.packages(found) == (
        "bubblewrap",
        "mmdebstrap",
        "debian-archive-keyring",
        "ca-certificates",
    )


def test_what_no_package_brings_stands_in_the_same_line() -> None:
    one = dataclasses.replace(USER, programs=PROGRAMS - {"bwrap"}, subordinate_ids=0, free_ids=165536)
    found = needs.system(one)
    assert needs.cure(one, found) == (
        "sudo apt-get install --yes --no-install-recommends bubblewrap && "
        "sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ada"
    )
    assert findings.commands(found) == (
        ("usermod", "--add-subuids", "165536-231071", "--add-subgids", "165536-231071", "ada"),
    )


def test_without_sudo_the_line_asks_for_roots_password() -> None:
    one = dataclasses.replace(USER, programs=PROGRAMS - {"bwrap", "sudo"}, subordinate_ids=0)
    assert needs.cure(one, needs.system(one)) == (
        "su -c 'apt-get install --yes --no-install-recommends bubblewrap && "
        "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ada'"
    )


def test_the_line_fetches_lists_of_packages_where_there_are_none() -> None:
    one = dataclasses.replace(USER, programs=PROGRAMS - {"bwrap"}, package_lists=False)
    assert needs.cure(one, needs.system(one)) == (
        "sudo apt-get update && sudo apt-get install --yes --no-install-recommends bubblewrap"
    )


NEARLY_NOTHING = {
    "ubuntu": ("debian", "apt-get"),
    "fedora": ("fedora", "dnf"),
    "opensuse-leap": ("suse", "zypper"),
    "arch": ("arch", "pacman"),
}
LINES = {
    "ubuntu": "sudo apt-get install --yes --no-install-recommends bubblewrap mmdebstrap debian-archive-keyring "
    "ca-certificates uidmap",
    "fedora": "sudo dnf install --assumeyes bubblewrap ca-certificates shadow-utils skopeo",
    "opensuse-leap": "sudo zypper --non-interactive install bubblewrap ca-certificates shadow skopeo",
    "arch": "sudo pacman -S --needed --noconfirm bubblewrap ca-certificates shadow skopeo",
}


@pytest.mark.parametrize("system", LINES)
def test_one_line_to_paste_on_each_distribution(system: str) -> None:
    family, tool = NEARLY_NOTHING[system]
    one = machine.Machine(
        1000,
        "ada",
        family=frozenset({system, family}),
        programs=frozenset({tool, "sudo", "gcc", "musl-gcc"}),
        sysctls={"kernel.apparmor_restrict_unprivileged_userns": 1} if system == "ubuntu" else {},
    )
    lifted = " && sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" if system == "ubuntu" else ""
    ids = " && sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ada"
    assert needs.cure(one, needs.system(one)) == LINES[system] + ids + lifted
    # Where a daemon starts commands in images and gets these from registries, nothing of that has to be there.
    for engine in ("docker", "podman"):
        assert list(lacking(one, engine)) == ["ca-certificates"]


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_what_an_engine_makes_needless_is_mentioned_with_what_it_would_bring(engine: str) -> None:
    one = machine.Machine(
        1000,
        "ada",
        family=frozenset({"ubuntu", "debian"}),
        programs=frozenset({"apt-get", "sudo", engine, "gcc", "musl-gcc"}),
        files=FILES - set(machine.KEYRINGS),
        sysctls={"kernel.apparmor_restrict_unprivileged_userns": 1},
    )
    found = needs.system(one, {engine})
    assert findings.lacking(found) == ()
    shown = findings.render(found)
    assert "not here bubblewrap              would start commands in images faster" in shown
    assert "not here mmdebstrap              would make Debian images through this machine's own apt" in shown
    assert "not here user namespaces         would let an ordinary user start bubblewrap" in shown
    assert "cure:  sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" in shown


@pytest.mark.parametrize(
    ("setting", "value", "allows"),
    [
        ("kernel.apparmor_restrict_unprivileged_userns", 1, 0),
        ("kernel.unprivileged_userns_clone", 0, 1),
        ("user.max_user_namespaces", 0, 15000),
    ],
)
def test_a_kernel_that_forbids_user_namespaces_is_named_with_the_line(setting: str, value: int, allows: int) -> None:
    found = lacking(dataclasses.replace(USER, sysctls={setting: value}))
    assert list(found) == ["user namespaces"]
    assert found["user namespaces"].cure == f"sudo sysctl -w {setting}={allows}"
    assert lacking(dataclasses.replace(USER, sysctls={setting: allows})) == {}
    assert lacking(dataclasses.replace(ROOT, sysctls={setting: value})) == {}


CONFINED = dataclasses.replace(
    ROOT, programs=frozenset({"apt-get"}), files=FILES - set(machine.KEYRINGS), namespaces=False
)
"""Root in an unprivileged container: installing something does not starts there."""
NATIVE = EngineInfo("native", "6.1", "partial", ("network", "pids"))


@pytest.mark.parametrize(
    "one",
    [
        CONFINED,
        dataclasses.replace(CONFINED, family=frozenset({"fedora"}), programs=frozenset({"dnf"})),
        dataclasses.replace(CONFINED, uid=1000, user="ada"),
        dataclasses.replace(CONFINED, environment={"PY_PORTABLE_TESTS": "1"}, programs=PROGRAMS),
    ],
    ids=["debian", "fedora", "user", "tests"],
)
def test_where_the_kernel_refuses_namespaces_nothing_is_installed_for_them(one: machine.Machine) -> None:
    found = needs.system(one)
    (lacks,) = findings.lacking(found)
    assert lacks.name == "namespaces"
    assert lacks.cause and lacks.cause.startswith("the kernel refuses them to this process")
    assert ("though it is root" in lacks.cause) == one.is_root
    assert (findings.packages(found), findings.commands(found), needs.line(one, found)) == ((), (), "")
    said: list[str] = []
    with pytest.raises(MachineError) as caught:
        doctor.fix(found, one, said.append)
    assert (caught.value.exit_code, said) == (3, [])
    assert caught.value.what == "this machine lacks namespaces"
    for possible in ("--engine native", "--build-engine native", "GitLab's template", "docs/gitlab.md", "docker"):
        assert possible in str(caught.value.hint)


def test_a_setting_that_forbids_namespaces_is_lifted_all_the_same() -> None:
    one = dataclasses.replace(USER, namespaces=False, sysctls={"kernel.apparmor_restrict_unprivileged_userns": 1})
    assert list(lacking(one)) == ["user namespaces"]


def test_a_refusal_of_namespaces_is_no_matter_where_docker_works_or_native_is_asked_for() -> None:
    assert lacking(CONFINED, "docker") == {}
    for name in ("PY_PORTABLE_ENGINE", "PY_PORTABLE_BUILD_ENGINE"):
        one = dataclasses.replace(CONFINED, environment={name: "native"})
        assert lacking(one) == {}
        assert findings.lacking(engines.examine([Answer("native", NATIVE)], one)[0]) == ()  # type: ignore[list-item]


def test_native_alone_is_lacking_an_engine_since_it_is_taken_by_name_only() -> None:
    absent = Answer("docker", MachineError("docker is not installed", hint="install it"))
    known = [BROKEN, absent, Answer("native", NATIVE)]
    last = engines.examine(known, ROOT)[0][-1]  # type: ignore[arg-type]
    assert (last.ok, last.required) == (False, True)
    assert last.cause and last.cause.startswith(
        "only native works here, and it is used only if you name it with --engine"
    )
    # Where something else is lacking, that comes first and says what to do.
    for one in (dataclasses.replace(ROOT, programs=PROGRAMS - {"bwrap"}), CONFINED):
        last = engines.examine(known, one)[0][-1]  # type: ignore[arg-type]
        assert (last.ok, last.required) == (False, False)
    assert (last.packages, last.cure) == ((), None)


def test_an_apt_get_on_fedora_is_not_fedoras_package_manager() -> None:
    one = machine.Machine(0, "root", frozenset({"fedora"}), programs=PROGRAMS - {"bwrap"} | {"dnf"}, files=FILES)
    assert needs.cure(one, needs.system(one)) == "dnf install --assumeyes bubblewrap skopeo"
    tool = managers.manager(one)
    assert tool and tool.program == "dnf"


def test_an_unknown_system_is_told_the_name() -> None:
    one = machine.Machine(0, "root", frozenset({"void"}), files=FILES)
    assert "install bubblewrap by hand" in needs.cure(one, needs.system(one))


FREE = consent.May(("sudo", "-n"))
ASKED = consent.May(("sudo", "-n"), ask=True)
WITH_PASSWORD = consent.May(("sudo",), ask=True, attached=True)


def user(terminal: bool = False, **environment: str) -> machine.Machine:
    return dataclasses.replace(USER, terminal=terminal, environment=environment)


@pytest.mark.parametrize(
    ("one", "yes", "free", "expected"),
    [
        (ROOT, False, False, consent.May()),
        (dataclasses.replace(ROOT, environment={"PY_PORTABLE_NO_FIX": "1"}), True, True, "PY_PORTABLE_NO_FIX"),
        (user(), False, True, "only on a terminal, in a CI job"),
        (user(), True, True, FREE),
        (user(), True, False, "sudo asks for a password"),
        (user(CI="true"), False, True, FREE),
        (user(CI="true"), False, False, "sudo asks for a password"),
        (user(CI="false"), False, True, "only on a terminal, in a CI job"),
        (user(CI="true", PY_PORTABLE_NO_FIX="1"), True, True, "PY_PORTABLE_NO_FIX"),
        (user(True), False, True, ASKED),
        (user(True), False, False, WITH_PASSWORD),
        (user(True), True, False, consent.May(("sudo",), attached=True)),
        (user(True), True, True, FREE),
        (dataclasses.replace(user(True), programs=PROGRAMS - {"sudo"}), True, True, "there is no sudo"),
    ],
)
def test_who_may_install(one: machine.Machine, yes: bool, free: bool, expected: consent.May | str) -> None:
    may = consent.may_fix(one, yes=yes, sudo_is_free=lambda: free)
    if isinstance(expected, str):
        assert isinstance(may, consent.MayNot) and expected in may.why
    else:
        assert may == expected


def test_a_refusal_names_everything_and_the_cure() -> None:
    bare = machine.Machine(
        0, "root", frozenset({"debian"}), programs=PROGRAMS - {"bwrap", "mmdebstrap"}, files=FILES,
        environment={"PY_PORTABLE_NO_FIX": "1"},
    )  # fmt: skip
    said: list[str] = []
    with pytest.raises(MachineError) as caught:
        doctor.fix(needs.system(bare), bare, said.append)
    assert caught.value.exit_code == 3
    assert caught.value.render() == (
        "Error: this machine lacks bubblewrap, mmdebstrap\n"
        "  | bubblewrap: bwrap not found on PATH\n"
        "  | mmdebstrap: mmdebstrap not found on PATH\n"
        "  | nothing was installed: PY_PORTABLE_NO_FIX=1 forbids it\n"
        "  next: apt-get install --yes --no-install-recommends bubblewrap mmdebstrap"
    )
    assert said == []


def test_nothing_is_installed_where_nothing_is_lacking() -> None:
    said: list[str] = []
    assert doctor.fix(needs.system(ROOT), ROOT, said.append) is False
    assert said == []


def test_the_picture_shows_cause_and_cure_below_what_lacks() -> None:
    found = (
        findings.DoctorFinding("a", True, "does this"),
        findings.DoctorFinding("bcd", False, "does that", "it is gone", "one\ntwo"),
        findings.DoctorFinding("e", False, "nice to have", required=False),
    )
    assert findings.render(found).splitlines() == [
        "ok       a    does this",
        "LACKING  bcd  does that",
        "              cause: it is gone",
        "              cure:  one",
        "                     two",
        "not here e    nice to have",
    ]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("ada:100000:65536\n", 65536),
        ("bob:100000:65536\n", 0),
        ("1000:1:10\nada:5:20\n", 20),
        ("", 0),
        ("ada\nada:x:y\nada:1:\n::\nadam:1:99999\n", 0),
    ],
)
def test_ranges_of_ids(text: str, ids: int) -> None:
    assert machine.longest_range(text, "ada", 1000) == ids


def test_os_release_is_read_with_and_without_quotes() -> None:
    text = "# a comment\nID=ubuntu\nID_LIKE=\"debian x\"\nNAME='U'\nbroken\n"
    assert machine.os_release(text) == {"ID": "ubuntu", "ID_LIKE": "debian x", "NAME": "U"}


@dataclasses.dataclass(frozen=True)
class Answer:
    """An engine that gives one answer to `probe`: what the doctor makes of it is the subject here."""

    name: str
    answer: EngineInfo | MachineError

    def probe(self) -> EngineInfo:
        if isinstance(self.answer, MachineError):
            raise self.answer
        return self.answer

    def argv(self, job: Job) -> tuple[str, ...]:
        raise AssertionError(job)

    def run(self, job: Job, **options: object) -> object:
        raise AssertionError((job, options))


FULL = Answer("bubblewrap", EngineInfo("bubblewrap", "0.8.0", "full"))
PARTIAL = Answer("chroot", EngineInfo("chroot", "1", "partial", ("network", "pids")))
BROKEN = Answer("bubblewrap", MachineError("no user namespaces", hint="sysctl kernel.unprivileged_userns_clone=1"))


def test_one_engine_that_isolates_fully_is_enough() -> None:
    broken = Answer("docker", MachineError("no daemon", hint="start it"))
    found, full = engines.examine([broken, FULL], ROOT)  # type: ignore[list-item]
    assert findings.lacking(found) == () and full == {"bubblewrap"}
    assert [finding.ok for finding in found] == [False, True, True]


def test_a_fix_asks_no_engine_after_the_first_that_is_enough() -> None:
    asked = [BROKEN, FULL, PARTIAL]
    found, _ = engines.examine(asked, ROOT, enough=lambda names: "bubblewrap" in names)  # type: ignore[arg-type]
    assert [finding.name for finding in found] == ["engine bubblewrap", "engine bubblewrap", "an engine"]
    found, _ = engines.examine(asked, ROOT, enough=lambda names: "docker" in names)  # type: ignore[arg-type]
    assert [finding.name for finding in found][2:] == ["engine chroot", "an engine"]


def test_an_engine_that_is_not_installed_is_installed_by_this_systems_manager() -> None:
    absent = [
        Answer(name, MachineError(f"{name} is not installed", hint="apt-get install it"))
        for name in ("docker", "podman")
    ]
    one = machine.Machine(1000, "ada", frozenset({"fedora"}), programs=frozenset({"dnf", "sudo"}))
    found, full = engines.examine(absent, dataclasses.replace(one, family=frozenset({"fedora"})))  # type: ignore[arg-type]
    assert [finding.cure for finding in found] == [
        "sudo dnf install --assumeyes moby-engine",
        "sudo dnf install --assumeyes podman",
        "sudo dnf install --assumeyes moby-engine",
    ]
    assert full == frozenset()
    # One line for both: what is lacking, and the engine.
    whole = (*needs.system(dataclasses.replace(one, subordinate_ids=65536)), *found)
    assert needs.cure(one, whole).count("\n") == needs.cure(one, needs.system(one)).count("\n")


def test_engines_that_cannot_be_made_ready_are_lacking() -> None:
    def registry() -> tuple[Engine, ...]:
        raise MachineError("no helpers", hint="install py-portable again")

    last = doctor.examine(registry, ROOT)[-1]
    assert (last.ok, last.required, last.cause) == (False, True, "no helpers")
    assert last.cure == "install py-portable again"


@pytest.mark.parametrize(("formats", "required"), [([], False), (["bundle"], False), (["pyoxidizer"], True)])
def test_rust_is_required_where_a_format_takes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, formats: list[str], required: bool
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    all_ = doctor.examine(lambda: (FULL,), ROOT, formats=formats)  # type: ignore[arg-type,return-value]
    (found,) = (finding for finding in all_ if finding.name == "Rust")
    assert (found.ok, found.required) == (False, required)
    assert found.cure and "rustup toolchain install stable" in found.cure
    assert (found in doctor.lacking(all_)) == required


def test_a_rust_that_fits_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name, text in (("bin/cargo", "cargo 1.95.0"), ("rustc", "rustc 1.95.0 (abc)")):
        print_sysroot = f'[ "$1" = --version ] || exec echo "{tmp_path}"'
        (tmp_path / name).write_text(f"#!/bin/sh\n{print_sysroot}\necho '{text}'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    all_ = doctor.examine(lambda: (FULL,), ROOT)  # type: ignore[arg-type,return-value]
    (found,) = (finding for finding in all_ if finding.name == "Rust")
    assert found.ok and found.what.endswith(": rustc 1.95.0 (abc), cargo 1.95.0")


def test_no_engine_is_lacking_with_cause_and_cure() -> None:
    last = engines.examine([BROKEN], ROOT)[0][-1]  # type: ignore[list-item]
    assert (last.ok, last.required) == (False, True)
    assert last.cause == "none works here: engine bubblewrap: no user namespaces"
    assert last.cure == "sysctl kernel.unprivileged_userns_clone=1"


def test_an_engine_that_isolates_partly_is_told_but_stops_nothing() -> None:
    found, full = engines.examine([BROKEN, PARTIAL], ROOT)  # type: ignore[list-item]
    assert findings.lacking(found) == () and full == frozenset()
    assert "cannot isolate or limit: network, pids" in found[1].what
    assert not found[-1].ok
    assert "only chroot" in (found[-1].cause or "")


def test_it_needs_no_package_that_a_bare_machine_lacks() -> None:
    """scripts/nox asks it before the machine has more than nox."""
    program = (
        "import sys\n"
        "sys.path = [p for p in sys.path if 'site-packages' not in p] + [sys.argv[1]]\n"
        "from py_portable import doctor\n"
        "print(doctor.observe().uid)\n"
    )
    source = Path(doctor.__file__).parents[2]
    done = subprocess.run([sys.executable, "-I", "-c", program, source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_builds_that_are_not_started_or_do_without_something_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.builds, "look", lambda _: {"own-ids": "an old kernel", "pids": "an old kernel"})
    (told, _), _ = engines.examine([FULL], ROOT)  # type: ignore[list-item]
    assert told.ok and told.what.endswith("; not isolated in builds: own-ids, pids (an old kernel)")

    def refuse(_: object) -> dict[str, str]:
        raise MachineError("none is started", hint="use another engine")

    monkeypatch.setattr(engines.builds, "look", refuse)
    (told, refusal, last), full = engines.examine([FULL], ROOT)  # type: ignore[list-item]
    # It starts cells, and cannot be the way by which an app is built here.
    assert (
        told.ok
        and not last.ok
        and full == frozenset()
        and (refusal.name, refusal.ok, refusal.cause) == ("builds on bubblewrap", False, "none is started")
    )


@pytest.mark.parametrize("platform", ["Darwin", "Windows"])
def test_another_system_is_told_what_is_possible(platform: str) -> None:
    def registry() -> tuple[Engine, ...]:
        raise AssertionError("no engine is tried there")

    with pytest.raises(MachineError) as caught:
        doctor.examine(registry, machine.Machine(-1, "", platform=platform))
    assert caught.value.what == f"this machine runs {platform}"
    assert caught.value.hint == doctor.ELSEWHERE
