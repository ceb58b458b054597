"""What the doctor concludes from a machine: pure, so any machine can be tried."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from py_portable import doctor
from py_portable.doctor import engines, machine, needs, rust
from py_portable.engines.base import Engine, EngineInfo, Job
from py_portable.errors import MachineError

PROGRAMS = frozenset({"apt-get", "bwrap", "gcc", "mmdebstrap", "musl-gcc", "newgidmap", "newuidmap", "sudo"})
FILES = frozenset({machine.KEYRINGS[0], machine.CA_BUNDLES[0]})
ROOT = machine.Machine(0, "root", frozenset({"debian"}), programs=PROGRAMS, files=FILES)
USER = machine.Machine(
    1000, "ada", frozenset({"ubuntu", "debian"}), programs=PROGRAMS, files=FILES, subordinate_ids=65536
)


def lacking(one: machine.Machine) -> dict[str, needs.Finding]:
    return {finding.name: finding for finding in needs.lacking(needs.system(one))}


@pytest.mark.parametrize("one", [ROOT, USER], ids=["root", "user"])
def test_nothing_is_lacking_where_all_is_there(one: machine.Machine) -> None:
    findings = needs.system(one)
    assert findings
    assert needs.lacking(findings) == ()
    assert needs.cure(one, findings) == ""


def test_only_an_ordinary_user_needs_uidmap_and_a_range() -> None:
    names = {finding.name for finding in needs.system(USER)} - {
        finding.name for finding in needs.system(ROOT)
    }
    assert names == {"uidmap", "id range"}


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
        "C headers",
    ]
    more = PROGRAMS | {"strace", "rsync", "skopeo", "docker-registry", "docker", "dockerd", "podman", "runc"}
    assert lacking(dataclasses.replace(told, programs=more, files=FILES | set(machine.HEADERS))) == {}


def test_without_skopeo_the_kit_works_and_says_what_is_missed() -> None:
    (told,) = (finding for finding in needs.system(ROOT) if finding.name == "skopeo")
    assert (told.ok, told.required) == (False, False)
    assert told.cure == "apt-get install --yes --no-install-recommends skopeo"
    assert "not here skopeo" in needs.render((told,))


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
    findings = needs.system(bare)
    assert needs.cure(bare, findings) == (
        "apt-get install --yes --no-install-recommends bubblewrap mmdebstrap debian-archive-keyring "
        "ca-certificates"
    )
    assert needs.packages(findings) == (
        "bubblewrap",
        "mmdebstrap",
        "debian-archive-keyring",
        "ca-certificates",
    )


def test_what_no_package_brings_stands_in_lines_of_its_own() -> None:
    one = dataclasses.replace(USER, programs=PROGRAMS - {"bwrap"}, subordinate_ids=0)
    assert needs.cure(one, needs.system(one)) == (
        "sudo apt-get install --yes --no-install-recommends bubblewrap\n"
        "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ada"
    )


def test_an_apt_get_on_fedora_is_not_fedoras_package_manager() -> None:
    one = machine.Machine(
        0, "root", frozenset({"fedora"}), programs=PROGRAMS - {"bwrap"} | {"dnf"}, files=FILES
    )
    assert needs.cure(one, needs.system(one)) == "dnf install --assumeyes bubblewrap"
    assert not doctor.may_fix(one)


def test_an_unknown_system_is_told_the_name() -> None:
    one = machine.Machine(0, "root", frozenset({"void"}), files=FILES)
    assert "install mmdebstrap by hand" in needs.cure(one, needs.system(one))


@pytest.mark.parametrize(
    ("one", "allowed"),
    [
        (ROOT, True),
        (dataclasses.replace(ROOT, family=frozenset({"ubuntu", "debian"})), True),
        (USER, False),
        (dataclasses.replace(ROOT, environment={"PY_PORTABLE_NO_FIX": "1"}), False),
        (dataclasses.replace(ROOT, programs=frozenset()), False),
        (dataclasses.replace(ROOT, family=frozenset({"alpine"})), False),
    ],
)
def test_only_root_on_debians_family_may_install(one: machine.Machine, allowed: bool) -> None:
    assert doctor.may_fix(one) is allowed


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
        "  next: apt-get install --yes --no-install-recommends bubblewrap mmdebstrap"
    )
    assert said == []


def test_nothing_is_installed_where_nothing_is_lacking() -> None:
    said: list[str] = []
    assert doctor.fix(needs.system(ROOT), ROOT, said.append) is False
    assert said == []


def test_the_picture_shows_cause_and_cure_below_what_lacks() -> None:
    findings = (
        needs.Finding("a", True, "does this"),
        needs.Finding("bcd", False, "does that", "it is gone", "one\ntwo"),
        needs.Finding("e", False, "nice to have", required=False),
    )
    assert needs.render(findings).splitlines() == [
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
BROKEN = Answer(
    "bubblewrap", MachineError("no user namespaces", hint="sysctl kernel.unprivileged_userns_clone=1")
)


def test_one_engine_that_isolates_fully_is_enough() -> None:
    broken = Answer("docker", MachineError("no daemon", hint="start it"))
    findings = engines.examine([broken, FULL])  # type: ignore[list-item]
    assert needs.lacking(findings) == ()
    assert [finding.ok for finding in findings] == [False, True, True]


def test_a_fix_asks_no_engine_after_the_first_that_is_enough() -> None:
    findings = engines.examine([BROKEN, FULL, PARTIAL], until_full=True)  # type: ignore[list-item]
    assert [finding.name for finding in findings] == ["engine bubblewrap", "engine bubblewrap", "an engine"]


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
    findings = doctor.examine(lambda: (FULL,), ROOT, formats=formats)  # type: ignore[arg-type,return-value]
    (found,) = (finding for finding in findings if finding.name == "Rust")
    assert (found.ok, found.required) == (False, required)
    assert found.cure and "rustup toolchain install stable" in found.cure
    assert (found in doctor.lacking(findings)) == required


def test_a_rust_that_fits_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name, text in (("bin/cargo", "cargo 1.95.0"), ("rustc", "rustc 1.95.0 (abc)")):
        print_sysroot = f'[ "$1" = --version ] || exec echo "{tmp_path}"'
        (tmp_path / name).write_text(f"#!/bin/sh\n{print_sysroot}\necho '{text}'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = rust.examine(required=True)
    assert found.ok and found.what.endswith(": rustc 1.95.0 (abc), cargo 1.95.0")


def test_no_engine_is_lacking_with_cause_and_cure() -> None:
    last = engines.examine([BROKEN])[-1]  # type: ignore[list-item]
    assert (last.ok, last.required) == (False, True)
    assert last.cause == "none starts here: engine bubblewrap: no user namespaces"
    assert last.cure == "sysctl kernel.unprivileged_userns_clone=1"


def test_an_engine_that_isolates_partly_is_told_but_stops_nothing() -> None:
    findings = engines.examine([BROKEN, PARTIAL])  # type: ignore[list-item]
    assert needs.lacking(findings) == ()
    assert "cannot isolate or limit: network, pids" in findings[1].what
    assert not findings[-1].ok
    assert "only chroot" in (findings[-1].cause or "")


def test_it_needs_no_package_that_a_bare_machine_lacks() -> None:
    """scripts/nox asks it before the machine has more than nox."""
    program = (
        "import sys\n"
        "sys.path = [p for p in sys.path if 'site-packages' not in p] + [sys.argv[1]]\n"
        "from py_portable import doctor\n"
        "print(doctor.observe().uid)\n"
    )
    source = Path(doctor.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, source], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_builds_that_are_not_started_or_do_without_something_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.builds, "look", lambda _: {"own-ids": "an old kernel", "pids": "an old kernel"})
    (told, _) = engines.examine([FULL])  # type: ignore[list-item]
    assert told.ok and told.what.endswith("; builds do without: own-ids, pids (an old kernel)")

    def refuse(_: object) -> dict[str, str]:
        raise MachineError("none is started", hint="use another engine")

    monkeypatch.setattr(engines.builds, "look", refuse)
    (told, refusal, last) = engines.examine([FULL])  # type: ignore[list-item]
    assert told.ok and last.ok and (refusal.name, refusal.ok, refusal.cause) == ("builds on bubblewrap", False, "none is started")
