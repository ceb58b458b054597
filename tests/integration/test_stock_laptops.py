"""A laptop as it is, and a job's container: the README's lines, from `pip install` of the kit's own wheel to a green run of a small app.

The public registry is played by one on loopback; package indexes and Debian's mirror are the real ones.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from py_portable.images.find import resolve
from py_portable.store import Store, default_root
from tests.integration import registry
from tests.integration.conftest import REPOSITORY
from tests.integration.github import copy_of_the_kit
from tests.readme import blocks
from tests.stock.machine import Machine, Ran, recorded, stock

pytestmark = pytest.mark.integration

APP = REPOSITORY / "tests" / "stock" / "app"
FOLDER = "/home/ada/dbcheck"
MAKE = """
import sys
from pathlib import Path
from release import wheels
root, out = map(Path, sys.argv[1:])
wheels.make(root, out / "wheels", out / "work", wheels.epoch(root))
"""
STEPS = blocks("Your laptop")[0].splitlines()
INIT = next(at for at, line in enumerate(STEPS) if line.startswith("py-portable init"))
CHECKED = INIT + 2


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a release gives to the package index."""
    place = tmp_path_factory.mktemp("kit")
    root = copy_of_the_kit(place / "kit")
    done = subprocess.run(
        [sys.executable, "-c", MAKE, root, place], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return place / "wheels"


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registry.Registry]:
    folder = tmp_path_factory.mktemp("public")
    store = Store(default_root(os.environ))
    with registry.Registry(folder / "registry", tls=False, login=False) as server:
        for name in ("debian:12", "debian:13"):
            root = resolve(name, store=store).root
            server.image(f"library/{name}", [registry.root_layer(root)], folder / name.replace(":", "-"))
        yield server


def prepare(machine: Machine, wheels: Path, public: registry.Registry | None = None, *, images: int = 1) -> None:
    """The app's folder, and an index that has the kit; nothing is installed by it. One image is enough to see that it
    works, and costs half."""
    machine.copy(wheels, "/home/ada/index")
    machine.copy(APP, FOLDER)
    if images == 1:
        config = machine.path(f"{FOLDER}/portable.yaml")
        config.write_text(config.read_text().replace(', "debian:13"', ""))
    machine.env["PIP_FIND_LINKS"] = "/home/ada/index"
    if public:
        machine.env["PY_PORTABLE_MIRRORS"] = f"docker.io/={public.host}/"


