"""Debian packages proven on Debian 11, 12 and 13: installed as root, started under every condition, upgraded, removed."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from py_portable.config import Smoke
from py_portable.engines.static_helpers.stored import helpers
from py_portable.formats import Install, Start
from py_portable.images import resolve
from py_portable.prove import cell_runs
from py_portable.prove.bench import Bench, Cell
from py_portable.store import Store, default_root
from tests.debs import deb, raw_deb
from tests.integration.conftest import Ran, bubblewrap, portable

pytestmark = pytest.mark.integration

IMAGES = ("debian:11", "debian:12", "debian:13")
ENGINES = ("bubblewrap", "chroot", "docker", "podman")
TOOL = """#!/bin/sh
cat /etc/hand-made.conf
echo "version $(cat /usr/share/hand-made/version)"
cat /var/lib/hand-made/state
stat -c '%n %a %U' /usr/lib/hand-made/raised /usr/share/hand-made/owned
test ! -e /usr/bin/tac && echo "tac is gone"
ls -ld /etc/motd-of-it | cut -c1
(echo x >/usr/written) 2>/dev/null && echo "the root is open"
echo "given $1"
echo "as $(id -un) in $(id -gn) beside $(getent passwd hand-made | cut -d: -f1)"
"""
POSTINST = """
if [ "$1" = configure ]; then
    mkdir -p /var/lib/hand-made
    echo "state of ${2:-nothing} before" >/var/lib/hand-made/state
    chmod 4755 /usr/lib/hand-made/raised
    chown daemon:daemon /usr/share/hand-made/owned
    useradd --system --no-create-home hand-made 2>/dev/null || :
    dpkg-divert --quiet --local --rename --divert /usr/bin/tac.distrib --add /usr/bin/tac
    ln -sfn /proc/version /etc/motd-of-it
    ldconfig
fi
"""
POSTRM = """
if [ "$1" = purge ]; then
    dpkg-divert --quiet --local --rename --remove /usr/bin/tac
    rm -f /etc/motd-of-it
fi
"""
HEADLESS = """#!/usr/bin/perl
open(my $file, "<", $_) and print <$file> for @ARGV;
"""
SAID = [
    "configured",
    "version 2.0",
    "/usr/lib/hand-made/raised 4755 root",
    "/usr/share/hand-made/owned 644 daemon",
    "tac is gone",
    "l",
    "given word",
    "as cell in cell beside hand-made",
]


def hand_made(folder: Path, version: str, **more: Any) -> Path:
    files = {
        "usr/bin/hand-made": TOOL,
        "etc/hand-made.conf": "configured\n",
        "usr/share/hand-made/version": f"{version}\n",
        "usr/share/hand-made/owned": "owned\n",
        "usr/lib/hand-made/raised": "#!/bin/sh\n",
    }
    scripts = {"postinst": POSTINST, "postrm": POSTRM, "conffiles": "/etc/hand-made.conf\n"}
    return deb(
        folder, files | more.pop("files", {}), version=version, scripts=scripts | more.pop("scripts", {}), **more
    )


@pytest.fixture
def variables(request: pytest.FixtureRequest, engine: str) -> Mapping[str, str]:
    """What leads to the engine's daemon."""
    found: Mapping[str, str] = request.getfixturevalue(engine) if engine in ("docker", "podman") else {}
    return found


def prove(path: Path, *words: str | Path, env: Mapping[str, str] | None = None) -> tuple[Ran, list[dict[str, Any]]]:
    ran = portable("prove", path, "--json", *words, env=dict(env or {}))
    return ran, json.loads(ran.stdout) if ran.stdout else []


