"""RPM packages of others: installed, started, upgraded and removed by the real rpm, in an image of Debian that has it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from py_portable import formats
from py_portable.config import Smoke
from py_portable.engines import static_helpers
from py_portable.engines.static_helpers.stored import helpers
from py_portable.evidence.typed import CellResult
from py_portable.formats import FORMATS
from py_portable.images import resolve
from py_portable.prove import cell_runs
from py_portable.prove.bench import Bench, Cell
from py_portable.store import Store, default_root, digest
from tests.integration.conftest import bubblewrap, portable
from tests.integration.test_install_root import HOSTILE, machine
from tests.rpms import PACKAGES, Rpm, rpms

pytestmark = pytest.mark.integration
# rpm knows nothing of what Debian's dpkg installed, and each script of a package needs its interpreter.
SHELL = ("Provides: /bin/sh",)
TOOL = '#!/bin/sh\necho "version $(cat /usr/share/hand-made/version)"\ncat /etc/hand-made.conf\n'
RAISED = """
#include <stdio.h>
#include <unistd.h>
int main(void) { setuid(0); printf("user %d\\n", geteuid() != 0); return geteuid() == 0; }
"""


def tool(version: str = "1.0", **sections: str) -> Rpm:
    files = {
        "usr/bin/hand-made": TOOL,
        "usr/share/hand-made/version": f"{version}\n",
        "etc/hand-made.conf": "configured\n",
    }
    return Rpm(files, version=version, fields=("AutoReqProv: no", *SHELL), sections=sections)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("rpms")
    (place / "raised.c").write_text(RAISED)
    words = [*static_helpers.compiler(), "-static", "-o", place / "program", place / "raised.c"]
    subprocess.run(words, check=True)
    raised = {"usr/bin/hand-made": (place / "program").read_bytes()}
    plain = ("AutoReqProv: no",)
    wanted = {
        "good": tool("2.0", post="mkdir -p /var/lib/left; echo >/var/lib/left/file"),
        "older": tool("1.0"),
        "pre": tool(pre="echo broken >&2; exit 3"),
        "post": tool(post="echo broken >&2; exit 3"),
        "preun": tool(preun="exit 4"),
        "needs": Rpm({"usr/bin/hand-made": TOOL}, fields=(*plain, "Requires: libnothere >= 2")),
        "other": Rpm({"usr/bin/hand-made": TOOL}, arch="riscv64", fields=plain),
        "cat": Rpm({"usr/bin/hand-made": TOOL, "usr/bin/cat": "#!/bin/sh\n"}, fields=plain),
        "raised": Rpm(raised, arch=platform.machine(), fields=plain, modes={"usr/bin/hand-made": "4755"}),
        "hostile": tool(post=HOSTILE),
        "pair": Rpm({"usr/bin/one": TOOL, "usr/bin/two": TOOL}, name="pair", fields=plain),
    }
    return rpms(place, wanted)


def proven(room: Path, packages: dict[str, tuple[Path, tuple[str, ...], Path | None]]) -> dict[str, CellResult]:
    """Each package with the lines that it has to print, and the one that it is an upgrade of."""
    store, engine = Store(default_root(os.environ)), bubblewrap()
    image = resolve("debian:12", packages=PACKAGES, store=store, engine=engine)
    cells = []
    for name, (path, stdout, older) in packages.items():
        meta = {"older": str(older), "older_sha256": digest(older)} if older else {}
        made = formats.foreign(path, meta)
        start = FORMATS["file"].start(made, image)
        smoke = Smoke(args=(), stdout=stdout)
        cells.append(Cell(name, "file", made.sha256, start, smoke, "debian:12", image, "plain", "pass", made=made))
    bench = Bench(engine, engine.probe(), helpers(store), store, "flags", room)
    return {one.artifact: one for one in cell_runs.run(cells, bench, lambda _result: None)}


def only(packages: Sequence[str], built: dict[str, Path]) -> dict[str, tuple[Path, tuple[str, ...], Path | None]]:
    return {name: (built[name], (), None) for name in packages}


def test_a_package_is_installed_started_upgraded_and_removed(built: dict[str, Path], tmp_path: Path) -> None:
    lines = ("version 2.0", "configured")
    found = proven(tmp_path, {"good": (built["good"], lines, built["older"])})["good"]
    assert found.verdict == "PASS", found
    assert [(one.stage, one.status) for one in found.stages] == [
        (name, "done") for name in ("install", "upgrade", "remove")
    ]
    # Said, and no failure: what somebody else made may leave what it likes.
    left = ("/usr/share/hand-made", "/var/lib/left", "/var/lib/left/file")
    assert found.stages[-1].left == left and found.stages[-1].changed == ()


def test_a_package_that_fails_has_a_reason_and_rpms_words(built: dict[str, Path], tmp_path: Path) -> None:
    found = proven(tmp_path, only(("pre", "post", "preun", "other", "cat"), built))
    assert {name: (one.verdict, one.reason) for name, one in found.items()} == {
        "pre": ("FAIL", "install"),
        "post": ("FAIL", "install"),
        "preun": ("FAIL", "remove"),
        "other": ("FAIL", "install"),
        "cat": ("FAIL", "residue"),
    }, found
    details = {name: one.detail or "" for name, one in found.items()}
    assert "error: %prein(hand-made-1.0-1.noarch) scriptlet failed, exit status 3" in details["pre"]
    said = "warning: %post(hand-made-1.0-1.noarch) scriptlet failed, exit status 3"
    assert details["post"] == f"the install stage failed: {said}"
    assert "error: %preun(hand-made-1.0-1.noarch) scriptlet failed, exit status 4" in details["preun"]
    assert "package hand-made-1.0-1.riscv64 is intended for a different architecture" in details["other"]
    # This rpm does not know that the distribution has the file.
    assert details["cat"] == "its removal changes files of the image: /usr/bin/cat"


def test_what_rpm_cannot_know_on_debian_is_not_held_against_the_package(built: dict[str, Path], tmp_path: Path) -> None:
    found = proven(tmp_path, only(("needs",), built))["needs"]
    assert (found.verdict, found.reason, found.install) == ("UNPROVEN", "image", None), found
    assert found.detail is not None
    assert "Failed dependencies: libnothere >= 2 is needed by hand-made-1.0-1.noarch" in found.detail
    assert found.detail.endswith("prove it on an image whose own package manager is rpm")


def test_what_a_hostile_package_brings_leads_nowhere(built: dict[str, Path], tmp_path: Path) -> None:
    before = machine(tmp_path)
    found = proven(tmp_path, only(("hostile", "raised"), built))
    assert machine(tmp_path) == before
    assert found["hostile"].verdict in ("PASS", "FAIL", "UNPROVEN"), found
    assert found["raised"].verdict == "PASS" and found["raised"].stdout_tail == "user 1\n", found
    again = proven(tmp_path, {"good": (built["good"], (), None)})["good"]
    assert again.verdict == "PASS", "the image is what it was"


def test_the_command_line_takes_one(built: dict[str, Path], tmp_path: Path) -> None:
    """On an image without rpm; and what is refused before anything of it runs."""
    ran = portable("prove", built["good"], "--image", "debian:12", "--json")
    (cell,) = json.loads(ran.stdout)
    assert (ran.status, cell["verdict"], cell["detail"]) == (
        *(1, "NOT-APPLICABLE"),
        "the image has no rpm: its packages are of another kind",
    )
    whole = built["good"].read_bytes()
    for name, data, said in (
        ("out", whole.replace(b"\0version\0", b"\0..\0\0\0\0\0\0"), "that is called '/usr/share/hand-made/..'"),
        ("above", whole.replace(b"/usr/share/hand-made/\0", b"/usr/share/../../xxx/\0"), "a path with '..' leads out"),
        ("relative", whole.replace(b"/usr/share/hand-made/\0", b"usr/share/hand-made//\0"), "is not absolute"),
        ("cut", whole[:-200], "it cannot be read as an RPM package"),
        ("damaged", whole[:-300] + bytes(100) + whole[-200:], "cannot be read as an RPM package"),
    ):
        path = tmp_path / f"{name}.rpm"
        path.write_bytes(data)
        assert data != whole, name
        ran = portable("prove", path, "--image", "debian:12")
        assert ran.status == 2 and said in ran.stderr, (name, ran.stderr)
    ran = portable("prove", built["pair"], "--image", "debian:12")
    assert ran.status == 2 and "several programs in /usr/bin" in ran.stderr
    ran = portable("prove", built["good"], "--image", "debian:12", "--upgrade-from", built["pair"])
    assert ran.status == 2 and "it is the package pair, and" in ran.stderr
    script = tmp_path / "tool"
    script.write_text("#!/bin/sh\n")
    ran = portable("prove", built["good"], "--image", "debian:12", "--upgrade-from", script)
    assert ran.status == 2 and "is not a package of the same kind" in ran.stderr