TYPES = """
import json, os, pty, sys
awaited = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("sh", ["sh", "typed"])
seen = b""
while True:
    try:
        got = os.read(terminal, 65536)
    except OSError:
        break
    if not got:
        break
    sys.stdout.buffer.write(got)
    seen += got
    if awaited and awaited[0][0].encode() in seen:
        seen = b""
        os.write(terminal, awaited.pop(0)[1].encode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def at_terminal(machine: Machine, lines: Sequence[str], *answers: tuple[str, str]) -> Ran:
    """As somebody types them, who waits for each of the questions and then types the answer."""
    script = machine.path(f"{FOLDER}/typed")
    script.write_text("set -e\n" + "\n".join(lines) + "\n")
    ran = machine.run(["python3", "-c", TYPES, json.dumps(answers)], cwd=FOLDER)
    script.unlink()
    return dataclasses.replace(ran, stdout=COLOURS.sub("", ran.stdout).replace("\r\n", "\n"))


COLOURS = re.compile(r"\x1b\[[0-9;]*m")
YES = ("Do this with sudo? [y/N]: ", "y\n")
NO = ("Do this with sudo? [y/N]: ", "\n")


def by_the_readme(machine: Machine, *answers: tuple[str, str]) -> tuple[Ran, Ran]:
    """All of its lines. The config that `init` wrote compiles a CPython; the app's own takes Debian's."""
    own = machine.path(f"{FOLDER}/portable.yaml").rename(machine.path("/home/ada/own.yaml"))
    first = at_terminal(machine, STEPS[:CHECKED], *answers)
    assert first.status == 0, first.said
    written = machine.path(f"{FOLDER}/portable.yaml")
    assert 'script: "dbcheck"' in written.read_text() and "portable.yaml: valid" in first.stdout
    written.write_text(own.read_text())
    again = [STEPS[1], *STEPS[CHECKED:]]
    second = at_terminal(machine, again)
    assert second.status == 0, second.said
    return first, second


GREEN = re.compile(r"^Success: wheels passed on debian:12 \(\d+\.\d\d s\)$.*^PASS: [12] PASS; evidence: ", re.M | re.S)
"""Nothing stands between the brackets but the time: the engine isolates fully."""


def assert_green(ran: Ran) -> None:
    assert GREEN.search(ran.stdout), ran.said


def as_shown(printed: str) -> set[str]:
    """The lines that the README shows, whatever they took and in whichever order the cells ended."""
    lines = [re.sub(r"\d+(\.\d+)? (s|MB)\b|[ -]{2,}|\[ *[\d.]+s\] +", " ", line) for line in printed.splitlines()]
    return {line for line in lines if not line.lstrip().startswith(("started", "resolving"))}


def test_with_docker_nothing_is_installed_and_nothing_asked(wheels: Path, public: registry.Registry) -> None:
    with stock("laptop-docker") as machine, recorded(machine) as records:
        prepare(machine, wheels, public, images=2)
        first, second = by_the_readme(machine)
    assert_green(second)
    printed, shown = as_shown(second.stdout), as_shown(blocks("Your laptop")[1])
    assert shown <= printed, shown - printed
    # A step that took nearly no time says so only on a slow day.
    assert all(line.startswith(" done ") for line in printed - shown), printed - shown
    assert "Do this with sudo?" not in first.stdout and "To be installed" not in first.stdout
    (record,) = records
    assert record.packages == ()
    assert list(record.python) == [f"{FOLDER}/.venv"]


@pytest.mark.nightly
def test_with_nothing_but_sudo_the_doctor_asks_and_installs(wheels: Path) -> None:
    with stock("laptop-bare") as machine:
        prepare(machine, wheels)
        with recorded(machine) as records:
            first, second = by_the_readme(machine, YES)
    assert_green(second)
    assert "To be installed by apt-get: bubblewrap libsubid5 mmdebstrap uidmap" in first.stdout
    assert "Do this with sudo? [y/N]: " in first.stdout
    (record,) = records
    names = [name.split()[0] for name in record.packages]
    assert names == ["bubblewrap", "libsubid5", "mmdebstrap", "uidmap"]


def test_with_podman_nothing_is_installed(wheels: Path, public: registry.Registry) -> None:
    with stock("laptop-podman") as machine, recorded(machine) as records:
        prepare(machine, wheels, public)
        at_terminal(machine, STEPS[:3])
        shown = doctor(machine).stdout
        if why := re.search(r"^not here engine podman .*\n +cause: (.*)$", shown, re.M):
            pytest.skip(f"podman starts no container of an ordinary user here: {why[1]}")
        _, second = by_the_readme(machine)
    assert_green(second)
    (record,) = records
    assert record.packages == ()


def test_in_an_unprivileged_container_nothing_is_installed_and_what_is_possible_is_said(wheels: Path) -> None:
    """Not a laptop, but the same lines: root, for whom no package makes an engine start."""
    with stock("gitlab-unprivileged") as machine:
        machine.copy(wheels, "/opt/index")
        machine.env["PIP_FIND_LINKS"] = "/opt/index"
        machine.check(["sh", "-ec", "\n".join(STEPS[:3])])
        kit = ".venv/bin/py-portable"
        with recorded(machine) as records:
            fixed, shown = machine.run([kit, "doctor", "--fix"]), machine.run([kit, "doctor", "-q"])
            by_name = machine.run([kit, "doctor", "--fix", "-q"], env={"PY_PORTABLE_ENGINE": "native"})
            run = machine.run([kit, "prove", "/usr/bin/true", "--image", "debian:12"])
    assert (fixed.status, shown.status, run.status) == (3, 3, 3), (fixed.said, shown.said, run.said)
    assert (by_name.status, by_name.stdout, by_name.stderr) == (0, "", ""), by_name.said
    assert records[0].packages == ()
    assert fixed.stderr.startswith("Error: this machine lacks namespaces\n"), fixed.said
    assert "To be installed" not in fixed.said and "apt-get" not in shown.stdout
    for told in (fixed.stderr, shown.stdout):
        assert "the kernel refuses them to this process, though it is root" in told
        assert "py-portable portability --engine native" in told and "--build-engine native" in told
        assert "GitLab's template does both by itself (docs/gitlab.md)" in told


@pytest.fixture(scope="module")
def bare(wheels: Path) -> Iterator[Machine]:
    """With the kit, and with a range of ids taken away."""
    with stock("laptop-bare") as machine:
        prepare(machine, wheels)
        at_terminal(machine, STEPS[:3])
        machine.path("/etc/subuid").write_text("bob:100000:65536\n")
        machine.path("/etc/subgid").write_text("bob:100000:65536\n")
        yield machine


def doctor(machine: Machine, *words: str, **env: str) -> Ran:
    return machine.run([".venv/bin/py-portable", "doctor", *words], cwd=FOLDER, env=env)


LINE = (
    "sudo apt-get install --yes --no-install-recommends bubblewrap mmdebstrap uidmap && "
    "sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ada"
)


def test_who_is_not_asked_gets_the_line_and_nothing_is_changed(bare: Machine) -> None:
    with recorded(bare) as records:
        shown = doctor(bare, "-q")
        refused = doctor(bare, "--fix", "-q")
        forbidden = doctor(bare, "--fix", "--yes", CI="true", PY_PORTABLE_NO_FIX="1")
        said_no = at_terminal(bare, [".venv/bin/py-portable doctor --fix"], NO)
    assert [ran.status for ran in (shown, refused, forbidden, said_no)] == [3, 3, 3, 3]
    assert shown.stdout.splitlines()[-1] == LINE
    assert f"next: {LINE}\n" in refused.stderr and f"next: {LINE}\n" in forbidden.stderr
    assert "nothing was installed: sudo is used only on a terminal, in a CI job" in refused.stderr
    assert "nothing was installed: PY_PORTABLE_NO_FIX=1 forbids it" in forbidden.stderr
    assert "nothing was installed: the answer was no" in said_no.stdout
    assert records[0].packages == ()


def test_a_mirror_out_of_reach_is_named_with_apts_last_lines_and_the_cure(bare: Machine) -> None:
    lists, kept, sources = "/var/lib/apt/lists", "/var/lib/apt/kept", bare.path("/etc/apt/sources.list")
    told = sources.read_text()
    bare.check(["sh", "-c", f"cp -a {lists} {kept} && rm -r {lists}/*"], user="root")
    sources.write_text("deb [trusted=yes] http://127.0.0.1:9/debian trixie main\n")
    try:
        failed = doctor(bare, "--fix", CI="true")
    finally:
        sources.write_text(told)
        bare.check(["sh", "-c", f"rm -r {lists} && cp -a {kept} {lists}"], user="root")
    assert failed.status == 3, failed.said
    assert "Error: installing bubblewrap mmdebstrap uidmap failed" in failed.stderr
    assert ": the package server cannot be reached" in failed.stderr
    assert "  | E: Unable to locate package bubblewrap" in failed.stderr
    assert "next: check the network, and the proxy in the package manager's own settings" in failed.stderr
    assert "sudo apt-get update && sudo apt-get install" in failed.stderr


HOLD = "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'a'); fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(60)"
IMPATIENT = """
import dataclasses, sys
from py_portable.doctor import managers
apt = managers.MANAGERS["apt-get"]
words = tuple("-oDPkg::Lock::Timeout=1" if "Lock::Timeout" in word else word for word in apt.install)
managers.MANAGERS["apt-get"] = dataclasses.replace(apt, install=words)
from py_portable.cli import main
main(["doctor", "--fix"])
"""


def test_another_apt_at_work_is_named(bare: Machine) -> None:
    bare.start("holds", ["python3", "-c", HOLD])
    bare.check(["sleep", "1"])
    failed = bare.run([".venv/bin/python", "-c", IMPATIENT], cwd=FOLDER, env={"CI": "true"})
    bare.started.pop("holds").kill()
    assert failed.status == 3, failed.said
    assert ": another package manager is running" in failed.stderr
    assert "dpkg/lock-frontend" in failed.stderr, failed.said
    assert "next: wait until it has finished" in failed.stderr


def test_a_job_of_a_ci_installs_by_sudo_and_gives_a_range_of_ids(bare: Machine) -> None:
    with recorded(bare) as records:
        fixed = doctor(bare, "--fix", "-q", CI="true")
    assert (fixed.status, fixed.stdout) == (0, ""), fixed.said
    assert fixed.stderr.splitlines() == [
        "To be installed by apt-get: bubblewrap libsubid5 mmdebstrap uidmap",
        "To be run as root: usermod --add-subuids 165536-231071 --add-subgids 165536-231071 ada",
    ]
    assert len(records[0].packages) == 4
    assert doctor(bare, "-q").status == 0


def test_a_sudo_that_asks_for_a_password_is_named_and_not_waited_for(wheels: Path) -> None:
    with stock("laptop-podman") as machine:
        prepare(machine, wheels)
        at_terminal(machine, STEPS[:3])
        # Without podman nothing is left that could start anything.
        machine.path("/usr/bin/podman").unlink()
        refused = doctor(machine, "--fix", CI="true")
        assert refused.status == 3
        assert "nothing was installed: sudo asks for a password, or refuses this user" in refused.stderr
        typed = at_terminal(machine, [".venv/bin/py-portable doctor --fix"], YES, ("password for ada: ", "\x04"))
        assert typed.status == 3, typed.said
        assert "Error: sudo refused, so nothing was installed" in typed.stdout
        typed = at_terminal(
            machine, [".venv/bin/py-portable doctor --fix -q"], YES, ("password for ada: ", "a password\n")
        )
        assert typed.status == 0, typed.said
        assert "[sudo] password for ada:" in typed.stdout
        assert machine.path("/usr/bin/bwrap").exists()