def one(path: Path, *words: str | Path) -> dict[str, Any]:
    ran, cells = prove(path, "--image", "debian:12", "--engine", "bubblewrap", *words)
    assert len(cells) == 1, ran.stderr
    return cells[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_package_is_installed_started_upgraded_and_removed(
    tmp_path: Path, engine: str, variables: Mapping[str, str]
) -> None:
    package, older = hand_made(tmp_path, "2.0"), hand_made(tmp_path, "1.0")
    images = [word for image in IMAGES for word in ("--image", image)]
    expected = [word for line in SAID for word in ("--stdout", line)]
    words = ("--engine", engine, "--probes", "read-only,no-home", "--upgrade-from", older, *images, *expected)
    ran, cells = prove(package, *words, "--", "word", env=variables)
    assert ran.status == 0, ran.stdout + ran.stderr
    assert len(cells) == 9 and {cell["verdict"] for cell in cells} == {"PASS"}, cells
    for cell in cells:
        said = cell["stdout_tail"].splitlines()
        assert "state of nothing before" in said, "what is started is the installation, not the upgrade"
        assert ("the root is open" in said) is False, "the app is an ordinary user"
        assert cell["install"] == "done" and not cell["cached"]
        names = [(stage["stage"], stage["status"]) for stage in cell["stages"]]
        if cell["condition"] != "plain":
            assert names == [("install", "done")]
            continue
        assert names == [("install", "done"), ("upgrade", "done"), ("remove", "done")]
        removal = cell["stages"][-1]
        assert removal["left"] == ["/var/lib/hand-made", "/var/lib/hand-made/state"], removal
        accounts = {"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"}
        accounts |= {"/etc/subuid", "/etc/subgid"}
        assert {"/etc/passwd", "/etc/group"} <= set(removal["changed"]) <= accounts, removal
        assert "/var/lib/dpkg/status" in removal["manager"]
        assert "/usr/bin/tac" not in removal["changed"], "what was put aside is back"


def test_what_a_removal_leaves_is_said_and_remembered(tmp_path: Path) -> None:
    package = hand_made(tmp_path, "2.0")
    words = ("prove", package, "--image", "debian:12", "--engine", "bubblewrap", "--", str(time.time()))
    first, second = portable(*words), portable(*words)
    leaves = "; its removal leaves /var/lib/hand-made, /var/lib/hand-made/state\n"
    assert first.stdout.startswith("Success: hand-made_2.0_all.deb passed on debian:12 (") and first.status == 0
    assert first.stdout.endswith(f" s){leaves}") and second.stdout.endswith(f" s, cached){leaves}")


def test_a_real_package_of_debian(tmp_path: Path) -> None:
    """Of Debian 12: its program is an ELF file, and Debian 11 is too old for what it depends on."""
    words = ["apt-get", "download", "-o", "APT::Sandbox::User=root", "hello"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    (package,) = tmp_path.glob("hello_*.deb")
    ran, cells = prove(package, *(word for image in IMAGES for word in ("--image", image)), "--stdout", "Hello, world!")
    by_image = {cell["image"]: cell for cell in cells}
    assert (by_image["debian:12"]["verdict"], by_image["debian:13"]["verdict"]) == ("PASS", "PASS"), ran.stdout
    assert by_image["debian:12"]["stages"][-1]["left"] == []
    old = by_image["debian:11"]
    if platform.freedesktop_os_release()["VERSION_ID"] == "12":
        assert (old["verdict"], old["reason"]) == ("FAIL", "install")
        assert "dpkg: dependency problems prevent configuration of hello: hello depends on libc6" in old["detail"]


@pytest.mark.parametrize(
    ("fields", "scripts", "files", "reason", "detail"),
    [
        (
            {"Depends": "libnothere1 (>= 2)"},
            {},
            {},
            "install",
            "the install stage failed: exit status 1: dpkg: dependency problems prevent configuration of hand-made: "
            "hand-made depends on libnothere1 (>= 2); however: Package libnothere1 is not installed.",
        ),
        (
            {},
            {"postinst": "echo it is broken >&2; exit 3"},
            {},
            "install",
            "the install stage failed: exit status 1: dpkg: error processing package hand-made (--install): installed "
            "hand-made package post-installation script subprocess returned error exit status 3",
        ),
        (
            {},
            {"preinst": "timeout 5 sh -c 'echo >/dev/tcp/1.1.1.1/53' || getent hosts example.org"},
            {},
            "install",
            "new hand-made package pre-installation script subprocess returned error exit status 2",
        ),
        (
            {},
            {"prerm": "exit 4"},
            {},
            "remove",
            "the stage remove failed: exit status 1: dpkg: error processing package hand-made (--purge): installed "
            "hand-made package pre-removal script subprocess returned error exit status 4",
        ),
        ({}, {}, {"usr/bin/hand-made": "#!/bin/sh\nexit 5\n"}, "exit", "exit status 5, expected 0"),
        ({"Architecture": "riscv64"}, {}, {}, "install", "package architecture (riscv64) does not match system"),
    ],
    ids=["needs what is not there", "fails", "wants the network", "stays", "does not work", "is for another machine"],
)
def test_a_package_that_fails_has_a_reason_and_dpkgs_words(
    tmp_path: Path, fields: dict[str, str], scripts: dict[str, str], files: dict[str, str], reason: str, detail: str
) -> None:
    cell = one(hand_made(tmp_path, "2.0", fields=fields, scripts=scripts, files=files))
    assert (cell["verdict"], cell["reason"]) == ("FAIL", reason), cell
    assert detail in cell["detail"]


def test_a_file_of_the_image_in_whose_place_a_package_comes_is_missed(tmp_path: Path) -> None:
    """Another package's file is refused by dpkg itself; but it does not see that /bin and /usr/bin are one folder."""
    cell = one(hand_made(tmp_path, "1.0", files={"usr/bin/dpkg": "#!/bin/sh\n"}), "--program", "hand-made")
    assert (cell["verdict"], cell["reason"]) == ("FAIL", "install"), cell
    assert "trying to overwrite '/usr/bin/dpkg', which is also in package dpkg" in cell["detail"]
    cell = one(hand_made(tmp_path, "2.0", files={"usr/bin/cat": HEADLESS}), "--program", "hand-made")
    assert (cell["verdict"], cell["reason"]) == ("FAIL", "residue"), cell
    assert cell["detail"] == "its removal changes files of the image: /usr/bin/cat"


def test_an_upgrade_that_fails_is_a_failure_of_the_package(tmp_path: Path) -> None:
    older = hand_made(tmp_path, "1.0")
    refuses = hand_made(tmp_path, "2.0", scripts={"preinst": '[ "$1" != upgrade ]'})
    cell = one(refuses, "--upgrade-from", older)
    assert (cell["verdict"], cell["reason"]) == ("FAIL", "upgrade"), cell
    assert "new hand-made package pre-installation script subprocess returned error" in cell["detail"]
    spoils = hand_made(tmp_path, "3.0", scripts={"postinst": '[ -z "$2" ] || chmod 0 /usr/bin/hand-made'})
    cell = one(spoils, "--upgrade-from", older)
    assert (cell["verdict"], cell["reason"]) == ("FAIL", "upgrade"), cell
    assert cell["detail"].startswith("the stage upgrade failed: the start after it: the kernel does not start it")
    assert [stage["status"] for stage in cell["stages"]] == ["done", "failed", "done"]
    broken = hand_made(tmp_path, "0.5", scripts={"postinst": "exit 1"})
    cell = one(hand_made(tmp_path, "4.0"), "--upgrade-from", broken)
    assert (cell["verdict"], cell["reason"]) == ("FAIL", "upgrade") and "the older package: " in cell["detail"], cell


def test_what_cannot_be_proven_is_an_error_of_the_command_line(tmp_path: Path) -> None:
    two = deb(tmp_path, {"usr/bin/one": TOOL, "usr/bin/two": "#!/bin/sh\necho second\n"}, name="pair")
    ran = portable("prove", two, "--image", "debian:12")
    assert ran.status == 2 and "several programs in /usr/bin" in ran.stderr
    assert "next: name one of these with --program (app.script in the config): one, two" in ran.stderr
    assert one(two, "--program", "two", "--stdout", "second")["verdict"] == "PASS"
    script = tmp_path / "tool"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    ran = portable("prove", script, "--image", "debian:12", "--upgrade-from", two)
    assert ran.status == 2 and "is not a package, and only packages can be upgraded" in ran.stderr


def test_nothing_is_installed_with_the_engine_native(tmp_path: Path) -> None:
    here = platform.freedesktop_os_release()
    package = hand_made(tmp_path, "2.0")
    ran, (cell,) = prove(package, "--engine", "native", "--image", f"{here['ID']}:{here['VERSION_ID']}")
    assert (ran.status, cell["verdict"], cell["reason"]) == (1, "UNPROVEN", "engine")
    assert cell["detail"] == "the engine native changes the root that it runs in, so nothing is installed there"
    assert not Path("/usr/bin/hand-made").exists()


HOSTILE = """
exec 2>/dev/null
for place in / /usr /sys/lower /sys/upper /proc/1/root; do mount -o remount,rw $place; echo spoilt >$place/spoilt; done
rm -rf /usr/share/doc /bin/ls
mknod /tmp/disk b 254 0 && cat /tmp/disk
mknod /usr/disk c 1 1
unshare -Ur sh -c 'echo spoilt >/spoilt'
echo 1 >/proc/sys/kernel/sysrq
chroot /proc/1/root touch /spoilt
for fd in 3 4 5 6 7 8 9; do eval "echo forged >&$fd"; done
# What is mounted for the next stages, and for the start, is to come to lie elsewhere.
rm -rf /run /home /opt
ln -s /etc /run; ln -s /srv /home; ln -s /proc/1/cwd /opt
chmod 0700 /
chmod 0755 /
:
"""


@pytest.mark.parametrize("engine", ["bubblewrap", "chroot", "docker"])
def test_a_hostile_maintainer_script_changes_nothing_but_its_own_layer(
    tmp_path: Path, engine: str, variables: Mapping[str, str]
) -> None:
    package = hand_made(tmp_path, "2.0", scripts={"postinst": POSTINST + HOSTILE})
    before = machine(tmp_path)
    ran, cells = prove(package, "--engine", engine, "--image", "debian:12", "--probes", "read-only", env=variables)
    assert machine(tmp_path) == before
    assert {cell["verdict"] for cell in cells} <= {"PASS", "FAIL", "UNPROVEN"} and ran.status in (0, 1), ran.stderr
    assert one(hand_made(tmp_path, "3.0"))["verdict"] == "PASS", "the image is what it was"


def test_hostile_names_and_modes_in_a_package_lead_nowhere(tmp_path: Path) -> None:
    before = machine(tmp_path)
    links = {"./var": "/", "./srv/out": "/proc/1/root", "./srv/out/spoilt": b"spoilt", "./opt": "../../../../../.."}
    tool = b"#!/bin/sh\nid -u; id -ru\n"
    for number, files in enumerate(
        (
            {"/usr/bin/hand-made": tool, "/spoilt": b"spoilt", "//etc/spoilt": b"spoilt"},
            {"./usr/bin/hand-made": tool, **links},
        )
    ):
        cell = one(raw_deb(tmp_path / f"{number}.deb", files))
        assert cell["verdict"] in ("PASS", "FAIL", "UNPROVEN"), cell
        assert "0" not in (cell["stdout_tail"] or "").split(), "a setuid bit makes nobody root"
    assert machine(tmp_path) == before
    ran, _ = prove(raw_deb(tmp_path / "above.deb", {"./usr/../../spoilt": b"spoilt"}), "--image", "debian:12")
    assert ran.status == 2 and "a path with '..' leads out of where it is installed" in ran.stderr


def machine(folder: Path) -> dict[str, Any]:
    """What a maintainer script could have touched: the images of the store, mounts, and places of this machine."""
    store = Store(default_root(os.environ))
    roots = list(Path(default_root(os.environ), "objects").glob("*/*/out/root"))
    for path in roots:
        entry = store.get(path.parents[1].name)
        assert entry is not None
        store.verify(entry)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return {
        "mounts": [line for line in mounts if str(folder) in line or "/objects/" in line],
        "places": [sorted(os.listdir(place)) for place in ("/", "/etc", "/root")],  # noqa: PTH208 - names only
        "spoilt": [place for place in ("/spoilt", "/usr/spoilt", "/etc/spoilt") if Path(place).exists()],
    }


def test_what_a_killed_run_installed_is_removed_by_the_next_one(tmp_path: Path) -> None:
    store = default_root(os.environ)
    mark = f"97{os.getpid()}"
    package = hand_made(tmp_path, "2.0", scripts={"postinst": f"sleep {mark}"})
    words = [sys.executable, "-m", "py_portable", "prove", str(package), "--image", "debian:12"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as python:
        wait_for(lambda: sleeping(mark))
        python.send_signal(signal.SIGKILL)
    wait_for(lambda: not sleeping(mark))
    left = [path.name for path in Path(store, "tmp").glob(f"install-{python.pid}-*")]
    assert left, "it had a work folder"
    assert one(hand_made(tmp_path, "1.0"))["verdict"] == "PASS"
    assert not list(Path(store, "tmp").glob(f"install-{python.pid}-*"))


def sleeping(mark: str) -> bool:
    done = subprocess.run(["pgrep", "-f", f"^sleep {mark}$"], capture_output=True)
    return done.returncode == 0


def wait_for(true: Any) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_stage_that_fills_one_folder_keeps_that_alone(tmp_path: Path) -> None:
    store = Store(default_root(os.environ))
    folder = "/opt/app"
    script = f"echo kept >{folder}/kept; echo lost >/usr/lost"
    cell = Cell(
        artifact="app",
        format="file",
        sha256=f"sha256:{time.time()}",
        start=Start("/bin/sh", (), Install(("/bin/sh", "-c", script), (), target=folder)),
        smoke=Smoke(args=("-c", f"cat {folder}/kept; ls /usr/lost"), stdout=("kept",), exit=2),
        image_name="debian:12",
        image=resolve("debian:12", store=store),
        condition="plain",
        expect="pass",
    )
    engine = bubblewrap()
    bench = Bench(engine, engine.probe(), helpers(store), store, "flags", tmp_path)
    failing = replace(
        cell, artifact="failing", start=replace(cell.start, install=Install(("/bin/false",), (), target=folder))
    )
    missing = replace(
        cell, artifact="missing", start=replace(cell.start, install=Install(("/bin/none",), (), target=folder))
    )
    results = cell_runs.run([cell, failing, missing], bench, lambda _result: None)
    assert [(one.verdict, one.reason, one.install) for one in results] == [
        ("PASS", None, "done"),
        ("FAIL", "install", "failed"),
        ("FAIL", "install", "failed"),
    ]
    assert [one.stages for one in results] == [()] * 3
